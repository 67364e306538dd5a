"""Tokens: what a codec makes of one media item."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput, LimitExceeded
from omnicodec.codecs.files import atomic_write, read_all

_FORMAT: Final = "omnicodec.tokens.v1"
_MAX_ARCHIVE_BYTES: Final = 1 << 32
_SOFT_TYPES: Final = (np.dtype(np.float16), np.dtype(np.float32))

# What zipfile, numpy and json raise on files that are not theirs.
_NOT_AN_ARCHIVE: Final = (
    ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, NotImplementedError,
    RuntimeError, MemoryError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of one item, with all that decoding needs beside the model.

    `ids` is int32 of shape `(K, N)`: K parallel codebooks, N positions. `grid` lays the
    positions out in row-major order, `(h, w)`, `(t,)` or `(t, h, w)`, so its product is N.
    `extent` holds integers by name, such as the height and width in pixels, from which
    the original's size is given back. `fingerprint` names the model, 16 hex digits.

    A continuous tokenizer has no codes: its positions are `soft`, real values of shape
    `(N, D)`, float16 or float32 in C order, and K is 0. Equal tokens are equal bit by bit.

    Raises `InvalidInput` when shape, type and grid do not agree.
    """

    codec: str
    fingerprint: str
    ids: NDArray[np.int32]
    grid: tuple[int, ...]
    extent: Mapping[str, int] = field(default_factory=dict)
    soft: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        ids = np.asarray(self.ids)
        if ids.ndim != 2 or not (ids.size == 0 or np.issubdtype(ids.dtype, np.integer)):
            raise InvalidInput(
                f"token ids must be integers of shape (K, N), not {ids.dtype} {ids.shape}"
            )
        if ids.dtype != np.int32:
            if ids.size and (ids.min() < 0 or ids.max() > np.iinfo(np.int32).max):
                raise InvalidInput("token ids must be in the range of int32 and not negative")
            ids = ids.astype(np.int32)
        grid = tuple(int(n) for n in self.grid)
        if not grid or min(grid) < 0 or math.prod(grid) != ids.shape[1]:
            raise InvalidInput(f"grid {grid} does not hold {ids.shape[1]} positions")
        if self.soft is not None:
            object.__setattr__(self, "soft", _soft(self.soft, ids))
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "grid", grid)
        extent = {str(k): int(v) for k, v in self.extent.items()}
        object.__setattr__(self, "extent", MappingProxyType(extent))

    def __len__(self) -> int:
        """Return the number of positions N."""
        return int(self.ids.shape[1])

    @property
    def values(self) -> NDArray[Any]:
        """The array that holds what the positions are: `soft` where there is one, else `ids`."""
        return self.ids if self.soft is None else self.soft

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        return (
            (self.codec, self.fingerprint, self.grid)
            == (other.codec, other.fingerprint, other.grid)
            and dict(self.extent) == dict(other.extent)
            and np.array_equal(self.ids, other.ids)
            and (self.soft is None) == (other.soft is None)
            and self.values.dtype == other.values.dtype
            and np.array_equal(_bits(self.values), _bits(other.values))
        )

    __hash__ = None  # type: ignore[assignment]  # holds an array, which is mutable

    def save(self, target: str | os.PathLike[str] | IO[bytes]) -> None:
        """Write the tokens as an .npz archive; a path is written atomically."""
        meta = {
            "format": _FORMAT,
            "codec": self.codec,
            "fingerprint": self.fingerprint,
            "grid": self.grid,
            "extent": dict(self.extent),
        }
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
        arrays: dict[str, Any] = {"ids": self.ids, "meta": text}
        if self.soft is not None:
            arrays["soft"] = self.soft
        np.savez_compressed(buffer, **arrays)
        if hasattr(target, "write"):
            target.write(buffer.getvalue())
        else:
            atomic_write(target, buffer.getvalue())

    @classmethod
    def load(cls, source: str | os.PathLike[str] | bytes | IO[bytes]) -> Tokens:
        """Read what `save` wrote.

        Raises `InvalidInput` for anything else, `LimitExceeded` for what unpacks to too much.
        """
        data = read_all(source)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                size = sum(member.file_size for member in packed.infolist())
            if size > _MAX_ARCHIVE_BYTES:
                raise LimitExceeded(f"token archive of {size:,} bytes is too large")
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                ids = archive["ids"]
                soft = archive.get("soft")
                meta: dict[str, Any] = json.loads(archive["meta"].tobytes())
            if meta.get("format") != _FORMAT:
                raise InvalidInput("not a token archive of this version of omnicodec")
            return cls(
                str(meta["codec"]),
                str(meta["fingerprint"]),
                ids,
                tuple(meta["grid"]),
                meta["extent"],
                soft,
            )
        except _NOT_AN_ARCHIVE as e:
            raise InvalidInput(f"not a token archive (.npz written by omnicodec): {e}") from e


def _soft(values: NDArray[Any], ids: NDArray[np.int32]) -> NDArray[np.floating]:
    """Return real values as `Tokens` keeps them, in this machine's byte order."""
    values = np.asarray(values)
    native = values.dtype.newbyteorder("=")
    if native not in _SOFT_TYPES or values.ndim != 2 or not values.shape[1]:
        raise InvalidInput(
            "real-valued tokens must be float16 or float32 of shape (N, D), "
            f"not {values.dtype} {values.shape}"
        )
    if ids.shape != (0, len(values)):
        raise InvalidInput(
            f"{len(values)} real-valued positions need ids of shape (0, {len(values)}), "
            f"not {ids.shape}"
        )
    return np.ascontiguousarray(values, native)


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """Return what compares bit by bit: a NaN equals itself, and 0 is not -0."""
    return values.view(f"u{values.itemsize}") if values.dtype.kind == "f" else values
