"""JSON lines: a record a line, told by the byte at which it begins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from omnicodec.codecs import (
    InvalidInput,
    LimitExceeded,
    OmnicodecError,
    Unavailable,
)
from omnicodec.service.batch.documents import Item, Reject
from omnicodec.service.batch.sources.base import Slice, SourceSpec
from omnicodec.service.batch.sources.files import FilesSource
from omnicodec.service.batch.sources.names import MEANINGS, check_columns
from omnicodec.service.batch.sources.packed import PACKED, unpacked
from omnicodec.service.batch.sources.records import RecordReader
from omnicodec.service.batch.sources.storage import Found, unreadable
from omnicodec.service.batch.sources.values import Nearby

_SAMPLE: Final = 1 << 16
_PIECE: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"
_ROOM: Final = 1 << 20


class JSONLinesSource(FilesSource):
    """Files of JSON objects, one a line, also compressed: then a file is one slice.

    A plain file is cut anywhere: a line belongs to the slice in which it begins, and its position
    is "a.jsonl@BYTE". Empty lines are no items.
    """

    suffixes = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst")

    def __init__(self, spec: SourceSpec, number: int) -> None:
        check_columns(spec.columns, MEANINGS)
        super().__init__(spec, number)

    def cut(self, found: Found, items: int, nbytes: int) -> Iterator[Slice]:
        size = found.nbytes
        if found.name.lower().endswith(PACKED):
            yield Slice(self.number, found.name, 0, 1, None, size)
            return
        step = min(nbytes, int(items * self._line_bytes(found)))
        for start in range(0, size, max(step, 1)):
            stop = min(start + step, size)
            yield Slice(self.number, found.name, start, stop, None, stop - start)

    def _line_bytes(self, found: Found) -> float:
        """Return about how long a line is, from the file's first ones."""
        with self.location.open(found.name) as file:
            head = file.read(_SAMPLE)
        # With what is there of the last one: it may be by far the longest.
        return max(len(head), 1) / max(head.count(b"\n"), 1)

    def items(self, piece: Slice) -> Iterator[Item | Reject]:
        near = Nearby(self.location, piece.path, self.max_bytes, self.spec.modality)
        reader = RecordReader(self.spec, near, piece.path, self.location.shown(piece.path))
        # What is text in base64 is a third longer; beyond that a line is not even read.
        most = None if self.max_bytes is None else self.max_bytes * 4 // 3 + _ROOM
        at = 0
        try:
            with self.location.open(piece.path) as raw, unpacked(raw, piece.path) as file:
                packed = piece.path.lower().endswith(PACKED)
                stop = None if packed else piece.stop
                for at, line in _lines(file, piece.start, stop, most):
                    item = self._item(line, at, reader, most)
                    if item is not None:
                        yield item
        except Unavailable:
            raise
        except OmnicodecError as e:
            yield self.reject(piece.path, _whole(piece), _behind(e, at))
        except OSError as e:
            error = unreadable(self.location.shown(piece.path), e)
            yield self.reject(piece.path, _whole(piece), _behind(error, at))

    def _item(
        self, line: bytes | None, at: int, reader: RecordReader, most: int | None
    ) -> Item | Reject | None:
        place = f"@{at}"
        try:
            if line is None:
                raise LimitExceeded(f"a line is longer than {most:,} bytes")
            line = line.removeprefix(_BOM) if at == 0 else line
            if not line.strip():
                return None
            record = _parsed(line)
            columns = reader.columns(tuple(record))
        except OmnicodecError as e:
            return Reject(reader.position(place), reader.key(at), type(e).__name__, str(e))
        return reader.item(record, columns, place, at)


def _whole(piece: Slice) -> str:
    """Return the place of a slice of which nothing more can be read: that of no line."""
    return "" if piece.path.lower().endswith(PACKED) else f"@{piece.start}-{piece.stop}"


def _behind(error: OmnicodecError, at: int) -> OmnicodecError:
    return type(error)(f"{error}, behind the line at byte {at:,}") if at else error


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as e:
        raise InvalidInput(f"not UTF-8 at byte {e.start:,} of the line") from e
    except ValueError as e:
        raise InvalidInput(f"not JSON: {str(e)[:200]}") from e
    except RecursionError as e:
        raise InvalidInput("not JSON that can be read: nested too deeply") from e
    if not isinstance(record, dict):
        raise InvalidInput("a line is no JSON object")
    return record


def _lines(
    file: BinaryIO, start: int, stop: int | None, most: int | None
) -> Iterator[tuple[int, bytes | None]]:
    """Yield where lines begin between `start` and `stop`, and each; None for one that is longer.

    A line that begins before `start` belongs to the slice before.
    """
    at = start
    if start:
        file.seek(start - 1)
        # In the midst of a line that is longer than slices are, no slice reads more than its own.
        at = start - 1 + _skip(file, None if stop is None else stop - start + 1)
    limit = -1 if most is None else most + 1
    while stop is None or at < stop:
        line = file.readline(limit)
        if not line:
            return
        begin, at = at, at + len(line)
        if most is not None and len(line) > most and not line.endswith(b"\n"):
            at += _skip(file)
            yield begin, None
        else:
            yield begin, line


def _skip(file: BinaryIO, most: int | None = None) -> int:
    """Read to the end of a line, or so many bytes; return how many that were."""
    count = 0
    while piece := file.readline(_PIECE if most is None else min(_PIECE, most - count)):
        count += len(piece)
        if piece.endswith(b"\n"):
            break
    return count
