"""The loop that the recipes of networks share: steps, the log, validation and checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from omnicodec.codecs.registry import resolve_device
from omnicodec.service.train.learner import Learner
from omnicodec.service.train.run import Run


class Training(ABC):
    """One sitting of a run. A recipe's own makes a `learner` and resumes it with its `config`."""

    learner: Learner[Any]
    config: Mapping[str, Any]

    log_every: ClassVar[int] = 100

    def __init__(self, run: Run) -> None:
        self.run = run
        self.device = torch.device(resolve_device(run.options.device))

    @property
    def seed(self) -> int:
        """The seed of this step: a resumed run sees what an undisturbed one would have seen."""
        return hash((self.run.options.seed, self.run.step))

    def go(self) -> Path:
        """Train until the run is over; return the folder of the exported weights."""
        run = self.run
        sums: dict[str, float] = {}
        seen = 0
        while run.progress < 1:
            loss, values = self._step()
            factor = self.learner.step(loss)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            seen += 1
            if run.step % self.log_every == 0:
                means = {name: total / seen for name, total in sums.items()}
                run.log(**self._shown(means), rate=factor)
                sums, seen = {}, 0
            if run.step % run.options.validate_every == 0:
                self._validate()
            if run.checkpoint_due():
                self.learner.save(self.config)
        self._validate()
        self.learner.save(self.config)
        return self.export()

    @abstractmethod
    def _step(self) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Return the loss of this step, and values whose means over steps are logged."""

    def _shown(self, means: dict[str, float]) -> dict[str, float]:
        """Return means as the log has them."""
        return means

    @abstractmethod
    def _validate(self) -> None:
        """Log how good the averaged weights are, if there are media to tell by."""

    @abstractmethod
    def export(self) -> Path:
        """Write the averaged weights as a weights folder, which is returned."""
