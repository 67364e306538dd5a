"""A codec for pipelines of one's own: `Encode`, a class for `map_batches` of Ray Data.

    import ray
    from omnicodec.service.batch import Encode

    pictures = ray.data.read_parquet("pictures/")
    tokens = pictures.map_batches(
        Encode,
        fn_constructor_kwargs={"codec": "image/vq", "column": "image", "drop": True},
        batch_format="pyarrow",
        batch_size=64,
        num_cpus=0.5,
        concurrency=2,
    )
    tokens.write_parquet("tokens/")

Nothing here needs Ray: `Encode` maps one batch to another, wherever it is called.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import (
    CodecSpec,
    Image,
    InvalidInput,
    LimitExceeded,
    Media,
    OmnicodecError,
    Text,
    Tokens,
    load,
)
from omnicodec.codecs.files import read_all
from omnicodec.codecs.threads import in_order
from omnicodec.service.batch.job import FULL_BITS, ItemLimits
from omnicodec.service.batch.tasks import FAULTS, PASSED_ON
from omnicodec.service.opener import Limits, open_limited

COLUMNS: Final = ("tokens", "codebooks", "grid", "extent", "codec", "fingerprint", "error")
"""What `Encode` adds to a batch."""

SOFT_COLUMNS: Final = ("soft", "width", *COLUMNS[2:])
"""The same for a codec of real-valued tokens."""


class Encode:
    """Adds the tokens of one column's media to batches; an actor of Ray Data has one for good.

    `codec` is a name, or a path as `load` takes it, and `column` names what it encodes: files'
    content as bytes, or paths of local files as strings, or `{"bytes": ..., "path": ...}` as in
    Hugging Face data sets. Strings for a codec of text are the texts themselves, unless `paths`
    says otherwise; for one of images there may be arrays of uint8, `(H, W, 3)` or `(H, W)`, too.
    A batch may be a pyarrow table, a pandas frame or a dict of arrays, and comes back as one:

        tokens        list of int32, K·N of them, codebook by codebook
        codebooks     K
        grid          list of int32, how the N positions lie
        extent        JSON object of integers: the original's height and width, and so on
        codec, fingerprint
        error         why there are no tokens, "InvalidInput: ...", or null

    A codec of real-valued tokens gives in place of the first two

        soft          list of float32 or float16, N·D of them, position by position
        width         D

    The names begin with `prefix`. `drop` leaves the media out. An item that cannot be encoded, or
    is larger than `limits`, fails alone: its tokens are null in a table, and empty elsewhere;
    with `strict` it raises instead. `threads` open files; a network runs on as many as torch
    has, which Ray sets to the CPUs of the actor. `Encode.tokens` makes `Tokens` of a row again.

    Raises `UnknownCodec` and `InvalidInput` for a codec or settings that there are not.
    """

    def __init__(
        self,
        codec: str | os.PathLike[str],
        *,
        column: str,
        prefix: str = "",
        drop: bool = False,
        paths: bool = False,
        strict: bool = False,
        quality: int | None = None,
        effort: str | None = None,
        method: str | None = None,
        device: str = "auto",
        threads: int = 1,
        limits: ItemLimits | None = None,
    ) -> None:
        self._codec = load(codec, device=device)
        self._settings: dict[str, Any] = {"quality": quality, "effort": effort, "method": method}
        self._codec.settings(quality=quality, effort=effort, method=method)
        self._type = np.dtype(np.int32)
        if self._codec.spec.soft_width:
            self._type = np.dtype(f"f{(quality or FULL_BITS) // 8}")
        self._column, self._prefix, self._drop = column, prefix, drop
        self._paths, self._strict, self._threads = paths, strict, threads
        limits = limits or ItemLimits()
        self._most = Limits(limits.pixels, limits.seconds, sys.maxsize)
        self._nbytes = limits.nbytes

    def __call__(self, batch: Any) -> Any:
        """Return the batch with the new columns, as a batch of the same kind."""
        kind = _kind(batch)
        if self._column not in kind.names(batch):
            raise InvalidInput(f"there is no column {self._column!r}")
        results = self._encode(kind.values(batch, self._column))
        columns = kind.columns(_Results(results, self._codec.spec, self._type))
        drop = self._column if self._drop else None
        return kind.extended(batch, {self._prefix + n: c for n, c in columns.items()}, drop)

    @staticmethod
    def tokens(row: Mapping[str, Any], prefix: str = "") -> Tokens:
        """Return the tokens of a row; raises `InvalidInput` for one that has an error instead."""
        if error := row[prefix + "error"]:
            raise InvalidInput(f"the row has no tokens: {error}")
        codec, fingerprint = str(row[prefix + "codec"]), str(row[prefix + "fingerprint"])
        grid, extent = tuple(map(int, row[prefix + "grid"])), json.loads(row[prefix + "extent"])
        if prefix + "soft" not in row:
            ids = np.asarray(row[prefix + "tokens"], np.int32)
            ids = ids.reshape(int(row[prefix + "codebooks"]), -1)
            return Tokens(codec, fingerprint, ids, grid, extent)
        # Rows as Python's own numbers do not tell how many bits they had.
        soft = np.asarray(row[prefix + "soft"], f"f{extent['bits'] // 8}")
        soft = soft.reshape(-1, int(row[prefix + "width"]))
        return Tokens(codec, fingerprint, np.empty((0, len(soft)), np.int32), grid, extent, soft)

    def _encode(self, values: Sequence[Any]) -> list[Tokens | str]:
        """Return the tokens of each value, or what is wrong with it."""
        opened = list(in_order(self._open, values, threads=self._threads))
        media = [each for each in opened if isinstance(each, Media)]
        encoded = iter(self._encode_all(media))
        return [next(encoded) if isinstance(each, Media) else each for each in opened]

    def _encode_all(self, media: list[Media]) -> Iterable[Tokens | str]:
        try:
            tokens: list[Tokens] = self._codec.encode(media, **self._settings)
            return tokens
        except PASSED_ON:
            raise
        except (OmnicodecError, *FAULTS) as e:
            if len(media) <= 1:
                return [self._failed(e) for _ in media]
        return [next(iter(self._encode_all([each]))) for each in media]  # one of them is to blame

    def _open(self, value: Any) -> Media | str:
        try:
            return self._opened(value)
        except PASSED_ON:
            raise
        except (OmnicodecError, *FAULTS) as e:
            return self._failed(e)

    def _opened(self, value: Any) -> Media:
        modality = self._codec.spec.modality
        if isinstance(value, Mapping):
            value = value.get("path") if value.get("bytes") is None else value["bytes"]
            if isinstance(value, str):
                value = Path(value)
        if modality == "image" and isinstance(value, np.ndarray):
            return Image(value)
        if isinstance(value, str) and modality == "text" and not self._paths:
            return Text(value.encode("utf-8", "surrogatepass"))
        if isinstance(value, str | os.PathLike):
            value = self._read(Path(value))
        if not isinstance(value, bytes | bytearray | memoryview):
            # pandas has NaN for what is missing.
            nothing = value is None or (isinstance(value, float) and value != value)
            what = "nothing" if nothing else f"a {type(value).__name__}"
            raise InvalidInput(f"there is {what} in column {self._column!r}")
        self._check(len(value))
        return Text(bytes(value)) if modality == "text" else self._media(bytes(value))

    def _media(self, data: bytes) -> Media:
        return open_limited(data, self._codec.spec.modality, self._most)

    def _read(self, path: Path) -> bytes:
        if path.is_file():
            self._check(path.stat().st_size)
        return read_all(path)

    def _check(self, nbytes: int) -> None:
        if nbytes > self._nbytes:
            raise LimitExceeded(f"{nbytes:,} bytes are over the limit of {self._nbytes:,}")

    def _failed(self, error: Exception) -> str:
        if self._strict:
            raise error
        name = type(error).__name__
        return f"{name}: {error}" if isinstance(error, OmnicodecError) else name


@dataclass(frozen=True)
class _Results:
    """Tokens of a codec, or what is wrong, as plain columns; `dtype` is that of their values."""

    results: Sequence[Tokens | str]
    spec: CodecSpec
    dtype: np.dtype[Any]

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns, in their order."""
        return SOFT_COLUMNS if self.spec.soft_width else COLUMNS

    def values(self) -> list[NDArray[Any]]:
        """Return the ids or real values of each, flat; none where there are no tokens."""
        return [
            np.ascontiguousarray(each.values).ravel()
            if isinstance(each, Tokens)
            else np.zeros(0, self.dtype)
            for each in self.results
        ]

    def grids(self) -> list[NDArray[np.int32]]:
        return [
            np.array(each.grid, np.int32) if isinstance(each, Tokens) else _NOTHING
            for each in self.results
        ]

    def per_position(self) -> NDArray[np.int32]:
        """Return how many values each has at a position: codebooks, or the width."""
        count = self.spec.per_position
        counts = [count if isinstance(each, Tokens) else 0 for each in self.results]
        return np.array(counts, np.int32)

    def extents(self) -> list[str]:
        return [
            json.dumps(dict(each.extent)) if isinstance(each, Tokens) else "{}"
            for each in self.results
        ]

    def errors(self) -> list[str | None]:
        return [each if isinstance(each, str) else None for each in self.results]


