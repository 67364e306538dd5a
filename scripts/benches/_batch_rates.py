"""How fast an engine is once it runs: its start and its end are not counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.engines.base import Committed, Engine, Event, Progress
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.manifest import Manifest
from omnicodec.service.batch.run import tokenize
from omnicodec.service.evaluate.table import number


@dataclass(eq=False)
class Timed(Engine):
    """An engine, and when each of its shards was written, in seconds since it was begun."""

    engine: Engine
    began: float = 0.0
    committed: list[tuple[float, int]] = field(default_factory=list)
    items: dict[int, int] = field(default_factory=dict)

    def run(self, folder: Path, shards: Sequence[int]) -> Iterator[Event]:
        self.began = time.perf_counter()
        self.engine.inherited = self.inherited
        for event in self.engine.run(folder, shards):
            if isinstance(event, Progress):
                self.items[event.shard] = event.items
            if isinstance(event, Committed):
                self.committed.append((time.perf_counter() - self.began, event.shard))
            yield event

    def steady(self, workers: int) -> tuple[float, list[int]]:
        """Return the seconds, and the shards, between the first and the last that are counted.

        The first two shards of each worker are not: they hold its start, and the opening of its
        codec. Nor are the last ones, when some workers have nothing left to do.
        """
        first, last = 2 * workers - 1, len(self.committed) - workers
        if last - first < workers:
            raise InvalidInput(
                f"{len(self.committed)} shards are too few to time {workers} workers"
            )
        counted = self.committed[first : last + 1]
        return counted[-1][0] - counted[0][0], [shard for _, shard in counted[1:]]


@dataclass(frozen=True)
class Speed:
    """Items and tokens a second of a run, without its start, and the seconds until it ran."""

    items: float
    tokens: float
    start: float
    manifest: Manifest


def speed(job: Job, vocabulary: Vocabulary, out: Path, engine: Engine, workers: int) -> Speed:
    """Make a data set and return how fast that went; nothing may be rejected."""
    timed = Timed(engine)
    manifest = tokenize(job, vocabulary, out, engine=timed)
    if manifest.rejects:
        raise InvalidInput(f"{manifest.rejects} items were rejected: {dict(manifest.reasons)}")
    seconds, shards = timed.steady(workers)
    share = len(shards) / len(timed.committed)  # all shards have as many items
    return Speed(
        manifest.items * share / seconds,
        manifest.tokens * share / seconds,
        timed.committed[0][0],
        manifest,
    )


@dataclass
class Rounds:
    """Rates of several ways to do the same work, measured in turn, round by round."""

    rates: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, ways: Mapping[str, Callable[[], float]], rounds: int) -> None:
        """Ask each way for its rate, `rounds` times; who is first changes every round."""
        for index in range(rounds):
            for name in sorted(ways, key=list(ways).index, reverse=index % 2 == 1):
                self.rates.setdefault(name, []).append(ways[name]())

    def ratio(self, first: str, second: str) -> dict[str, float]:
        """Return how many times as fast the first way is as the second, over the rounds."""
        both = zip(self.rates[first], self.rates[second], strict=True)
        ratios = sorted(a / b for a, b in both)
        return {"min": ratios[0], "median": median(ratios), "max": ratios[-1]}

    def to_dict(self, ratios: Sequence[tuple[str, str]]) -> dict[str, Any]:
        return {
            "per_second": {name: median(rates) for name, rates in self.rates.items()},
            "rounds": self.rates,
            "ratios": {f"{a} / {b}": self.ratio(a, b) for a, b in ratios},
        }


def ratio_rows(title: str, figures: Mapping[str, Any]) -> list[list[str]]:
    """Return lines of a table: each ratio, with the rates that it is of."""
    rows = []
    for name, ratio in figures["ratios"].items():
        first, second = (figures["per_second"][way] for way in name.split(" / "))
        rows.append([
            title, name, number(first), number(second),
            *(number(ratio[key]) for key in ("min", "median", "max")),
        ])  # fmt: skip
    return rows


HEADER = ["data", "what", "first, items/s", "second, items/s", "ratio min", "median", "max"]
