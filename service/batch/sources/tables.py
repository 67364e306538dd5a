"""What sources of Arrow's tables have in common: Parquet, Arrow's own files, Hugging Face's."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from omnicodec.codecs import InvalidInput, LimitExceeded, OmnicodecError, Unavailable
from omnicodec.service.batch.documents import Item, Part, Reject
from omnicodec.service.batch.sources.base import Slice, SourceSpec
from omnicodec.service.batch.sources.files import FilesSource
from omnicodec.service.batch.sources.names import MEANINGS, check_columns
from omnicodec.service.batch.sources.records import Columns, RecordReader
from omnicodec.service.batch.sources.values import Nearby

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES: Final = 16 << 20
"""About how many bytes of a table are in memory at once; one row is, whatever its size."""

BATCH_ROWS: Final = 4096
_FEATURES: Final = {"Image": "image", "Audio": "audio", "Video": "video"}


def arrow() -> Any:
    """Return the module `pyarrow`; raises `Unavailable` without it."""
    try:
        import pyarrow
    except ImportError as e:
        raise Unavailable('reading tables needs: pip install "omnicodec[batch]"') from e
    return pyarrow


class TableSource(FilesSource):
    """Tables: an item a row, numbered from 0 in each file: "a.parquet#17"."""

    def __init__(self, spec: SourceSpec, number: int) -> None:
        arrow()
        check_columns(spec.columns, MEANINGS)
        super().__init__(spec, number)

    @abstractmethod
    def batches(
        self, piece: Slice, reader: RecordReader
    ) -> Iterator[tuple[pa.RecordBatch, Columns]]:
        """Yield the rows of a slice in batches of about `BATCH_BYTES`, and what is taken of them.

        Raises `OmnicodecError` or an error of Arrow's when it cannot go on.
        """

    def reader(self, name: str) -> RecordReader:
        """Return what makes items of a file's rows."""
        near = Nearby(self.location, name, self.max_bytes, self.spec.modality)
        return RecordReader(self.spec, near, name, self.location.shown(name))

    def items(self, piece: Slice) -> Iterator[Item | Reject]:
        reader = self.reader(piece.path)
        at, reason = piece.start, "the file has fewer rows than when the run was planned"
        try:
            for batch, columns in self.batches(piece, reader):
                # A slice has so many items, whatever its file has become since.
                yield from batch_items(batch.slice(0, piece.stop - at), columns, reader, at)
                at = min(at + batch.num_rows, piece.stop)
        except Unavailable:
            raise
        except OmnicodecError as e:
            reason = str(e)
        except (arrow().ArrowException, OSError, ValueError, TypeError, MemoryError) as e:
            reason = f"cannot be read: {first_line(e)}"
        for row in range(at, piece.stop):
            yield self.reject(piece.path, f"#{row}", InvalidInput(reason), reader.key(row))


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says, which may go on for pages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def batch_items(
    batch: pa.RecordBatch, columns: Columns, reader: RecordReader, first: int
) -> Iterator[Item | Reject]:
    """Yield the items of a batch, whose first row has the number `first` in its file."""
    batch.validate(full=True)  # offsets beyond the data would be read otherwise
    media = {name: batch.column(name) for name, _ in columns.media}
    simple = columns.layout is None and all(
        (meaning == "text" and is_string(media[name].type))
        or (meaning not in ("document", "file") and is_binary(media[name].type))
        for name, meaning in columns.media
    )
    if simple and columns.media:
        yield from _simple_items(batch, columns, reader, first)
        return
    names = columns.names
    values = [batch.column(name) for name in names]
    for row in range(batch.num_rows):
        try:
            record = {n: v[row].as_py() for n, v in zip(names, values, strict=True)}
        except (UnicodeDecodeError, ValueError, OverflowError) as e:
            error = InvalidInput(f"cannot be read: {first_line(e)}")
            place = reader.position(f"#{first + row}")
            yield Reject(place, reader.key(first + row), type(error).__name__, str(error))
            continue
        yield reader.item(record, columns, f"#{first + row}", first + row)


