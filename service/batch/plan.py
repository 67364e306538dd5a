"""The plan: which slices of the sources make which shard, settled before any is read.

`plan.jsonl` has a line a shard, and a last one of totals, without which it is not whole:

    {"shard": 0, "slices": [[0, "a.tar", 0, 1000, 1000, 52428800, []]]}
    {"shards": 1, "sources": [{"kind": "tar", "slices": 1, "items": 1000, "unknown": 0, ...}]}
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import CorruptStream, InvalidInput
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.sources.base import Slice, SourceSpec

_PIECE: Final = 1 << 24


@dataclass(slots=True)
class Totals:
    """What a plan has of one source: its kind, items that are counted, slices where none are."""

    kind: str = ""
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


def slices_of(specs: Sequence[SourceSpec], items: int, nbytes: int) -> Iterator[Slice]:
    """Yield the slices of all sources; raises what `Source.slices` raises."""
    from omnicodec.service.batch.sources import open_source

    for number, spec in enumerate(specs):
        yield from open_source(spec, number).slices(items, nbytes)


def specs_of(job: Job) -> list[SourceSpec]:
    """Return the sources of a job, each with its kind; raises what `kind_of` raises."""
    from omnicodec.service.batch.sources import kind_of

    return [replace(spec, kind=spec.kind or kind_of(spec.location)) for spec in job.sources]


def write_plan(job: Job, path: Path) -> None:
    """Write the plan of a job, whole or not at all; `path` is that of the data set's folder.

    Raises what `Source.slices` raises, and `InvalidInput` when the sources have nothing at all.
    """
    folder = Folder(path.parent)
    specs = specs_of(job)
    totals = [Totals(spec.kind) for spec in specs]
    slices = slices_of(specs, job.shard_items, job.shard_bytes)
    count = 0
    with folder.writing(path) as file:
        for shard in shards_of(slices, job.shard_items, job.shard_bytes):
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

    def specs(self, job: Job) -> list[SourceSpec]:
        """Return the sources of its job with the kinds that they had when it was made.

        What is there now may look otherwise, and need not be looked at.
        """
        kinds = (total.kind for total in self.sources)
        return [replace(spec, kind=kind) for spec, kind in zip(job.sources, kinds, strict=True)]

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
