"""Parquet: one row an item, or a packed sequence; a file each shard, `00000012.parquet`.

    raw        key string, source string, parts list<struct>:
               codec string, fingerprint string, codebooks int32, grid list<int32>,
               extent list<struct<name string, value int64>>, ids list<int32>, codebook by codebook;
               where codecs give real values also width int32, how many at a position, and soft
               list<float> or list<halffloat>, position by position; both are empty for ids
    document   key string, source string, tokens list<int32>
    packed     tokens list<int32>, positions list<int32>, starts list<int32>

Tokens of a vocabulary of several rows stand position by position, all rows of one together. The
schema's metadata has the data set's facts under the key "omnicodec", as JSON. The bytes depend on
the rows and on the version of pyarrow, which the file names.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from omnicodec.codecs import CorruptStream, Tokens, Unavailable
from omnicodec.service.batch.sinks.base import (
    DocumentRow,
    PackedRow,
    RawRow,
    Row,
    Rows,
    ShardWriter,
    Sink,
)
from omnicodec.service.batch.sinks.files import (
    ShardedRows,
    guarded,
    in_rows,
    in_steps,
    selected,
    soft_part,
)

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as e:
    raise Unavailable('Parquet needs: pip install "omnicodec[batch]"') from e

# A row group is read as a whole to have one of its rows.
_GROUP_ROWS: Final = 1024
_GROUP_IDS: Final = 1 << 18
_GROUPS_KEPT: Final = 8
_READERS: Final = 16
_NOTHING: Final = np.empty((0, 0), np.float16)

_PART: Final = (
    pa.field("codec", pa.string(), nullable=False),
    pa.field("fingerprint", pa.string(), nullable=False),
    pa.field("codebooks", pa.int32(), nullable=False),
    pa.field("grid", pa.list_(pa.int32()), nullable=False),
    pa.field(
        "extent",
        pa.list_(pa.struct([("name", pa.string()), ("value", pa.int64())])),
        nullable=False,
    ),
    pa.field("ids", pa.list_(pa.int32()), nullable=False),
)
_NAMES: Final = {"key": pa.string(), "source": pa.string()}
_IDS: Final = pa.list_(pa.int32())
_COLUMNS: Final[Mapping[str, Mapping[str, pa.DataType]]] = {
    "document": {**_NAMES, "tokens": _IDS},
    "packed": {"tokens": _IDS, "positions": _IDS, "starts": _IDS},
}


class ParquetSink(Sink):
    """A Parquet file each shard."""

    name = "parquet"
    layouts = ("raw", "document", "packed")

    @property
    def part(self) -> tuple[pa.Field, ...]:
        """The fields of a part of a raw row."""
        if self.soft_type is None:
            return _PART
        values = pa.list_(pa.from_numpy_dtype(self.soft_type))
        more = {"width": pa.int32(), "soft": values}.items()
        return (*_PART, *(pa.field(name, kind, nullable=False) for name, kind in more))

    @property
    def schema(self) -> pa.Schema:
        """The schema of every file."""
        layout = self.facts["layout"]
        raw = {**_NAMES, "parts": pa.list_(pa.struct(self.part))}
        fields = raw if layout == "raw" else _COLUMNS[layout]
        return pa.schema(
            [pa.field(name, kind, nullable=False) for name, kind in fields.items()],
            {"omnicodec": json.dumps(dict(self.facts), sort_keys=True)},
        )

    def open_shard(self, folder: Path, index: int) -> ShardWriter:
        return ParquetWriter(folder / f"{index:08d}.parquet", self)

    def open(self, data: Path, names: Sequence[str]) -> Rows:
        return ParquetRows(selected(data, names, ".parquet"), self)


class ParquetWriter(ShardWriter):
    """Writes row groups of a fixed number of rows, or fewer where they are long."""

    def __init__(self, path: Path, sink: ParquetSink) -> None:
        schema, layout = sink.schema, sink.facts["layout"]
        # Ids hardly repeat in a way that dictionaries find; positions count up.
        deltas = [n for n in ("positions", "starts") if n in schema.names]
        words = ["codec", "fingerprint", "extent.list.element.name"] if layout == "raw" else []
        self._writer = pq.ParquetWriter(
            path,
            schema,
            version="2.6",
            compression="zstd",
            compression_level=3,
            use_dictionary=[f"parts.list.element.{word}" for word in words],
            column_encoding={f"{name}.list.element": "DELTA_BINARY_PACKED" for name in deltas},
        )
        self._sink, self._schema = sink, schema
        self._rows: list[Row] = []
        self._ids = 0

    def write(self, row: Row) -> None:
        self._rows.append(row)
        if isinstance(row, RawRow):
            self._ids += sum(part.values.size for part in row.parts)
        else:
            self._ids += row.ids.size
        if self._ids >= _GROUP_IDS or len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            columns = [_column(name, self._rows, self._sink) for name in self._schema.names]
            group = pa.Table.from_arrays(columns, schema=self._schema)
            self._writer.write_table(group, row_group_size=len(self._rows))
        self._rows, self._ids = [], 0


def _column(name: str, rows: Sequence[Any], sink: ParquetSink) -> pa.Array:
    match name:
        case "key" | "source":
            return pa.array([getattr(row, name) for row in rows], pa.string())
        case "tokens":
            return _lists([in_steps(row.ids) for row in rows])
        case "positions" | "starts":
            return _lists([getattr(row, name) for row in rows])
        case _:
            parts = _parts([part for row in rows for part in row.parts], sink)
            return pa.ListArray.from_arrays(_offsets([len(row.parts) for row in rows]), parts)


def _parts(parts: Sequence[Tokens], sink: ParquetSink) -> pa.Array:
    extents = [sorted(part.extent.items()) for part in parts]
    flat = [pair for extent in extents for pair in extent]
    values = [
        pa.array([part.codec for part in parts], pa.string()),
        pa.array([part.fingerprint for part in parts], pa.string()),
        pa.array([len(part.ids) for part in parts], pa.int32()),
        _lists([np.array(part.grid, np.int32) for part in parts]),
        pa.ListArray.from_arrays(
            _offsets(list(map(len, extents))),
            pa.StructArray.from_arrays(
                [
                    pa.array([name for name, _ in flat], pa.string()),
                    pa.array([value for _, value in flat], pa.int64()),
                ],
                ["name", "value"],
            ),
        ),
        _lists([part.ids.reshape(-1) for part in parts]),
    ]
    if sink.soft_type:
        soft = [_NOTHING if part.soft is None else part.soft for part in parts]
        values.append(pa.array([part.shape[1] for part in soft], pa.int32()))
        values.append(_lists([part.reshape(-1) for part in soft], sink.soft_type))
    return pa.StructArray.from_arrays(values, fields=list(sink.part))


def _lists(arrays: Sequence[NDArray[Any]], dtype: DTypeLike = np.int32) -> pa.Array:
    values = np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype, copy=False)
    return pa.ListArray.from_arrays(_offsets(list(map(len, arrays))), pa.array(values))


def _offsets(lengths: Sequence[int]) -> pa.Array:
    return pa.array(np.cumsum([0, *lengths]).astype(np.int32))


class ParquetRows(ShardedRows["_File"]):
    """Rows by their row groups, of which a few are kept."""

    def __init__(self, paths: Sequence[Path], sink: ParquetSink) -> None:
        self._sink = sink
        super().__init__(paths)

    def _counts(self, paths: Sequence[Path]) -> list[int]:
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(lambda path: guarded(path, self._count), paths))

    def _count(self, path: Path) -> int:
        rows: int = pq.read_metadata(path).num_rows
        return rows

    def _open(self, path: Path) -> _File:
        return _File(path, self._sink)


class _File:
    """One file, and the columns of row groups that were asked for last."""

    def __init__(self, path: Path, sink: ParquetSink) -> None:
        self._file = pq.ParquetFile(path)
        found, wanted = self._file.schema_arrow, sink.schema
        if {f.name: f.type for f in found} != {f.name: f.type for f in wanted}:
            raise CorruptStream(f"{path.name} has other columns than a data set of its layout")
        metadata = self._file.metadata
        counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self._ends = np.cumsum(counts)
        self._facts = sink.facts
        self._groups: OrderedDict[int, _Group] = OrderedDict()

    def row(self, index: int) -> Row:
        number = int(np.searchsorted(self._ends, index, side="right"))
        if number not in self._groups:
            # One thread: those of Arrow do not live through a fork.
            table = self._file.read_row_group(number, use_threads=False)
            self._groups[number] = _Group(table, self._facts)
            if len(self._groups) > _GROUPS_KEPT:
                self._groups.popitem(last=False)
        self._groups.move_to_end(number)
        return self._groups[number].row(index - (int(self._ends[number - 1]) if number else 0))

    def close(self) -> None:
        self._file.close()


class _Group:
    """A row group as arrays."""

    def __init__(self, table: pa.Table, facts: Mapping[str, Any]) -> None:
        self._columns = {name: _whole(table.column(name)) for name in table.column_names}
        self._rows = facts["rows"]
        self._layout, self._is_soft = facts["layout"], bool(facts.get("soft"))
        self._lists = {
            name: _List(column) for name, column in self._columns.items() if name in _LISTS
        }
        if self._layout == "raw":
            parts = self._columns["parts"]
            self._ends = parts.offsets.to_numpy()
            self._parts = parts.values
            self._grids = _List(self._parts.field("grid"))
            self._ids = _List(self._parts.field("ids"))
            if self._is_soft:
                self._widths = self._parts.field("width").to_numpy()
                self._soft = _List(self._parts.field("soft"))

    def row(self, index: int) -> Row:
        if self._layout == "packed":
            positions, starts = (self._lists[name].item(index) for name in ("positions", "starts"))
            return PackedRow(
                in_rows(self._lists["tokens"].item(index), self._rows), positions, starts
            )
        key, source = (self._columns[name][index].as_py() for name in ("key", "source"))
        if self._layout == "document":
            return DocumentRow(key, source, in_rows(self._lists["tokens"].item(index), self._rows))
        span = range(int(self._ends[index]), int(self._ends[index + 1]))
        return RawRow(key, source, tuple(map(self._part, span)))

    def _part(self, at: int) -> Tokens:
        codec, fingerprint, books, stored = (
            self._parts.field(name)[at].as_py()
            for name in ("codec", "fingerprint", "codebooks", "extent")
        )
        grid = tuple(self._grids.item(at).tolist())
        extent = {e["name"]: e["value"] for e in stored}
        if self._is_soft and (width := int(self._widths[at])):
            facts = {"codec": codec, "fingerprint": fingerprint, "grid": grid, "width": width}
            return soft_part(facts, extent, self._soft.item(at))
        ids = self._ids.item(at).reshape(books, -1 if books else 0)
        return Tokens(codec, fingerprint, ids, grid, extent)


_LISTS: Final = ("tokens", "positions", "starts")


class _List:
    """A column of lists of numbers."""

    def __init__(self, column: pa.Array) -> None:
        self._ends: NDArray[Any] = column.offsets.to_numpy()
        self._values: NDArray[Any] = column.values.to_numpy()

    def item(self, index: int) -> NDArray[Any]:
        return self._values[self._ends[index] : self._ends[index + 1]].copy()


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
