"""Arrow's files and streams (the IPC format): slices are record batches, or pieces of them."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from omnicodec.codecs import CorruptStream, InvalidInput
from omnicodec.service.batch.sources.base import Slice, SourceSpec
from omnicodec.service.batch.sources.records import Columns, RecordReader
from omnicodec.service.batch.sources.storage import Found
from omnicodec.service.batch.sources.tables import (
    BATCH_BYTES,
    BATCH_ROWS,
    TableSource,
    arrow,
    first_line,
    taken,
)

if TYPE_CHECKING:
    import pyarrow as pa

_MAGIC: Final = b"ARROW1\0\0"
_CONTINUES: Final = 0xFFFFFFFF
_MOST_METADATA: Final = 64 << 20
_DICTIONARY, _BATCH = 2, 3
_KEPT: Final = 16


@dataclass(frozen=True, slots=True)
class _Batch:
    """Where a record batch begins in its file, its bytes, its rows, and the first one's number."""

    offset: int
    nbytes: int
    first: int
    rows: int


@dataclass(frozen=True)
class _Index:
    """The record batches of a file, and what is wrong behind the last of them, if anything.

    With dictionaries, batches cannot be read but one after the other.
    """

    start: int
    batches: tuple[_Batch, ...]
    dictionaries: bool
    problem: str


