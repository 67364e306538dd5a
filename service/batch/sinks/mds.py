"""MDS, which MosaicML Streaming reads: `StreamingDataset(local="OUT/data")`.

A file `shard.00000012.00000.mds`, all integers little-endian:

    u32        n, the number of samples
    u32[n+1]   where each sample begins, and the last one ends, in this file
    JSON       the columns, as in index.json
    samples    the sizes u32 of its columns, all of which vary, and then the columns by name

`index.json` names all files, in order. Columns:

    raw        key str, source str, parts json, ids ndarray:int32 (1,-dimensional)
    document   key str, source str, tokens ndarray:int32 (N,), or (rows, N) where there are several
    packed     tokens ndarray:int32, positions ndarray:int32, starts ndarray:int32

`parts` is a list of objects with codec, fingerprint, codebooks, grid and extent; `ids` holds the
ids of all parts one after another, each codebook by codebook. A data set of real-valued tokens has
a column `soft` ndarray:float32 or float16 in the same way, position by position, and the parts that
it is of have their numbers a position as `width` in place of `codebooks`. An array begins with a
byte of its number of dimensions and the size of the integers that follow, which are its shape.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from omnicodec.codecs import CorruptStream, LimitExceeded, Tokens
from omnicodec.service.batch.sinks.base import (
    DocumentRow,
    Ids,
    PackedRow,
    RawRow,
    Row,
    Rows,
    ShardWriter,
    Sink,
)
from omnicodec.service.batch.sinks.files import ShardedRows, replaced, selected, soft_part

# A file is in memory until it is written; readers of a stream download whole files.
_FILE_BYTES: Final = 1 << 26

_NOTHING: Final = np.empty(0, np.float32)
_ARRAY: Final = "ndarray:int32"
_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "raw": {"ids": _ARRAY, "key": "str", "parts": "json", "source": "str"},
    "document": {"key": "str", "source": "str", "tokens": _ARRAY},
    "packed": {"positions": _ARRAY, "starts": _ARRAY, "tokens": _ARRAY},
}


class MdsSink(Sink):
    """MDS files, and `index.json`."""

    name = "mds"
    layouts = ("raw", "document", "packed")

    @property
    def columns(self) -> dict[str, str]:
        """The columns and their encodings, sorted by name."""
        columns = dict(_COLUMNS[self.facts["layout"]])
        if self.soft_type:
            columns["soft"] = f"ndarray:{self.soft_type.name}"
        return dict(sorted(columns.items()))

    @property
    def config(self) -> dict[str, Any]:
        """What every file and the index say of the columns."""
        columns = self.columns
        return {
            "column_encodings": list(columns.values()),
            "column_names": list(columns),
            "column_sizes": [None] * len(columns),
            "compression": None,
            "format": "mds",
            "hashes": [],
            "size_limit": _FILE_BYTES,
            "version": 2,
        }

    def open_shard(self, folder: Path, index: int) -> ShardWriter:
        head = json.dumps(self.config, sort_keys=True).encode()
        return MdsWriter(folder, index, head, self.soft_type)

    def finish(self, data: Path, shards: Sequence[Sequence[str]], temporary: Path) -> list[str]:
        names = [name for shard in shards for name in shard if name.endswith(".mds")]
        with replaced(data / "index.json", temporary) as file:
            file.write(b'{"version": 2, "shards": [')
            for i, name in enumerate(names):
                entry = self.config | {
                    "raw_data": {
                        "basename": name,
                        "bytes": (data / name).stat().st_size,
                        "hashes": {},
                    },
                    "samples": _count(data / name),
                    "zip_data": None,
                }
                file.write(b",\n" if i else b"\n")
                file.write(json.dumps(entry, sort_keys=True).encode())
            file.write(b"\n]}\n")
        return [*names, "index.json"]

    def open(self, data: Path, names: Sequence[str]) -> Rows:
        return MdsRows(selected(data, names, ".mds"), self)


class MdsWriter(ShardWriter):
    """Gathers samples, and writes a file whenever they are enough for one."""

    def __init__(
        self, folder: Path, index: int, config: bytes, soft_type: np.dtype[Any] | None = None
    ) -> None:
        self._folder, self._index, self._config = folder, index, config
        self._soft_type = soft_type
        self._samples: list[bytes] = []
        self._nbytes = 0
        self._files = 0

    def write(self, row: Row) -> None:
        columns = [value for _, value in sorted(_columns(row, self._soft_type).items())]
        sample = b"".join([struct.pack(f"<{len(columns)}I", *map(len, columns)), *columns])
        if self._samples and self._nbytes + len(sample) > _FILE_BYTES:
            self._flush()
        self._samples.append(sample)
        self._nbytes += len(sample)

    def close(self) -> None:
        if self._samples:
            self._flush()

    def abandon(self) -> None:
        self._samples = []

    def _flush(self) -> None:
        count = len(self._samples)
        begin = 4 + 4 * (count + 1) + len(self._config)
        offsets = np.cumsum([begin, *map(len, self._samples)])
        if offsets[-1] >= 1 << 32:
            raise LimitExceeded("an item of 4 GiB of tokens has no place in an MDS file")
        name = f"shard.{self._index:08d}.{self._files:05d}.mds"
        with open(self._folder / name, "wb") as file:
            file.write(struct.pack("<I", count))
            file.write(offsets.astype("<u4").data)
            file.write(self._config)
            file.writelines(self._samples)
        self._samples, self._nbytes = [], 0
        self._files += 1


def _columns(row: Row, soft_type: np.dtype[Any] | None) -> dict[str, bytes]:
    if isinstance(row, PackedRow):
        return {
            "tokens": _array(row.ids[0] if len(row.ids) == 1 else row.ids),
            "positions": _array(row.positions),
            "starts": _array(row.starts),
        }
    names = {"key": row.key.encode(), "source": row.source.encode()}
    if isinstance(row, DocumentRow):
        return {**names, "tokens": _array(row.ids[0] if len(row.ids) == 1 else row.ids)}
    parts = [_facts_of(part) for part in row.parts]
    ids = [np.empty(0, np.int32), *(part.ids.reshape(-1) for part in row.parts)]
    columns = {
        **names,
        "parts": json.dumps(parts, sort_keys=True).encode(),
        "ids": _array(np.concatenate(ids)),
    }
    if soft_type:
        soft = [part.soft.reshape(-1) for part in row.parts if part.soft is not None]
        columns["soft"] = _array(np.concatenate([np.empty(0, soft_type), *soft]), soft_type)
    return columns


def _facts_of(part: Tokens) -> dict[str, Any]:
    soft = part.soft
    return {
        "codec": part.codec,
        "fingerprint": part.fingerprint,
        **({"codebooks": len(part.ids)} if soft is None else {"width": soft.shape[1]}),
        "grid": part.grid,
        "extent": dict(part.extent),
    }


def _array(values: NDArray[Any], dtype: DTypeLike = "<i4") -> bytes:
    """Return an array as MDS has one: dimensions in the upper 6 bits, log2 of bytes below."""
    width = next(i for i in range(4) if max(values.shape) < 1 << (8 << i))
    shape = np.array(values.shape, f"<u{1 << width}").tobytes()
    head = bytes([values.ndim << 2 | width])
    return head + shape + np.ascontiguousarray(values, dtype).tobytes()


def _ids_of(data: bytes) -> Ids:
    return _array_of(data, "<i4").astype(np.int32)


def _array_of(data: bytes, dtype: DTypeLike) -> NDArray[Any]:
    ndim, width = data[0] >> 2, 1 << (data[0] & 3)
    begin = 1 + ndim * width
    shape = np.frombuffer(data[1:begin], f"<u{width}").astype(int).tolist()
    return np.frombuffer(data[begin:], dtype).reshape(shape)


def _count(path: Path) -> int:
    with open(path, "rb") as file:
        (count,) = struct.unpack("<I", file.read(4))
        file.seek(4 + 4 * count)
        (end,) = struct.unpack("<I", file.read(4))
    if end != path.stat().st_size:
        raise CorruptStream(f"{path.name} is not as long as its index says")
    return int(count)


class MdsRows(ShardedRows["_File"]):
    """Samples, each by one read at its place."""

    def __init__(self, paths: Sequence[Path], sink: MdsSink) -> None:
        self._sink = sink
        super().__init__(paths)

    def _count(self, path: Path) -> int:
        return _count(path)

    def _open(self, path: Path) -> _File:
        return _File(path, self._sink)


class _File:
    def __init__(self, path: Path, sink: MdsSink) -> None:
        self._name, self._layout = path.name, sink.facts["layout"]
        self._columns, self._soft_type = sink.columns, sink.soft_type
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._size = path.stat().st_size

    def row(self, index: int) -> Row:
        begin, end = struct.unpack("<2I", self._read(4 * (1 + index), 8))
        columns = dict(zip(self._columns, self._split(begin, end), strict=True))
        if self._layout == "raw":
            soft = _array_of(columns["soft"], self._soft_type) if self._soft_type else _NOTHING
            return RawRow(
                columns["key"].decode(),
                columns["source"].decode(),
                tuple(_parts(json.loads(columns["parts"]), _ids_of(columns["ids"]), soft)),
            )
        ids = _ids_of(columns["tokens"])
        ids = ids.reshape(1, -1) if ids.ndim == 1 else ids
        if self._layout == "document":
            return DocumentRow(columns["key"].decode(), columns["source"].decode(), ids)
        return PackedRow(ids, _ids_of(columns["positions"]), _ids_of(columns["starts"]))

    def _split(self, begin: int, end: int) -> Iterator[bytes]:
        count = len(self._columns)
        data = self._read(begin, end - begin)
        at = 4 * count
        for size in struct.unpack_from(f"<{count}I", data):
            yield data[at : at + size]
            at += size
        if at != len(data):
            raise CorruptStream(f"{self._name} is damaged: the columns of a sample do not fill it")

    def _read(self, at: int, size: int) -> bytes:
        if size < 0 or at + size > self._size:
            raise CorruptStream(f"{self._name} is damaged: a sample lies beyond its end")
        return os.pread(self._file.fileno(), size, at)

    def close(self) -> None:
        self._file.close()


def _parts(parts: Sequence[Mapping[str, Any]], ids: Ids, soft: NDArray[Any]) -> Iterator[Tokens]:
    at = soft_at = 0
    for part in parts:
        if "width" in part:
            size = int(np.prod(part["grid"])) * part["width"]
            yield soft_part(part, part["extent"], soft[soft_at : soft_at + size])
            soft_at += size
            continue
        shape = (part["codebooks"], int(np.prod(part["grid"])))
        size = shape[0] * shape[1]
        own = ids[at : at + size].reshape(shape)
        yield Tokens(part["codec"], part["fingerprint"], own, tuple(part["grid"]), part["extent"])
        at += size
