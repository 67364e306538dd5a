"""One step of training, the same for every network: Muon and AdamW, averaged weights, resuming."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from omnicodec.service.train.run import Run, optimizer_tensors, restore_optimizer

N = TypeVar("N", bound=nn.Module)


class Learner(Generic[N]):
    """A network in training, and the average of its weights that is kept in the end.

    Matrices between hidden layers are Muon's (K. Jordan et al., 2024), everything else is
    AdamW's. `rates` are their largest learning rates, `decays` their weight decays; both
    follow the run's schedule. `average` is how much of the average a step keeps.
    """

    def __init__(
        self,
        network: N,
        hidden: Iterable[nn.Parameter],
        run: Run,
        *,
        rates: tuple[float, float],
        decays: tuple[float, float],
        warmup: int,
        average: float,
        clip: float,
        newton_schulz_steps: int,
    ) -> None:
        self.network = network
        self.average: N = copy.deepcopy(network).requires_grad_(False)
        self._run, self._rates, self._warmup = run, rates, warmup
        self._keep, self._clip = average, clip
        matrices = list(hidden)
        chosen = {id(parameter) for parameter in matrices}
        others = [p for p in network.parameters() if id(p) not in chosen]
        muon = torch.optim.Muon(
            matrices,
            lr=rates[0],
            weight_decay=decays[0],
            ns_steps=newton_schulz_steps,
            adjust_lr_fn="match_rms_adamw",
        )
        adamw = torch.optim.AdamW(others, lr=rates[1], betas=(0.9, 0.95), weight_decay=decays[1])
        self._optimizers: tuple[torch.optim.Optimizer, ...] = (muon, adamw)

    def step(self, loss: Tensor) -> float:
        """Go down the gradient of `loss`; return the factor on the learning rates."""
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        factor = self._run.rate(self._warmup)
        for optimizer, rate in zip(self._optimizers, self._rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
            optimizer.step()
        self._average_weights()
        self._run.step += 1
        return factor

    @torch.no_grad()
    def _average_weights(self) -> None:
        keep = min(self._keep, (1 + self._run.step) / (10 + self._run.step))
        averaged: list[Tensor] = list(self.average.parameters())
        trained: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(averaged, trained, 1 - keep)
        for kept, buffer in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(buffer)

    def save(self, config: Mapping[str, Any]) -> None:
        """Write the run's checkpoint."""
        parts = {"network": self.network.state_dict(), "average": self.average.state_dict()}
        for i, optimizer in enumerate(self._optimizers):
            parts[f"optimizer{i}"] = optimizer_tensors(optimizer)
        self._run.save(parts, config)

    def resume(self, config: Mapping[str, Any]) -> None:
        """Go on from the run's checkpoint, if there is one; raises what `Run.resume` does."""
        parts = self._run.resume(config)
        if parts is None:
            return
        self.network.load_state_dict(parts["network"])
        self.average.load_state_dict(parts["average"])
        for i, optimizer in enumerate(self._optimizers):
            restore_optimizer(optimizer, parts.get(f"optimizer{i}", {}))