_NOTHING: Final = np.zeros(0, np.int32)


def _kind(batch: Any) -> type[_Arrays]:
    """Return how batches of this type are read and extended; raises `InvalidInput` for others."""
    if isinstance(batch, Mapping):
        return _Arrays
    if hasattr(batch, "append_column"):
        return _Table
    if hasattr(batch, "assign"):
        return _Frame
    raise InvalidInput(f"a batch is a table, a frame or a dict, not a {type(batch).__name__}")


class _Arrays:
    """A dict of NumPy arrays; columns of several numbers a row are arrays of arrays."""

    @staticmethod
    def names(batch: Any) -> Iterable[str]:
        names: Iterable[str] = batch.keys()
        return names

    @staticmethod
    def values(batch: Any, column: str) -> Sequence[Any]:
        return list(batch[column])

    @classmethod
    def columns(cls, found: _Results) -> dict[str, Any]:
        """Return the new columns, in the order of `found.names`."""
        values = (
            _objects(found.values()),
            found.per_position(),
            _objects(found.grids()),
            _objects(found.extents()),
            _objects([found.spec.name] * len(found.results)),
            _objects([found.spec.fingerprint] * len(found.results)),
            _objects(found.errors()),
        )
        return dict(zip(found.names, values, strict=True))

    @staticmethod
    def extended(batch: Any, columns: Mapping[str, Any], drop: str | None) -> Any:
        return {**{n: c for n, c in batch.items() if n != drop}, **columns}


