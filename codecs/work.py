"""Work that takes minutes: what watches an encode, ends it, and lets it go on another day."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import Cancelled
from omnicodec.codecs.media import Media

Arrays = Mapping[str, NDArray[Any]]

_KEY: Final = "key"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an encode is.

    `share` of the work is done, 0 to 1; `bits` and `psnr` (dB) are those of the best result so
    far, as estimated; `seconds_left` is what the rest should take. `preview` draws that result,
    which costs a decode.
    """

    share: float
    step: int
    bits: float
    psnr: float
    seconds_left: float
    preview: Callable[[], Media] | None = None


class Work:
    """What a long encode reports to, and is steered by.

    `listen` hears of every report. As soon as `enough` says yes to one, the encode ends with the
    best it has: at a quality or a size that was asked for. `checkpoint` is a file that it goes on
    from, and leaves when it is cancelled; who owns the work removes it when the result is safe.
    """

    def __init__(
        self,
        *,
        listen: Callable[[Progress], None] = lambda _: None,
        enough: Callable[[Progress], bool] = lambda _: False,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self._listen, self._enough = listen, enough
        self._path = None if checkpoint is None else Path(checkpoint)
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Have the encode end with `Cancelled`, with its checkpoint left; any thread may."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether someone has asked for the end: time to `save`, and then to `report`."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if someone has asked for the end: for work that has no checkpoints."""
        if self.cancelled:
            raise Cancelled("the work was cancelled")

    def report(self, progress: Progress) -> bool:
        """Tell of progress, and return whether that is enough. Raises `Cancelled`."""
        if self.cancelled:
            raise Cancelled("the work was cancelled; it goes on from its checkpoint, if it has one")
        self._listen(progress)
        return self._enough(progress)

    def save(self, key: str, arrays: Arrays) -> None:
        """Leave a checkpoint, if one is wanted: whole or not at all, in the place of the last one.

        `key` names what is worked on: item, settings and model.
        """
        if self._path is None:
            return
        from safetensors.numpy import save

        content = save({k: np.array(v, order="C") for k, v in arrays.items()}, {_KEY: key})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink()
            raise

    def restore(self, key: str) -> dict[str, NDArray[Any]] | None:
        """Return the arrays of the checkpoint of this very work; None where there is none."""
        if self._path is None or not self._path.exists():
            return None
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._path, "numpy") as file:
                if (file.metadata() or {}).get(_KEY) != key:
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            return None


class Watch:
    """What a long encode asks behind each step: `due`, and then whether that is `enough`.

    A checkpoint is saved when the last one is `seconds` old, and a report is due every `every`
    steps; both are when the work is cancelled. There are `steps` in all.
    """

    def __init__(self, work: Work, key: str, steps: int, *, seconds: float, every: int = 1) -> None:
        self._work, self._key, self._steps = work, key, steps
        self._seconds, self._every = seconds, every
        self._began = self._saved = time.monotonic()
        self._done = self._here = 0

    def due(self, done: int, state: Callable[[], Arrays]) -> bool:
        """Take note of a step, behind which so many are `done`; return whether to report.

        `state` gives the arrays of a checkpoint. Steps that one brought back are among those
        done, but do not tell how long a step takes: each of the others is to come by here.
        """
        self._done = done
        self._here += 1
        cancelled, now = self._work.cancelled, time.monotonic()
        if cancelled or now - self._saved > self._seconds:
            self._work.save(self._key, state())
            self._saved = now
        return cancelled or done % self._every == 0 or done >= self._steps

    def enough(self, bits: float, psnr: float, preview: Callable[[], Media]) -> bool:
        """Report the best result, as `Progress` has it; return whether it is enough.

        Raises `Cancelled`.
        """
        speed = (time.monotonic() - self._began) / self._here
        return self._work.report(
            Progress(
                share=self._done / self._steps,
                step=self._done,
                bits=bits,
                psnr=psnr,
                seconds_left=speed * (self._steps - self._done),
                preview=preview,
            )
        )


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is what `Work.save` leaves."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return _KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False
