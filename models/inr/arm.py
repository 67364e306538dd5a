"""The auto-regressive model of latents, as it is fitted: floats, with gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.inr.arm_kernels import (
    CLASSES,
    HIDDEN,
    INPUTS,
    LEAST,
    NEIGHBOURS,
    RATIO,
    REACH,
    Weights,
    bits_and_gradient,
)
from omnicodec.models.inr.bands import side_by_side
from omnicodec.models.inr.exact_arm import FRACTIONS, Ints, limited
from omnicodec.models.inr.pyramid import planes, sources

_START: Final = 0.45
"""Where networks begin among the classes: at scales of about 3 steps."""

_FRACTIONS: Final = {**FRACTIONS, "first_rate": FRACTIONS["first_bias"]}

_BAND: Final = 1 << 15
"""Latents that are worth a thread of their own."""


class Arms(nn.Module):
    """The models of the planes of one scale: bits of their latents, given those before them.

    `rate` is the item's place between few bits and many, 0 in the middle; it moves the first
    layer's biases.
    """

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(planes, HIDDEN, INPUTS) * 0.15)
        self.first_bias = nn.Parameter(torch.rand(planes, HIDDEN) * 0.1)
        self.first_rate = nn.Parameter(torch.zeros(planes, HIDDEN))
        self.second = nn.Parameter(torch.randn(planes, HIDDEN, HIDDEN) * 0.2)
        self.second_bias = nn.Parameter(torch.rand(planes, HIDDEN) * 0.1)
        self.last = nn.Parameter(torch.randn(planes, 2, HIDDEN + INPUTS) * 0.02)
        self.last_bias = nn.Parameter(torch.tensor([0.0, _START * CLASSES]).repeat(planes, 1))

    def layers(self, rate: float) -> list[tuple[Tensor, ...]]:
        """Return each plane's layers at a rate, as `arm_kernels.Weights` has them."""
        first_bias = self.first_bias + rate * self.first_rate
        stacks = (
            self.first, first_bias, self.second, self.second_bias, self.last, self.last_bias
        )  # fmt: skip
        return list(zip(*(stack.unbind() for stack in stacks), strict=True))


def plane_bits(arms: Sequence[Arms], scales: list[Tensor], rate: float) -> Tensor:
    """Return the bits of each plane, `(planes,)`, of scales `(B, C, h, w)`, coarse first."""
    beyond = around(scales)
    latents = [scales[scale][:, channel] for scale, channel in planes(len(scales) - 1)]
    layers = [own for some in arms for own in some.layers(rate)]
    if latents[0].device.type != "cpu":
        found = zip(latents, beyond, layers, strict=True)
        return torch.stack([plain_bits(y, seen, own) for y, seen, own in found])
    bits: Tensor = _Bits.apply(*latents, *beyond, *chain(*layers))  # type: ignore[no-untyped-call]
    return bits


def around(scales: list[Tensor]) -> list[Tensor]:
    """Return what other planes tell of each plane's latents: `(B, AROUND, h, w)`.

    The first is a value, the others are the mean sizes of 3x3 around, divided by 8 instead of 9,
    which integers do alike.
    """
    sizes = [F.avg_pool2d(F.pad(y.abs(), (1, 1, 1, 1)), 3, 1) * (9 / 8) for y in scales]
    seen = [torch.stack([y, size]) for y, size in zip(scales, sizes, strict=True)]
    above = [F.interpolate(pair.flatten(0, 1), scale_factor=2).view(2, *pair.shape[1:3], *[
        2 * side for side in pair.shape[3:]
    ]) for pair in seen[1:-1]]  # fmt: skip
    found = []
    for plane in planes(len(scales) - 1):
        contexts = []
        for k, source in enumerate(sources(plane)):
            if source is None:
                contexts.append(torch.zeros_like(scales[plane.scale][:, 0]))
                continue
            there = seen[source.scale] if source.scale == plane.scale else above[source.scale - 1]
            contexts.append(there[min(k, 1), :, source.channel])
        found.append(torch.stack(contexts, 1))
    return found


