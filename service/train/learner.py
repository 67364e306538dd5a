"""One step of training, the same for every network: Muon and AdamW, averaged weights, resuming."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnicodec.models import weights
from omnicodec.service.train.run import Run, optimizer_tensors, restore_optimizer

N = TypeVar("N", bound=nn.Module)


class Learner(Generic[N]):
    """A network in training, and the average of its weights that is kept in the end.

    Matrices between hidden layers are Muon's (K. Jordan et al., 2024), everything else is
    AdamW's. `rates` are their largest learning rates, `decays` their weight decays; both
    follow the run's schedule. `slower` may give factors below 1 on the rates of AdamW's.
    Parameters without gradients stay as they are.
    `average` is how much of the average a step keeps. `beside` are modules, and
    `beside_optimizers` optimizers, that checkpoints hold as well, by name.
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
        slower: Callable[[nn.Parameter], float] | None = None,
        beside: Mapping[str, nn.Module] | None = None,
        beside_optimizers: Mapping[str, torch.optim.Optimizer] | None = None,
    ) -> None:
        self.network = network
        self.average: N = copy.deepcopy(network).requires_grad_(False)
        self._run, self._warmup, self._keep, self._clip = run, warmup, average, clip
        self._modules: dict[str, nn.Module] = {
            "network": network,
            "average": self.average,
            **(beside or {}),
        }
        matrices = list(hidden)
        chosen = {id(parameter) for parameter in matrices}
        others = [p for p in network.parameters() if id(p) not in chosen and p.requires_grad]
        muon = torch.optim.Muon(
            matrices,
            lr=rates[0],
            weight_decay=decays[0],
            ns_steps=newton_schulz_steps,
            adjust_lr_fn="match_rms_adamw",
        )
        groups: list[dict[str, Any]] = [{"params": others, "lr": rates[1]}]
        if slower is not None:
            groups = [{"params": [p], "lr": rates[1] * slower(p)} for p in others]
        adamw = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=decays[1])
        self._optimizers: tuple[torch.optim.Optimizer, ...] = (muon, adamw)
        self._kept_optimizers = {
            "optimizer0": muon, "optimizer1": adamw, **(beside_optimizers or {})
        }  # fmt: skip
        # Loading an optimizer's state makes new groups, so the rates are kept by themselves.
        self._rates = [[g["lr"] for g in each.param_groups] for each in self._optimizers]

    def step(self, loss: Tensor) -> float:
        """Go down the gradient of `loss`; return the factor on the learning rates."""
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        factor = self._run.rate(self._warmup)
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
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
        parts = {name: module.state_dict() for name, module in self._modules.items()}
        for name, optimizer in self._kept_optimizers.items():
            parts[name] = optimizer_tensors(optimizer)
        self._run.save(parts, config)

    def resume(self, config: Mapping[str, Any]) -> None:
        """Go on from the run's checkpoint, if there is one; raises what `Run.resume` does."""
        parts = self._run.resume(config)
        if parts is None:
            return
        for name, module in self._modules.items():
            module.load_state_dict(parts[name])
        for name, optimizer in self._kept_optimizers.items():
            restore_optimizer(optimizer, parts.get(name, {}))

    def half(self) -> dict[str, NDArray[np.float16]]:
        """Return the averaged weights in half precision, in the order of safetensors.

        It writes memory as it lies, so channels-last arrays must be put in order.
        """
        return {k: np.ascontiguousarray(v, np.float16) for k, v in self._averaged().items()}

    def in_7_bits(self, keep: Container[str] = ()) -> dict[str, NDArray[Any]]:
        """Return the averaged weights in 7 bits but for those named in `keep`.

        `weights.quantize_rows` says how; they are read back by `weights.dequantize`.
        """
        return weights.quantize_rows(self._averaged(), keep=keep, bits=7)

    def _averaged(self) -> dict[str, NDArray[np.float32]]:
        return {k: v.float().cpu().numpy() for k, v in self.average.state_dict().items()}
