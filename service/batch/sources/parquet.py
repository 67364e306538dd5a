"""Parquet: slices are row groups, or pieces of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.sources.base import Slice
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

_STREAM: Final = 1 << 20
_SMALL: Final = 8 << 20
_MOST_ROWS: Final = 1 << 16  # a byte: a column of one value only comes to thousands
_MOST_PIECES: Final = 16
"""Pieces of a large row group. Each is read from the group's beginning, as pages have no index
that can be relied upon: with many, most of the time would go into what is skipped."""


class ParquetSource(TableSource):
    """Files of Parquet, each by its own schema; only columns that are needed are read."""

    suffixes = (".parquet", ".pq")

    def cut(self, found: Found, items: int, nbytes: int) -> Iterator[Slice]:
        with self._opened(found.name) as file:
            facts = file.metadata
            _check(facts, found.nbytes)
            first = 0
            for number in range(facts.num_row_groups):
                group = facts.row_group(number)
                rows, size = group.num_rows, max(group.total_byte_size, 0)
                pieces = max(-(-rows // items), -(-size // nbytes))
                most = rows if size <= _SMALL else _MOST_PIECES
                pieces = max(min(pieces, most, rows), 1)
                step = -(-rows // pieces)
                for start in range(0, rows, step):
                    count = min(step, rows - start)
                    begin = first + start
                    share = size * count // rows
                    yield Slice(self.number, found.name, begin, begin + count, count, share)
                first += rows

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        """Open a file; raises `InvalidInput` for what is no Parquet."""
        pa = arrow()
        import pyarrow.parquet as pq

        path = self.location.path(name)
        local = self.location.storage.local(path)
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(self.location.open(name))
            try:
                file = pq.ParquetFile(
                    source if local is None else str(local), buffer_size=_STREAM, pre_buffer=False
                )
            except (pa.ArrowException, OSError, ValueError, MemoryError) as e:
                raise InvalidInput(f"not a readable Parquet file: {first_line(e)}") from e
            yield stack.enter_context(file)

    def batches(
        self, piece: Slice, reader: RecordReader
    ) -> Iterator[tuple[pa.RecordBatch, Columns]]:
        with self._opened(piece.path) as file:
            columns = taken(file.schema_arrow, reader)
            if not columns.names:
                raise InvalidInput("no column is known to be text or media; columns can be told")
            facts = file.metadata
            first = 0
            for number in range(facts.num_row_groups):
                rows = facts.row_group(number).num_rows
                begin, end = max(piece.start, first), min(piece.stop, first + rows)
                if begin < end:
                    for batch in self._rows(file, number, begin - first, end - first, columns):
                        yield batch, columns
                first += rows

    def _rows(
        self, file: Any, number: int, start: int, stop: int, columns: Columns
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows from `start` to `stop` of a row group."""
        group = file.metadata.row_group(number)
        held = max(group.total_byte_size, 1) / max(group.num_rows, 1)
        size = int(min(max(BATCH_BYTES // held, 1), BATCH_ROWS))
        at = 0
        for batch in file.iter_batches(
            size, row_groups=[number], columns=columns.names, use_threads=False
        ):
            begin, end = max(start - at, 0), min(stop - at, batch.num_rows)
            if begin < end:
                yield batch.slice(begin, end - begin)
            at += batch.num_rows
            if at >= stop:
                return


def _check(facts: Any, nbytes: int) -> None:
    """Raise `InvalidInput` for numbers of rows that contradict each other, or cannot be.

    They come from the file and each row is an item, or a reject: of a damaged one, trillions.
    Columns' numbers could be compared too, but Arrow ends the process over damaged ones.
    """
    rows = [facts.row_group(number).num_rows for number in range(facts.num_row_groups)]
    if min(rows, default=0) < 0 or sum(rows) != facts.num_rows or sum(rows) > _MOST_ROWS * nbytes:
        raise InvalidInput("not a readable Parquet file: its numbers of rows are damaged")
