"""When a long encode is good enough: at a quality or a size that was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omnicodec.codecs import InvalidInput, Progress


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What has to be met for an early end: PSNR in dB at least, bytes at most; None always is.

    Raises `InvalidInput` for what nothing can meet.
    """

    psnr: float | None = None
    nbytes: int | None = None

    def __post_init__(self) -> None:
        if self.psnr is not None and not 0 < self.psnr < math.inf:
            raise InvalidInput(f"a target PSNR is a number of dB above 0, not {self.psnr:g}")
        if self.nbytes is not None and self.nbytes < 1:
            raise InvalidInput("a target size is 1 byte at least")

    def __bool__(self) -> bool:
        """Return whether an early end is wanted at all."""
        return self.psnr is not None or self.nbytes is not None

    def met(self, progress: Progress) -> bool:
        """Return whether the best result so far is good enough, as estimated."""
        good = self.psnr is None or progress.psnr >= self.psnr
        small = self.nbytes is None or progress.bits <= 8 * self.nbytes
        return bool(self) and good and small
