"""Time series: float32 values at a fixed rate, read and written as NumPy or CSV files."""

from __future__ import annotations

import csv
import io
import math
import struct
import tokenize
import zipfile
import zlib
from array import array
from dataclasses import dataclass
from typing import IO, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.limits import MAX_SAMPLES, check_count
from omnicodec.codecs.media.base import Media, frozen_array

_WRITABLE: Final = (".npz", ".npy", ".csv")

# What numpy and zipfile raise on damaged files; none of them is a bug here.
_DAMAGE: Final = (
    ValueError, TypeError, KeyError, EOFError, OSError, RuntimeError, MemoryError, SyntaxError,
    csv.Error, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Series(Media):
    """Measurements: `values` is float32 of shape `(C, T)`, `rate` steps a second.

    `C` is at least 1, `T` may be 0. NaN marks a gap; infinities are refused. Files hold
    other real number types too, which are rounded to float32.
    """

    values: NDArray[np.float32]
    rate: float

    # CSV is left to Text: by its suffix alone, a file has one modality.
    suffixes: ClassVar[tuple[str, ...]] = (".npz", ".npy")

    def __post_init__(self) -> None:
        values = frozen_array(self.values, np.float32, 2, "values")
        if values.shape[0] < 1:
            raise InvalidInput("a series must have at least 1 channel")
        check_count(values.size, MAX_SAMPLES, "values of a series")
        if np.isinf(values).any():
            raise InvalidInput("series values must be finite in float32, or NaN for a gap")
        try:
            rate = float(self.rate)
        except (TypeError, ValueError, OverflowError):
            rate = math.nan
        if not 0 < rate < math.inf:
            raise InvalidInput(f"rate must be a positive number of Hz, not {self.rate!r}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "rate", rate)

    def __eq__(self, other: object) -> bool:
        """Compare rates and values; gaps equal gaps."""
        if not isinstance(other, Series):
            return NotImplemented
        same_rate = self.rate == other.rate
        return same_rate and np.array_equal(self.values, other.values, equal_nan=True)

    __hash__ = None  # type: ignore[assignment]  # holds an array, which is mutable

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes)

    @classmethod
    def _from_bytes(cls, data: bytes) -> Self:
        """Read .npz (`values`, `rate`), .npy (`(T,)` or `(C, T)`) or CSV.

        A rate that the file does not hold is 1 Hz. CSV has one column a channel, and maybe
        a first row of names; an empty cell is a gap, an empty line is nothing.
        """
        try:
            if data.startswith(b"\x93NUMPY"):
                return cls(_as_values(_read_npy(io.BytesIO(data))), 1.0)
            if data.startswith(b"PK"):
                with zipfile.ZipFile(io.BytesIO(data)) as file:
                    values = _as_values(_read_member(file, "values.npy"))
                    if "rate.npy" not in file.namelist():
                        return cls(values, 1.0)
                    return cls(values, _read_member(file, "rate.npy").item())
            return cls(_read_csv(data), 1.0)
        except _DAMAGE as e:
            raise InvalidInput(f"not a series that can be read: {e}") from e

    def to_bytes(self, suffix: str | None = None) -> bytes:
        """Return the file's bytes; .npz without a suffix. Only .npz keeps the rate.

        Raises `InvalidInput` for a suffix that cannot be written, and for CSV of 0 steps.
        """
        kind = (suffix or ".npz").lower()
        out = io.BytesIO()
        if kind == ".npz":
            np.savez(out, values=self.values, rate=np.float64(self.rate))
        elif kind == ".npy":
            np.save(out, self.values, allow_pickle=False)
        elif kind == ".csv":
            if self.values.shape[1] == 0:
                raise InvalidInput("a series of 0 steps has no CSV form; .npz has one")
            names = ",".join(f"channel{i}" for i in range(self.values.shape[0]))
            # 9 digits give every float32 back exactly.
            np.savetxt(out, self.values.T, "%.9g", ",", header=names, comments="")
        else:
            raise InvalidInput(f"cannot write series as {suffix!r}; known: {', '.join(_WRITABLE)}")
        return out.getvalue()


def _read_member(file: zipfile.ZipFile, name: str) -> NDArray[Any]:
    if file.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidInput("compressed in another way than NumPy compresses")
    with file.open(name) as member:
        return _read_npy(member)


def _read_npy(file: IO[bytes]) -> NDArray[Any]:
    """Return the array of an .npy file, its type and size checked before it is allocated."""
    # Version 1.0 bounds the header at 64 KiB; later ones are for structured types.
    if np.lib.format.read_magic(file) != (1, 0):
        raise InvalidInput("only version 1.0 of the .npy format is read")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in "biuf":
        raise InvalidInput(f"series must hold real numbers, not {dtype}")
    if any(n < 0 for n in shape):
        raise InvalidInput(f"array of shape {shape}")
    count = math.prod(shape)
    check_count(count, MAX_SAMPLES, "values of a series")
    raw = file.read(count * dtype.itemsize)
    if file.read(1):  # reading to the end also makes zipfile compare the checksum
        raise InvalidInput("there is more data than the array needs")
    return np.ndarray(shape, dtype, raw, order="F" if fortran_order else "C")


def _as_values(values: NDArray[Any]) -> NDArray[np.float32]:
    if values.ndim not in (1, 2):
        raise InvalidInput(f"series must be of shape (T,) or (C, T), not {values.shape}")
    with np.errstate(over="ignore"):  # infinities are refused later, by name
        return np.atleast_2d(values).astype(np.float32)


def _read_csv(data: bytes) -> NDArray[np.float32]:
    """Return `(C, T)` values; a first row of names, without any number, is skipped."""
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    values = array("f")
    columns = 0
    for row in rows:
        if not row:
            continue
        if not columns:
            columns = len(row)
            cells = [cell for cell in row if cell.strip()]
            if cells and not any(_is_number(cell) for cell in cells):
                continue
        if len(row) != columns:
            raise InvalidInput(f"line {rows.line_num} has {len(row)} cells, not {columns}")
        check_count(len(values) + columns, MAX_SAMPLES, "values of a series")
        values.extend(float(cell) if cell.strip() else math.nan for cell in row)
    if not values:
        raise InvalidInput("no rows of numbers")
    return _as_values(np.frombuffer(values, np.float32).reshape(-1, columns).T)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
