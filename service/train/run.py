"""A training run: its folder, its schedule, its log and its checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnicodec.codecs import CorruptStream, InvalidInput

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every recipe understands.

    The learning rate follows `steps`, or wall-clock time when `minutes` is given, so that a
    run fits the time there is; time spent before an interruption counts. `validation` is a
    path to media that are never trained on.
    """

    steps: int = 100_000
    minutes: float | None = None
    device: str = "auto"
    seed: int = 0
    validation: Path | None = None
    checkpoint_seconds: float = 120.0
    validate_every: int = 1000
    settings: Mapping[str, Any] | None = None


class Run:
    """Progress of one run in its folder: `log.jsonl`, `checkpoint.safetensors`, `export/`."""

    def __init__(self, folder: Path, options: RunOptions, report: Report) -> None:
        self.folder = folder
        self.options = options
        self.report = report
        self.step = 0
        self._spent = 0.0
        self._started = time.monotonic()
        self._saved = self._started

    @property
    def seconds(self) -> float:
        """Seconds of training, over all sittings."""
        return self._spent + time.monotonic() - self._started

    @property
    def progress(self) -> float:
        """How much of the run is done, 0 to 1."""
        if self.options.minutes is not None:
            return min(1.0, self.seconds / (60 * self.options.minutes))
        return min(1.0, self.step / self.options.steps)

    def rate(self, warmup: int) -> float:
        """Return the factor on the learning rate: linear warm-up, then a cosine to 0."""
        return min(1.0, (self.step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * self.progress))

    def log(self, **values: float) -> None:
        """Append a line to the log and show it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        row = {"step": self.step, "seconds": round(self.seconds, 1), **values}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.report("  ".join(f"{k} {v:.6g}" for k, v in row.items()))

    def checkpoint_due(self) -> bool:
        return time.monotonic() - self._saved > self.options.checkpoint_seconds

    def save(self, parts: Mapping[str, Mapping[str, Tensor]], config: Mapping[str, Any]) -> None:
        """Write the checkpoint so that an interruption leaves the old one or the new one."""
        tensors = {
            f"{part}/{name}": tensor.detach().contiguous()
            for part, named in parts.items()
            for name, tensor in named.items()
        }
        state = {"step": self.step, "seconds": self.seconds, "config": config}
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / "checkpoint.tmp"
        save_file(tensors, temporary, {"run": json.dumps(state, sort_keys=True)})
        temporary.replace(self.folder / "checkpoint.safetensors")
        self._saved = time.monotonic()

    def resume(self, config: Mapping[str, Any]) -> dict[str, dict[str, Tensor]] | None:
        """Return the parts of the checkpoint, or None where there is none yet.

        Raises `InvalidInput` when it was made with another configuration.
        """
        path = self.folder / "checkpoint.safetensors"
        if not path.exists():
            return None
        parts: dict[str, dict[str, Tensor]] = {}
        try:
            with safe_open(path, "pt") as file:
                state = json.loads(file.metadata()["run"])
                for key in file.keys():  # noqa: SIM118 (not a dict)
                    part, name = key.split("/", 1)
                    parts.setdefault(part, {})[name] = file.get_tensor(key)
        except (SafetensorError, KeyError, ValueError) as e:
            raise CorruptStream(f"the checkpoint in {str(self.folder)!r} is damaged: {e}") from e
        if state["config"] != json.loads(json.dumps(config)):
            raise InvalidInput(
                f"the run in {str(self.folder)!r} was started with another configuration; "
                "choose another folder, or the same settings"
            )
        self.step = int(state["step"])
        self._spent = float(state["seconds"])
        self._started = time.monotonic()
        self.report(f"resuming at step {self.step}, after {self._spent:.0f} s")
        return parts


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's state as named tensors, for `Run.save`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, entry in state.items()
        for key, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer the state that `optimizer_tensors` took from another."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
