"""The plan: which slices of the sources make which shard, settled before any is read.

`plan.jsonl` has a line a shard, and a last one of totals, without which it is not whole:

    {"shard": 0, "slices": [[0, "a.tar", 0, 1000, 1000, 52428800, []]]}
    {"shards": 1, "sources": [{"slices": 1, "items": 1000, "unknown": 0, "nbytes": 52428800}]}
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import CorruptStream, InvalidInput
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.sources.base import Slice

_PIECE: Final = 1 << 24


@dataclass(slots=True)
class Totals:
    """What a plan has of one source: items that are counted, and slices whose items are not."""

    slices: int = 0
    items: int = 0
    unknown: int = 0
    nbytes: int = 0

    def add(self, piece: Slice) -> None:
        self.slices += 1
        self.items += piece.items or 0
        self.unknown += piece.items is None
        self.nbytes += piece.nbytes


def shards_of(slices: Iterable[Slice], items: int, nbytes: int) -> Iterator[list[Slice]]:
    """Yield neighbouring slices together, at most so many items and bytes, and at least one.

    A slice whose items nobody has counted is one item here: its bytes limit it.
    """
    shard: list[Slice] = []
    held = size = 0
    for piece in slices:
        count = 1 if piece.items is None else piece.items
        if shard and (held + count > items or size + piece.nbytes > nbytes):
            yield shard
            shard, held, size = [], 0, 0
        shard.append(piece)
        held, size = held + count, size + piece.nbytes
    if shard:
        yield shard


def slices_of(job: Job) -> Iterator[Slice]:
    """Yield the slices of all sources of a job; raises what `Source.slices` raises."""
    from omnicodec.service.batch.sources import open_source

    for number, spec in enumerate(job.sources):
        yield from open_source(spec, number).slices(job.shard_items, job.shard_bytes)


def write_plan(job: Job, path: Path) -> None:
    """Write the plan of a job, whole or not at all; `path` is that of the data set's folder.

    Raises what `Source.slices` raises, and `InvalidInput` when the sources have nothing at all.
    """
    folder = Folder(path.parent)
    totals = [Totals() for _ in job.sources]
    count = 0
    with folder.writing(path) as file:
        for shard in shards_of(slices_of(job), job.shard_items, job.shard_bytes):
            for piece in shard:
                totals[piece.source].add(piece)
            file.write(_line({"shard": count, "slices": [piece.to_json() for piece in shard]}))
            count += 1
        if not count:
            raise InvalidInput("there is nothing in these sources")
        file.write(_line({"shards": count, "sources": [asdict(total) for total in totals]}))


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


class Plan:
    """A written plan; a shard is read when it is asked for.

    Raises `InvalidInput` when there is none at this path, `CorruptStream` for a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                self._starts = _lines(file)
                file.seek(int(self._starts[-2]) if len(self._starts) > 1 else 0)
                last = file.read()
        except OSError as e:
            raise InvalidInput(f"cannot read {str(path)!r}: {e.strerror}") from e
        try:
            value = json.loads(last)
            self.sources = [Totals(**total) for total in value["sources"]]
            whole = value["shards"] == len(self)
        except (ValueError, KeyError, TypeError) as e:
            raise CorruptStream(f"{str(path)!r} is not a whole plan") from e
        if not whole:
            raise CorruptStream(f"{str(path)!r} has not as many shards as it says")

    def __len__(self) -> int:
        return max(len(self._starts) - 2, 0)

    def __getitem__(self, shard: int) -> list[Slice]:
        """Return the slices of a shard; raises `IndexError`, or `CorruptStream`."""
        if not 0 <= shard < len(self):
            raise IndexError(shard)
        start, stop = int(self._starts[shard]), int(self._starts[shard + 1])
        try:
            with open(self.path, "rb") as file:
                file.seek(start)
                value = json.loads(file.read(stop - start))
            if value["shard"] != shard:
                raise ValueError("it is that of another shard")
            return [Slice.from_json(piece) for piece in value["slices"]]
        except OSError as e:
            raise InvalidInput(f"cannot read {str(self.path)!r}: {e.strerror}") from e
        except (ValueError, KeyError, TypeError, IndexError) as e:
            raise CorruptStream(f"{str(self.path)!r}: line {shard + 1}: {e}") from e

    @property
    def items(self) -> int | None:
        """How many items there are; None where only reading tells."""
        if any(total.unknown for total in self.sources):
            return None
        return sum(total.items for total in self.sources)

    @property
    def nbytes(self) -> int:
        """About how many bytes are read."""
        return sum(total.nbytes for total in self.sources)


def _lines(file: io.BufferedReader) -> NDArray[np.int64]:
    """Return where each line of a file begins, and its end."""
    starts, at = [np.zeros(1, np.int64)], 0
    while piece := file.read(_PIECE):
        starts.append(np.flatnonzero(np.frombuffer(piece, np.uint8) == 10) + at + 1)
        at += len(piece)
    return np.concatenate(starts)
