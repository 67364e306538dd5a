"""Two ways to do the same work, timed in turn: a speed means little alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from omnicodec.service.evaluate.measure import timed
from omnicodec.service.evaluate.table import number


@dataclass(frozen=True)
class Pairs:
    """The seconds that two ways to do the same work took, run in turn.

    `work` is the number of items, or of other units, of each run. Ratios are how many times as
    fast the first way is as the second, round by round.
    """

    work: float
    names: tuple[str, str]
    first: tuple[float, ...]
    second: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        ratios = sorted(b / a for a, b in zip(self.first, self.second, strict=True))
        both = (self.first, self.second)
        return {
            "per_second": {n: self.work / median(s) for n, s in zip(self.names, both, strict=True)},
            "ratio": {"min": ratios[0], "median": median(ratios), "max": ratios[-1]},
            "seconds": dict(zip(self.names, both, strict=True)),
            "work": self.work,
        }

    def row(self, title: str) -> list[str]:
        figures = self.to_dict()
        values = [*figures["per_second"].values(), *figures["ratio"].values()]
        return [title, *map(number, values)]


def alternate(steps: Mapping[str, Callable[[], object]], *, work: float, rounds: int) -> Pairs:
    """Time two steps, in turn, after one warm-up each; who is first changes every round."""
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds):
        for name in sorted(steps, key=list(steps).index, reverse=index % 2 == 1):
            seconds[name].append(timed(steps[name])[1])
    first, second = seconds
    return Pairs(work, (first, second), tuple(seconds[first]), tuple(seconds[second]))