class _Frame(_Arrays):
    """A pandas frame."""

    @staticmethod
    def extended(batch: Any, columns: Mapping[str, Any], drop: str | None) -> Any:
        pd: Any = import_module("pandas")
        kept = batch if drop is None else batch.drop(columns=drop)
        # Told its type, or pandas makes a number of what is missing among strings.
        series = {n: pd.Series(c, batch.index, dtype=c.dtype) for n, c in columns.items()}
        return kept.assign(**series)


class _Table(_Arrays):
    """A pyarrow table: lists are lists of one type, and what there is not is null."""

    @staticmethod
    def names(batch: Any) -> Iterable[str]:
        names: Iterable[str] = batch.column_names
        return names

    @staticmethod
    def values(batch: Any, column: str) -> Sequence[Any]:
        values: list[Any] = batch[column].to_pylist()
        return values

    @classmethod
    def columns(cls, found: _Results) -> dict[str, Any]:
        import pyarrow as pa

        missing = np.array([isinstance(each, str) for each in found.results], bool)
        values = (
            _lists(found.values(), missing, found.dtype),
            pa.array(found.per_position(), pa.int32()),
            _lists(found.grids(), missing, np.dtype(np.int32)),
            pa.array(found.extents(), pa.string()),
            pa.array([found.spec.name] * len(missing), pa.string()),
            pa.array([found.spec.fingerprint] * len(missing), pa.string()),
            pa.array(found.errors(), pa.string()),
        )
        return dict(zip(found.names, values, strict=True))

    @staticmethod
    def extended(batch: Any, columns: Mapping[str, Any], drop: str | None) -> Any:
        kept = batch if drop is None else batch.drop_columns([drop])
        for name, column in columns.items():
            if name in kept.column_names:
                kept = kept.drop_columns([name])
            kept = kept.append_column(name, column)
        return kept


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    """Return an array of objects, which NumPy must not make a matrix of."""
    array = np.empty(len(values), object)
    for number, value in enumerate(values):
        array[number] = value
    return array


def _lists(arrays: Sequence[NDArray[Any]], missing: NDArray[np.bool_], dtype: np.dtype[Any]) -> Any:
    """Return a pyarrow column of lists of this type, null where they are missing."""
    import pyarrow as pa

    ends = np.cumsum([0, *map(len, arrays)])
    flat = np.concatenate([np.zeros(0, dtype), *arrays])
    if ends[-1] > np.iinfo(np.int32).max:
        raise LimitExceeded(f"{ends[-1]:,} tokens are too many for one batch")
    return pa.ListArray.from_arrays(
        pa.array(ends, pa.int32()),
        pa.array(flat),
        mask=pa.array(missing),
    )