def plain_bits(y: Tensor, beyond: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
    """Return what `plane_bits` does for a plane, in operations of torch, as GPUs need it."""
    height, width = y.shape[1:]
    wide = F.pad(y, (REACH, REACH, REACH, 0))
    known = [
        wide[:, REACH + r : REACH + r + height, REACH + c : REACH + c + width]
        for r, c in NEIGHBOURS.tolist()
    ]
    x = torch.cat([torch.stack(known, 1), beyond], 1).permute(0, 2, 3, 1)
    first, first_bias, second, second_bias, last, last_bias = layers
    hidden = F.relu(F.linear(F.relu(F.linear(x, first, first_bias)), second, second_bias))
    mean, which = F.linear(torch.cat([hidden, x], -1), last, last_bias).unbind(-1)
    return laplace_bits(y, mean, which).sum()


def laplace_bits(y: Tensor, mean: Tensor, which: Tensor) -> Tensor:
    """Return the bits of values in distributions of Laplace with these means and classes."""
    inverse = torch.exp(-math.log(LEAST) - math.log(RATIO) * which.clamp(0, CLASSES - 1))
    away = (y - mean).abs()
    near = away.clamp(max=0.5)
    share = 1 - 0.5 * (torch.exp((near - 0.5) * inverse) + torch.exp(-(near + 0.5) * inverse))
    beyond_half = (away - 0.5) * inverse - torch.log(-0.5 * torch.expm1(-inverse))
    return torch.where(away < 0.5, -torch.log(share), beyond_half) / math.log(2)


class _Bits(torch.autograd.Function):
    """The compiled pass over all planes, as a function with gradients of everything."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        fields = len(Weights._fields)
        count = len(inputs) // (2 + fields)
        arrays = [np.ascontiguousarray(x.detach().float().numpy()) for x in inputs]
        jobs, works = [], []
        for k in range(count):
            y, above = arrays[k], arrays[count + k]
            start = 2 * count + k * fields
            weights = Weights(*arrays[start : start + fields])
            work = _Plane(y, above, weights)
            works.append(work)
            jobs += [(work, *band) for band in _bands(*y.shape)]
        parts = side_by_side(_run, jobs)
        nats = dict.fromkeys(map(id, works), 0.0)
        for (work, *_), part in zip(jobs, parts, strict=True):
            nats[id(work)] += part
        gradients = [work.gradients() for work in works]
        ctx.gradients = [
            *(y for y, _, _ in gradients),
            *(above for _, above, _ in gradients),
            *chain(*(layers for _, _, layers in gradients)),
        ]
        return torch.tensor([nats[id(work)] / math.log(2) for work in works])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        fields = len(Weights._fields)
        count = len(ctx.gradients) // (2 + fields)
        scales = (grads[0] / math.log(2)).tolist()
        owners = [*range(count), *range(count), *(k for k in range(count) for _ in range(fields))]
        pairs = zip(owners, ctx.gradients, strict=True)
        return tuple(torch.from_numpy(g * np.float32(scales[k])) for k, g in pairs)


class _Plane:
    """One plane's arrays, and where its gradients add up."""

    def __init__(self, y: NDArray[Any], above: NDArray[Any], weights: Weights) -> None:
        batch, height, width = y.shape
        self.wide = np.zeros((batch, height + REACH, width + 2 * REACH), np.float32)
        self.wide[:, REACH:, REACH:-REACH] = y
        self.above, self.weights = above, weights
        self._g_above = np.empty_like(above)
        self._parts: list[tuple[int, int, NDArray[Any], Weights]] = []

    def run(self, item: int, start: int, rows: int) -> float:
        """Return the nats of some rows, and keep their gradients."""
        g_wide = np.zeros_like(self.wide[item])
        own = Weights(*(np.zeros_like(w) for w in self.weights))
        nats = bits_and_gradient(
            self.wide[item], self.above[item], self.weights, start, rows,
            g_wide, self._g_above[item], own,
        )  # fmt: skip
        self._parts.append((item, start, g_wide, own))
        return nats

    def gradients(self) -> tuple[NDArray[Any], NDArray[Any], list[NDArray[Any]]]:
        """Return those of the latents, of what is around them, and of the layers."""
        g_y = np.zeros_like(self.wide)
        parts = sorted(self._parts, key=lambda part: part[:2])  # so that sums never differ
        for item, _, g_wide, _ in parts:
            g_y[item] += g_wide
        layers = [np.sum([own[k] for *_, own in parts], 0) for k in range(len(self.weights))]
        return g_y[:, REACH:, REACH:-REACH], self._g_above, layers


def _run(job: tuple[_Plane, int, int, int]) -> float:
    return job[0].run(*job[1:])


def _bands(batch: int, height: int, width: int) -> list[tuple[int, int, int]]:
    """Return item, first row and rows of what is worked on side by side."""
    parts = min(torch.get_num_threads(), max(1, height * width // _BAND)) if batch == 1 else 1
    edges = [height * part // parts for part in range(parts + 1)]
    pairs = list(pairwise(edges))
    return [(item, start, stop - start) for item in range(batch) for start, stop in pairs]


def arm_integers(arms: Sequence[Arms]) -> dict[str, Ints]:
    """Return trained models of latents as the integers of `exact_arm`, `arms.SCALE.LAYER`."""
    found = {}
    for scale, some in enumerate(arms):
        for name, stack in some.state_dict().items():
            values = np.round(stack.double().cpu().numpy() * (1 << _FRACTIONS[name]))
            found[f"arms.{scale}.{name}"] = limited(name, values)
    return found


def floats_of(integers: Mapping[str, Ints]) -> dict[str, Tensor]:
    """Return the weights that integers stand for, by the same names."""
    return {
        name: torch.from_numpy(values / (1 << _FRACTIONS[name.rsplit(".", 1)[1]])).float()
        for name, values in integers.items()
    }
