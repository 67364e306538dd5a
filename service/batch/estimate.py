"""What a job would take, judged by a sample; nothing is left of it.

Some shards, spread over the plan, are begun in this process, and each stands for those around it.
Estimates are of this machine, with codecs on all its cores or its first GPU.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.documents import Item, Reject
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.plan import Plan, write_plan
from omnicodec.service.batch.records import Record
from omnicodec.service.batch.shards import write_entries
from omnicodec.service.batch.sources.base import Slice

SAMPLES: Final = 8
"""Shards that are begun."""

ITEMS: Final = 16
"""Items of each; the first one is for warming up where there are more."""

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


def estimate(job: Job, vocabulary: Vocabulary, *, device: str = "auto") -> Estimate:
    """Return what a job would take; raises what planning it raises, and what its codecs do."""
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
            fine = max(1, (plan.items or job.shard_items) // (2 * SAMPLES))
            fine_bytes = max(1, plan.nbytes // (2 * SAMPLES))
            job = replace(job, shard_items=fine, shard_bytes=fine_bytes)
            write_plan(job, folder / "plan.jsonl")
            plan = Plan(folder / "plan.jsonl")
        sampler = _Sampler(job, vocabulary, plan, folder, device)
        count = min(SAMPLES, len(plan))
        for number in range(count):
            first, last = number * len(plan) // count, (number + 1) * len(plan) // count
            if number and sampler.is_over:  # what has been seen stands for the rest
                _stand(found, len(plan) / first)
                break
            sampler.add(found, (first + last) // 2, last - first)
        return found


def _stand(found: Estimate, factor: float) -> None:
    for name in ("items", "rejects", "tokens", "nbytes", "seconds"):
        setattr(found, name, getattr(found, name) * factor)


class _Sampler:
    """Begins shards; not for much longer than `SECONDS` in all."""

    def __init__(
        self, job: Job, vocabulary: Vocabulary, plan: Plan, folder: Path, device: str
    ) -> None:
        self._job, self._vocabulary, self._plan = job, vocabulary, plan
        self._folder, self._device = folder, device
        self._ends = time.monotonic() + SECONDS
        self._warm: set[str] = set()

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends

    def add(self, found: Estimate, shard: int, weight: int) -> None:
        """Begin a shard, and add what `weight` like it would take."""
        slices = self._plan[shard]
        entries = self._entries(slices)
        first = list(islice(entries, 1))
        if cold := {part.modality for part in _parts(first)} - self._warm:
            self._write(iter(first), shard)  # codecs are loaded, and that is not counted
            self._warm |= cold
        began = time.monotonic()
        record, size, read = self._write(chain(first, entries), shard)
        seconds = time.monotonic() - began
        if not record.items:
            return
        whole = _items(slices, read / record.items)
        factor = weight * whole / record.items
        found.sampled += record.items
        found.items += weight * whole
        found.rejects += factor * record.rejects
        found.tokens += factor * record.tokens
        found.nbytes += factor * size
        found.seconds += factor * seconds

    def _entries(self, slices: list[Slice]) -> Iterator[Item | Reject]:
        """Yield the first items of a shard, of each of its slices some; at least one."""
        from omnicodec.service.batch.sources import open_source

        specs = self._plan.specs(self._job)
        each = max(1, ITEMS // len(slices))
        for number, piece in enumerate(slices[:: max(1, len(slices) // ITEMS)]):
            source = open_source(specs[piece.source], piece.source)
            source.max_bytes = self._job.limits.nbytes
            for index, entry in enumerate(islice(source.read(piece), each)):
                if (number or index) and self.is_over:
                    return
                yield entry

    def _write(self, entries: Iterator[Item | Reject], shard: int) -> tuple[Record, int, int]:
        """Return the record of these items, bytes of their files, and bytes of their sources."""
        read = 0

        def counted() -> Iterator[Item | Reject]:
            nonlocal read
            for entry in entries:
                read += sum(_size(part.data) for part in _parts([entry]))
                yield entry

        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            record, _ = write_entries(
                self._job,
                self._vocabulary,
                counted(),
                Path(name),
                shard,
                tell=lambda _: None,
                device=self._device,
            )
            size = sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())
        return record, size, read


def _parts(entries: list[Item | Reject]) -> list[Any]:
    return [part for entry in entries if isinstance(entry, Item) for part in entry.parts]


def _size(data: bytes | Path) -> int:
    try:
        return len(data) if isinstance(data, bytes) else data.stat().st_size
    except OSError:
        return 0


def _items(slices: list[Slice], nbytes: float) -> float:
    """Return how many items slices have, if each is of so many bytes where nobody has counted."""
    return sum(
        piece.items if piece.items is not None else max(1.0, piece.nbytes / max(nbytes, 1.0))
        for piece in slices
    )