def _simple_items(
    batch: pa.RecordBatch, columns: Columns, reader: RecordReader, first: int
) -> Iterator[Item | Reject]:
    """Yield the items of a batch whose parts lie in it as bytes: the way of most texts."""
    rows = range(first, first + batch.num_rows)
    cells = [
        [None if value is None else Part(meaning, value, name) for value in bytes_of(column)]
        for meaning, name, column in (
            (meaning, name, batch.column(name)) for name, meaning in columns.media
        )
    ]
    keys = _keys(batch, columns, reader, rows)
    limit = reader.near.limit
    before = reader.position("#")
    for row, key, found in zip(rows, keys, zip(*cells, strict=True), strict=True):
        parts = tuple(part for part in found if part) if None in found else found
        if not parts:
            reason = "nothing in it is text or media; its columns can be told"
            yield Reject(f"{before}{row}", key, InvalidInput.__name__, reason)
        elif limit is not None and (size := sum(len(part.data) for part in parts)) > limit:
            reason = f"{size:,} bytes are over the limit of {limit:,}"
            yield Reject(f"{before}{row}", key, LimitExceeded.__name__, reason)
        else:
            yield Item(f"{before}{row}", key, parts)


def _keys(batch: pa.RecordBatch, columns: Columns, reader: RecordReader, rows: range) -> list[str]:
    if not columns.key:
        return [reader.key(row) for row in rows]
    values = batch.column(columns.key).to_pylist()
    return [reader.key_of(value, row) for value, row in zip(values, rows, strict=True)]


def bytes_of(column: pa.Array) -> list[bytes | None]:
    """Return the values of a column of strings or bytes, several times as fast as Arrow does."""
    import numpy as np

    pa = arrow()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    large = pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type)
    if not (large or pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        column, large = column.cast(pa.large_binary()), True
    if not len(column):
        return []
    _, offsets, data = column.buffers()
    kind, width = (np.int64, 8) if large else (np.int32, 4)
    ends = np.frombuffer(offsets, kind, len(column) + 1, column.offset * width)
    begin = int(ends[0])
    held = b"" if data is None else memoryview(data)[begin : int(ends[-1])]
    at = (ends - begin).tolist()
    found = [bytes(held[a:b]) for a, b in pairwise(at)]
    if not column.null_count:
        return found  # type: ignore[return-value]  # a list without nulls is one with them
    valid = column.is_valid().to_pylist()
    return [value if is_there else None for value, is_there in zip(found, valid, strict=True)]


def is_string(kind: pa.DataType) -> bool:
    """Return whether a column holds strings."""
    types = arrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    view = getattr(types, "is_string_view", lambda _: False)
    return bool(types.is_string(kind) or types.is_large_string(kind) or view(kind))


def is_binary(kind: pa.DataType) -> bool:
    """Return whether a column holds bytes."""
    types = arrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    view = getattr(types, "is_binary_view", lambda _: False)
    fixed = types.is_fixed_size_binary(kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or fixed or view(kind))


def meanings(schema: pa.Schema) -> dict[str, str]:
    """Return what Hugging Face's features, which stand in a schema's metadata, tell of columns."""
    try:
        held = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = held.get("info", {}).get("features", {})
        found = {name: _feature(value) for name, value in features.items()}
    except (ValueError, AttributeError, RecursionError):
        return {}
    return {name: meaning for name, meaning in found.items() if meaning}


def _feature(value: Any) -> str:
    if isinstance(value, Mapping):
        kind = value.get("_type")
        if kind in ("Sequence", "List", "LargeList"):
            return _feature(value.get("feature"))
        return _FEATURES.get(kind, "") if isinstance(kind, str) else ""
    if isinstance(value, Sequence) and len(value) == 1 and not isinstance(value, str):
        return _feature(value[0])
    return ""


def taken(schema: pa.Schema, reader: RecordReader) -> Columns:
    """Return which columns of a table are taken; raises `InvalidInput` for two of one name."""
    if len(set(schema.names)) < len(schema.names):
        raise InvalidInput("two columns have one name")
    return reader.columns(schema.names, meanings(schema))
