"""What all media have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import Source, atomic_write, read_all

Target = str | os.PathLike[str] | IO[bytes]
"""What `.save()` accepts: a path, or a binary file object."""


class Media(ABC):
    """One item of one modality, held in memory."""

    suffixes: ClassVar[tuple[str, ...]]
    """File name endings of this modality, lower case; the first is what `save` defaults to."""

    @classmethod
    @abstractmethod
    def _from_bytes(cls, data: bytes) -> Self:
        """Return the media in the bytes of a file; raise `InvalidInput` if it is none."""

    @abstractmethod
    def to_bytes(self, suffix: str | None = None) -> bytes:
        """Return the bytes of a file of this kind, `suffix` such as ".png"."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Size of the raw, uncompressed media in bytes: what ratios are measured against."""

    @classmethod
    def open(cls, source: Source) -> Self:
        """Read from a path, from bytes, or from an open binary file.

        Raises `InvalidInput` when it cannot be read as this modality and `LimitExceeded`
        when it is too large; the size is checked before anything is decoded.
        """
        name = f"{os.fspath(source)!r}: " if isinstance(source, str | os.PathLike) else ""
        try:
            return cls._from_bytes(read_all(source))
        except InvalidInput as e:
            if not name or str(e).startswith("cannot read"):
                raise
            raise InvalidInput(f"{name}{e}") from e

    def save(self, target: Target, suffix: str | None = None) -> None:
        """Write to a path (atomically, its ending choosing the format) or an open file."""
        if isinstance(target, str | os.PathLike):
            atomic_write(target, self.to_bytes(suffix or Path(target).suffix.lower() or None))
        else:
            target.write(self.to_bytes(suffix))


def frozen_array(value: Any, dtype: type[np.generic], ndim: int, what: str) -> NDArray[Any]:
    """Return `value` as a contiguous array of exactly this type and rank, or raise."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as e:  # such as rows of different lengths
        raise InvalidInput(f"{what} must be an array: {e}") from e
    if array.dtype != dtype or array.ndim != ndim:
        raise InvalidInput(
            f"{what} must be a {np.dtype(dtype)} array of {ndim} dimensions, "
            f"not {array.dtype} of shape {array.shape}"
        )
    return np.ascontiguousarray(array)
