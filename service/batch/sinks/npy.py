"""NumPy's `.npy` files of int32, int64 and floats, written piece by piece and read without trust.

`numpy.load` evaluates a file's header as Python, and raises almost anything for a damaged one.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import CorruptStream

_HEAD: Final = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<(i[48]|f[24])', 'fortran_order': False, "
    rb"'shape': \((\d{1,18}(?:,|(?:, \d{1,18})+))\), \} *\n",
    re.DOTALL,
)
_LONGEST_HEAD: Final = 1024


@lru_cache(maxsize=4096)
def head(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the header of an array, of version 1.0."""
    file = io.BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, fields)
    return file.getvalue()


def to_bytes(array: NDArray[Any], dtype: str = "<i4") -> bytes:
    """Return an array as the content of a file."""
    return head(dtype, array.shape) + np.ascontiguousarray(array, dtype).tobytes()


def write(file: IO[bytes], dtype: str, shape: tuple[int, ...], pieces: Iterable[Any]) -> None:
    """Write an array of this shape, whose rows come in pieces."""
    file.write(head(dtype, shape))
    for piece in pieces:
        file.write(np.ascontiguousarray(piece, dtype).data)


def from_bytes(data: bytes) -> NDArray[Any]:
    """Return the array of a file's content; raises `CorruptStream` for anything else."""
    dtype, shape, at = _parse(data[:_LONGEST_HEAD], len(data))
    return np.frombuffer(data[at:], dtype).reshape(shape)


def mapped(path: Path) -> NDArray[Any]:
    """Return the integers of a file, mapped rather than read; `CorruptStream` for anything else."""
    with open(path, "rb") as file:
        begin = file.read(_LONGEST_HEAD)
    nbytes = path.stat().st_size
    dtype, shape, at = _parse(begin, nbytes)
    if "f" in dtype:
        raise CorruptStream("an array of integers holds floats")
    # Nothing cannot be mapped.
    return np.memmap(path, dtype, "r", at, shape) if nbytes > at else np.empty(shape, dtype)


def _parse(begin: bytes, nbytes: int) -> tuple[str, tuple[int, ...], int]:
    found = _HEAD.match(begin)
    if not found:
        raise CorruptStream("an array has no header that omnicodec writes")
    dtype = f"<{found[1].decode()}"
    shape = tuple(int(n) for n in found[2].split(b",") if n)
    if nbytes != found.end() + math.prod(shape) * np.dtype(dtype).itemsize:
        raise CorruptStream("an array is not as long as its header says")
    return dtype, shape, found.end()
