"""What ModelStatistics tells: how often each model was asked, and where the time went."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from omnicodec.inference import inference_pb2 as oip
from omnicodec.service.server.calls import Call
from omnicodec.service.server.inference.models import Model
from omnicodec.service.server.metrics import Step

_NANOSECONDS: Final = 1_000_000_000

# The protocol's names for the steps of an item.
_STEPS: Final = {
    "queue": Step.QUEUE,
    "compute_input": Step.OPEN,
    "compute_infer": Step.COMPUTE,
    "compute_output": Step.SAVE,
}


@dataclass
class _Duration:
    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def message(self) -> oip.StatisticDuration:
        return oip.StatisticDuration(count=self.count, ns=round(self.seconds * _NANOSECONDS))


@dataclass
class _Counts:
    items: int = 0
    last: float = 0.0
    durations: dict[str, _Duration] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        self.durations.setdefault(name, _Duration()).add(seconds)


def seconds_at(call: Call) -> dict[Step, float]:
    """Return how long the items of a call were at each step until now."""
    return {step: span.seconds for step, span in list(call.steps.items())}


class Statistics:
    """Counts of all models since the server started; belongs to one event loop."""

    def __init__(self) -> None:
        self._counts: dict[str, _Counts] = {}

    def succeeded(
        self, model: Model, items: int, seconds: float, steps: Mapping[Step, float]
    ) -> None:
        """Count a request that was answered, with the seconds that its items were at each step."""
        counts = self._counts.setdefault(model.name, _Counts())
        counts.items += items
        counts.last = time.time()
        counts.add("success", seconds)
        for name, step in _STEPS.items():
            counts.add(name, steps.get(step, 0.0))

    def failed(self, model: Model, seconds: float) -> None:
        """Count a request that got an error."""
        self._counts.setdefault(model.name, _Counts()).add("fail", seconds)

    def message(self, model: Model) -> oip.ModelStatistics:
        """Return what was counted for a model."""
        counts = self._counts.get(model.name, _Counts())
        durations = {name: each.message() for name, each in counts.durations.items()}
        return oip.ModelStatistics(
            name=model.name,
            version=model.version,
            last_inference=round(counts.last * 1000),
            inference_count=counts.items,
            execution_count=counts.durations.get("success", _Duration()).count,
            inference_stats=oip.InferStatistics(**durations),
        )