class ArrowSource(TableSource):
    """Files in Arrow's IPC format, of either kind, as `Dataset.save_to_disk` writes them too."""

    suffixes = (".arrow", ".feather", ".ipc")

    def __init__(self, spec: SourceSpec, number: int) -> None:
        super().__init__(spec, number)
        self._known: dict[str, _Index] = {}

    def cut(self, found: Found, items: int, nbytes: int) -> Iterator[Slice]:
        index = self._index(found.name)
        start = stop = size = 0
        for batch in index.batches:
            pieces = max(-(-batch.rows // items), min(-(-batch.nbytes // nbytes), batch.rows), 1)
            if stop > start and (
                pieces > 1 or stop + batch.rows - start > items or size + batch.nbytes > nbytes
            ):
                yield Slice(self.number, found.name, start, stop, stop - start, size)
                start, size = stop, 0
            if pieces > 1:
                step = -(-batch.rows // pieces)
                for at in range(0, batch.rows, step):
                    count = min(step, batch.rows - at)
                    begin, share = batch.first + at, batch.nbytes * count // batch.rows
                    yield Slice(self.number, found.name, begin, begin + count, count, share)
                start = stop = batch.first + batch.rows
            else:
                stop, size = stop + batch.rows, size + batch.nbytes
        if stop > start:
            yield Slice(self.number, found.name, start, stop, stop - start, size)
        if index.problem:
            raise CorruptStream(index.problem)

    def _index(self, name: str) -> _Index:
        """Return the index of a file; those of the last few are kept."""
        found = self._known.get(name)
        if found is None:
            status = self.location.storage.status(self.location.path(name))
            if status is None:
                raise InvalidInput("cannot be read: No such file or directory")
            with self.location.open(name) as file:
                found = _indexed(file, status.nbytes)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[name] = found
        return found

    def batches(
        self, piece: Slice, reader: RecordReader
    ) -> Iterator[tuple[pa.RecordBatch, Columns]]:
        index = self._index(piece.path)
        with self._opened(piece.path, index.start) as (file, stream):
            columns = taken(stream.schema, reader)
            if not columns.names:
                raise InvalidInput("no column is known to be text or media; columns can be told")
            for found in index.batches:
                begin = max(piece.start - found.first, 0)
                end = min(piece.stop - found.first, found.rows)
                if index.dictionaries:
                    batch = stream.read_next_batch()
                if begin >= end:
                    continue
                if not index.dictionaries:
                    file.seek(found.offset)
                    batch = stream.read_next_batch()
                batch = batch.select(list(dict.fromkeys(columns.names)))
                step = int(
                    min(max(BATCH_BYTES * found.rows // max(found.nbytes, 1), 1), BATCH_ROWS)
                )
                for at in range(begin, end, step):
                    yield batch.slice(at, min(step, end - at)), columns

    @contextlib.contextmanager
    def _opened(self, name: str, start: int) -> Iterator[tuple[Any, Any]]:
        """Open a file as Arrow does, and its stream of batches."""
        pa = arrow()
        path = self.location.path(name)
        local = self.location.storage.local(path)
        with contextlib.ExitStack() as stack:
            try:
                if local is None:
                    held = stack.enter_context(self.location.open(name))
                    file = stack.enter_context(pa.PythonFile(held, "r"))
                else:
                    file = stack.enter_context(pa.memory_map(str(local)))
                file.seek(start)
                stream = stack.enter_context(pa.ipc.open_stream(file))
            except (pa.ArrowException, OSError, ValueError) as e:
                raise InvalidInput(f"not a readable Arrow file: {first_line(e)}") from e
            yield file, stream


def _indexed(file: BinaryIO, size: int) -> _Index:
    """Return the index of a file, of whose messages only the heads are read.

    Raises `CorruptStream` when it is no file of Arrow's at all.
    """
    start = len(_MAGIC) if file.read(len(_MAGIC)) == _MAGIC else 0
    at, row, count = start, 0, 0
    batches: list[_Batch] = []
    dictionaries, ended, problem = False, False, ""
    while at < size:
        try:
            head = _message(file, at)
            if head is None:
                ended = True
                break
            kind, rows, end = head
            if end > size:
                raise CorruptStream(f"the Arrow file is cut off behind row {row:,}")
        except (CorruptStream, struct.error, OverflowError) as e:
            if not count:
                raise CorruptStream("not a file or stream of Arrow's") from e
            problem = str(e) if isinstance(e, CorruptStream) else f"damaged behind row {row:,}"
            break
        count += 1
        dictionaries |= kind == _DICTIONARY
        if kind == _BATCH:
            batches.append(_Batch(at, end - at, row, rows))
            row += rows
        at = end
    if not count:
        raise CorruptStream("not a file or stream of Arrow's")
    if start and not ended and not problem:  # a stream may end without a mark, a file has an index
        problem = f"the Arrow file is cut off behind row {row:,}"
    return _Index(start, tuple(batches), dictionaries, problem)


def _message(file: BinaryIO, at: int) -> tuple[int, int, int] | None:
    """Return kind, rows and end of the message at `at`; None at the end of the stream.

    The format is Arrow's "Encapsulated message format": a length, a Flatbuffers table `Message`
    of version, header type, header and length of the body, and that body.
    """
    file.seek(at)
    first, second = struct.unpack("<II", file.read(8))
    length, at = (second, at + 8) if first == _CONTINUES else (first, at + 4)
    if length == 0:
        return None
    if length > _MOST_METADATA:
        raise CorruptStream(f"damaged: a message of {length:,} bytes at byte {at:,}")
    file.seek(at)
    data = file.read(length)
    if len(data) < length:
        raise CorruptStream(f"cut off in a message at byte {at:,}")
    table = struct.unpack_from("<I", data)[0]
    kind = _field(data, table, 1, "B")
    body = _field(data, table, 3, "q")
    rows = 0
    if kind == _BATCH:
        place = _place(data, table, 2)
        rows = _field(data, place + struct.unpack_from("<I", data, place)[0], 0, "q")
    # Even truth values are a bit each: what has more rows would be as many rejects.
    if body < 0 or not 0 <= rows <= 8 * body:
        raise CorruptStream(f"damaged: a wrong length at byte {at:,}")
    return kind, rows, at + length + body


def _place(data: bytes, table: int, number: int) -> int:
    """Return where a field of a Flatbuffers table lies; 0 where it is left out."""
    listed = table - struct.unpack_from("<i", data, table)[0]
    if listed < 0 or 4 + 2 * number >= struct.unpack_from("<H", data, listed)[0]:
        return 0
    offset: int = struct.unpack_from("<H", data, listed + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _field(data: bytes, table: int, number: int, form: str) -> int:
    place = _place(data, table, number)
    value: int = struct.unpack_from("<" + form, data, place)[0] if place else 0
    return value
