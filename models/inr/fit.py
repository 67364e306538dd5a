"""Fitting one picture: its latents, and what its networks differ by, down the cost of its file."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.models.inr.image import ImageInr, rate_of, weight_of
from omnicodec.models.inr.pyramid import LARGEST, SCALES
from omnicodec.models.inr.rounding import noisy, straight_through
from omnicodec.models.inr.updates import (
    CHOICES,
    MIDDLE_CHOICE,
    Update,
    changed,
    fill,
    flat,
    groups,
    quantized,
)

LATENT_RATE: Final = 0.05
WEIGHT_RATE: Final = 2e-3

SHRINKING: Final = 0.7
"""How far a step brings weights back to the shared ones, as a share of how far they may go."""

SOFT: Final = 0.85
"""The share of a fit in which latents are soft and noisy; then they are rounded."""

TEMPERATURES: Final = (0.3, 0.1)
SHARPNESSES: Final = (1.0, 2.0)
HARD_TEMPERATURE: Final = 0.15

LOOKS: Final = 20
"""Steps after which the latents are rounded, to see what they really cost."""


@dataclass(frozen=True)
class Fitted:
    """What a file holds of a picture: rounded scales, coarse first, and updates of each group."""

    scales: list[NDArray[np.int32]]
    updates: list[Update | None]
    bits: float
    psnr: float


class PictureFit:
    """One picture being fitted; `step` and `look` until enough, then `finish`.

    `pixels` is `(1, 3, H, W)` in 0 to 1, padded as the pyramid asks; the error of what is beyond
    `height` and `width` does not count. Weights begin with the updates of `begin`, those of a
    picture that is alike.
    """

    def __init__(
        self,
        shared: ImageInr,
        pixels: Tensor,
        height: int,
        width: int,
        quality: int,
        steps: int,
        *,
        begin: Sequence[Update | None] = (),
    ) -> None:
        self.steps, self.done = steps, 0
        self._shared, self._network = shared, copy.deepcopy(shared).requires_grad_(False)
        self._pixels, self._size = pixels, (height, width)
        self._area = height * width
        self._weight = weight_of(quality)
        self._rate = rate_of(self._weight)
        self._bases = [flat(group) for group in groups(self._network)]
        if begin:
            for group, base, update in zip(groups(self._network), self._bases, begin, strict=True):
                fill(group, changed(base, update))
        with torch.no_grad():
            first = shared.analyse(pixels, self._rate)
        limit = float(LARGEST)
        self._scales = [y.clamp(-limit, limit).clone().requires_grad_() for y in first]
        self._best: list[Tensor] = []
        self.cost = self.bits = math.inf
        self.psnr = 0.0
        if steps:
            parameters = [p.requires_grad_() for group in groups(self._network) for p in group]
            self._optimizer = torch.optim.Adam(
                [{"params": self._scales}, {"params": parameters}], LATENT_RATE, betas=(0.9, 0.99)
            )
        self.look()

    def step(self) -> None:
        """Go one step down the gradient."""
        share = self.done / self.steps
        fall = 0.51 + 0.49 * math.cos(math.pi * share)
        for group, rate in zip(
            self._optimizer.param_groups, (LATENT_RATE, WEIGHT_RATE), strict=True
        ):
            group["lr"] = rate * fall
        if share < SOFT:
            along = share / SOFT
            how = _between(TEMPERATURES, along), _between(SHARPNESSES, along)
            # Of its own for each step: the same picture is the same file, resumed or not.
            noise = torch.Generator(self._pixels.device).manual_seed(self.done)
            scales = [noisy(y, *how, noise) for y in self._scales]
        else:
            scales = [straight_through(y, HARD_TEMPERATURE) for y in self._scales]
        bits, error = self._cost(self._network, scales)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(bits / self._area + error / self._weight)
        self._optimizer.step()
        with torch.no_grad():
            for y in self._scales:
                y.clamp_(-LARGEST, LARGEST)
            self._shrink(SHRINKING * WEIGHT_RATE * fall)
        self.done += 1

    def _shrink(self, by: float) -> None:
        """Bring the weights closer to the shared ones, so that few differ: those that pay."""
        for group, base in zip(groups(self._network), self._bases, strict=True):
            change = flat(group) - base
            fill(group, base + change.sign() * (change.abs() - by).clamp(min=0))

    @torch.no_grad()
    def look(self) -> None:
        """See what the latents cost when they are rounded, and keep them if that is least."""
        rounded = [y.round() for y in self._scales]
        bits, error = (float(x) for x in self._cost(self._network, rounded))
        cost = bits / self._area + error / self._weight
        if cost < self.cost:
            self.cost, self.bits, self.psnr = cost, bits, -10 * math.log10(max(error, 1e-10))
            self._best = [*rounded, *(flat(group) for group in groups(self._network))]

    @torch.no_grad()
    def preview(self) -> Tensor:
        """Return the pixels of the best so far, `(1, 3, height, width)` in 0 to 1."""
        network = self._with([*self._best[SCALES:]])
        return self._cropped(network.render(self._best[:SCALES], self._rate)).clamp(0, 1)

    @torch.no_grad()
    def finish(self) -> Fitted:
        """Return the best so far, with as much of its networks' updates as pays."""
        scales, ends = self._best[:SCALES], self._best[SCALES:]
        pairs = list(zip(self._bases, ends, strict=True))
        # Groups were fitted together, so all are there from the beginning.
        kept: list[Update | None] = [
            None if torch.equal(base, end) else quantized(end - base, MIDDLE_CHOICE)
            for base, end in pairs
        ]
        totals = self._totals(kept, scales)
        for group, (base, end) in enumerate(pairs):
            if kept[group] is None:
                continue
            for fraction in (None, *CHOICES):
                tried = list(kept)
                tried[group] = None if fraction is None else quantized(end - base, fraction)
                found = self._totals(tried, scales)
                if found < totals:
                    kept, totals = tried, found
        _, bits, error = totals
        integers = [y[0].to(torch.int32).cpu().numpy() for y in scales]
        return Fitted(integers, kept, bits, -10 * math.log10(max(error, 1e-10)))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` goes on from."""
        tensors = {f"best.{k}": x for k, x in enumerate(self._best)}
        tensors |= {f"scale.{k}": y for k, y in enumerate(self._scales)}
        tensors |= {f"group.{k}": flat(group) for k, group in enumerate(groups(self._network))}
        for k, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{k}.{name}": value for name, value in moments.items()}
        arrays = {name: x.detach().cpu().clone().numpy() for name, x in tensors.items()}
        arrays["facts"] = np.array([self.done, self.cost, self.bits, self.psnr])
        return arrays

    @torch.no_grad()
    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        tensors = {k: torch.from_numpy(np.array(v)).to(self._pixels) for k, v in arrays.items()}
        done, self.cost, self.bits, self.psnr = (float(x) for x in arrays["facts"])
        self.done = int(done)
        self._best = [tensors[f"best.{k}"] for k in range(len(self._best))]
        for k, y in enumerate(self._scales):
            y.copy_(tensors[f"scale.{k}"])
        for k, group in enumerate(groups(self._network)):
            fill(group, tensors[f"group.{k}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("adam."):
                _, which, key = name.split(".")
                moments.setdefault(int(which), {})[key] = value
        self._optimizer.load_state_dict(
            {"state": moments, "param_groups": self._optimizer.state_dict()["param_groups"]}
        )

    def _cost(self, network: ImageInr, scales: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return bits and the mean squared error."""
        bits = network.bits(scales, self._rate).sum()
        with torch.autocast(self._pixels.device.type, torch.bfloat16, torch.is_grad_enabled()):
            drawn = network.render(scales, self._rate)
        difference = self._cropped(drawn.float()) - self._cropped(self._pixels)
        return bits, difference.square().mean()

    def _cropped(self, pixels: Tensor) -> Tensor:
        return pixels[:, :, : self._size[0], : self._size[1]]

    def _totals(
        self, updates: list[Update | None], scales: list[Tensor]
    ) -> tuple[float, float, float]:
        """Return cost, bits and error with these updates."""
        weights = [changed(b, u) for b, u in zip(self._bases, updates, strict=True)]
        bits, error = (float(x) for x in self._cost(self._with(weights), scales))
        bits += sum(update.bits for update in updates if update)
        return bits / self._area + error / self._weight, bits, error

    def _with(self, weights: list[Tensor]) -> ImageInr:
        """Return the shared networks with other weights in the groups."""
        network = copy.deepcopy(self._shared)
        for group, values in zip(groups(network), weights, strict=True):
            fill(group, values)
        return network


def _between(ends: tuple[float, float], along: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * along
