"""What a job would take, judged by a sample; nothing is left of it.

Some shards, spread over the plan, are begun in this process, and each stands for those around it.
Estimates are of this machine: a worker is as fast as this process with one thread, and so many
workers are so many times as fast.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs.threads import thread_count
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.documents import Item, Reject
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.plan import Plan, write_plan
from omnicodec.service.batch.records import Record
from omnicodec.service.batch.shards import write_entries
from omnicodec.service.batch.sources.base import Slice

SAMPLES: Final = 8
"""Shards that are begun."""

ITEMS: Final = 128
"""Items of all of them together, each shard by its share."""

COUNTED: Final = 64
"""Items of a slice that are read to tell how many it has."""

SECONDS: Final = 20.0
"""Time after which no more items are begun."""


@dataclass
class Estimate:
    """What a job has, as its plan tells, and what it would take, as `sampled` items tell.

    `sources` has "location", "kind", "slices", "items" (None where only reading tells) and "nbytes"
    of each source. `items`, `rejects`, `tokens`, `nbytes` (of the output) and `seconds` are
    estimates.
    """

    shards: int
    sources: list[dict[str, Any]] = field(default_factory=list)
    sampled: int = 0
    items: float = 0.0
    rejects: float = 0.0
    tokens: float = 0.0
    nbytes: float = 0.0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        found = asdict(self)
        for name in ("items", "rejects", "tokens", "nbytes"):
            found[name] = round(found[name])
        return {**found, "seconds": round(self.seconds, 1)}


def estimate(job: Job, vocabulary: Vocabulary, *, workers: int = 0) -> Estimate:
    """Return what a job would take; raises what planning it raises, and what its codecs do.

    `workers` are those that there would be; by default one a core, or one for a GPU.
    """
    workers = workers or (thread_count() if job.device == "cpu" else 1)
    with tempfile.TemporaryDirectory(prefix="omnicodec-") as name:
        folder = Path(name)
        write_plan(job, folder / "plan.jsonl")
        plan = Plan(folder / "plan.jsonl")
        found = Estimate(len(plan))
        for spec, total in zip(plan.specs(job), plan.sources, strict=True):
            items = None if total.unknown else total.items
            facts = {"location": spec.location, "kind": spec.kind, "slices": total.slices}
            found.sources.append({**facts, "items": items, "nbytes": total.nbytes})
        if len(plan) < SAMPLES:  # smaller shards, so that the sample is of more places
            items = math.ceil((plan.items or job.shard_items) / SAMPLES)
            size = plan.nbytes // SAMPLES if plan.items is None else plan.nbytes
            job = replace(job, shard_items=items, shard_bytes=max(1, size))
            write_plan(job, folder / "plan.jsonl")
            plan = Plan(folder / "plan.jsonl")
        _Sampler(job, vocabulary, plan, folder).add(found)
        found.seconds /= min(workers, max(1, found.shards))
        return found


class _Sampler:
    """Begins shards; not for much longer than `SECONDS` in all."""

    def __init__(self, job: Job, vocabulary: Vocabulary, plan: Plan, folder: Path) -> None:
        self._job, self._vocabulary, self._plan, self._folder = job, vocabulary, plan, folder
        self._specs = plan.specs(job)
        count = min(SAMPLES, len(plan))
        self._shards = [(2 * n + 1) * len(plan) // (2 * count) for n in range(count)]

    def add(self, found: Estimate) -> None:
        """Add what all shards would take."""
        counts = self._warm_up()
        whole = sum(counts) * len(self._plan) / len(self._shards)
        if self._plan.items is not None:
            whole = self._plan.items
        began = time.monotonic()
        record, size = self._write(self._sample(counts, began + SECONDS))
        seconds = time.monotonic() - began
        factor = whole / record.items
        found.sampled, found.items = record.items, whole
        found.rejects, found.tokens = factor * record.rejects, factor * record.tokens
        found.nbytes, found.seconds = factor * size, factor * seconds

    def _warm_up(self) -> list[float]:
        """Have codecs loaded that are needed; return how many items each of the shards has."""
        warm: set[str] = set()
        cold: list[Item | Reject] = []
        counts = []
        for shard in self._shards:
            first = list(islice(self._entries(shard), 1))
            counts.append(sum(map(self._count, self._plan[shard])))
            if found := {part.modality for part in _parts(first)} - warm:
                warm |= found
                cold += first
        self._write(iter(cold))
        return counts

    def _count(self, piece: Slice) -> float:
        """Return how many items a slice has; where nobody has counted, its first ones tell."""
        if piece.items is not None:
            return piece.items
        count, read, last = 0, 0, ""
        for entry in islice(self._read(piece), COUNTED):
            count, last = count + 1, entry.position
            read += sum(_size(part.data) for part in _parts([entry]))
        if count < COUNTED:
            return max(count, 1)
        if self._specs[piece.source].kind == "jsonl":  # "FILE@OFFSET", and files may be elsewhere
            read = int(last.rpartition("@")[2]) - piece.start
        return max(count, count * piece.nbytes / max(read, 1))

    def _sample(self, counts: list[float], ends: float) -> Iterator[Item | Reject]:
        """Yield items of all shards in turn, at least one."""
        share = ITEMS / sum(counts)
        left = [
            islice(self._entries(shard), max(1, round(share * count)))
            for shard, count in zip(self._shards, counts, strict=True)
        ]
        begun = False
        while left:
            for entries in tuple(left):
                if begun and time.monotonic() >= ends:
                    return
                if (entry := next(entries, None)) is None:
                    left.remove(entries)
                else:
                    begun = True
                    yield entry

    def _entries(self, shard: int) -> Iterator[Item | Reject]:
        for piece in self._plan[shard]:
            yield from self._read(piece)

    def _read(self, piece: Slice) -> Iterator[Item | Reject]:
        from omnicodec.service.batch.sources import open_source

        source = open_source(self._specs[piece.source], piece.source)
        source.max_bytes = self._job.limits.nbytes
        return source.read(piece)

    def _write(self, entries: Iterator[Item | Reject]) -> tuple[Record, int]:
        """Return the record of these items, and the bytes of their files."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            record, _ = write_entries(
                self._job,
                self._vocabulary,
                entries,
                Path(name),
                0,
                tell=lambda _: None,
                device=self._job.device,
                threads=1,
            )
            size = sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())
        return record, size


def _parts(entries: list[Item | Reject]) -> list[Any]:
    return [part for entry in entries if isinstance(entry, Item) for part in entry.parts]


def _size(data: bytes | Path) -> int:
    try:
        return len(data) if isinstance(data, bytes) else data.stat().st_size
    except OSError:
        return 0
