"""The networks of the exact prior of `image/rate`, as they are trained.

Each group of channels has a network of floats that behave like the integers to come (8-bit
weights and activations): what is known around a position to the mean and the scale of each of
the group's latents there. Scales are classes, whose logarithms are evenly spaced. The networks
begin as the float model that the transform was trained against, `context.ContextModel`.

After Minnen, Ballé and Toderici, "Joint Autoregressive and Hierarchical Priors" (2018), Minnen
and Singh, "Channel-wise Autoregressive Entropy Models" (2020), and He et al., "Checkerboard
Context Model" (2021): earlier channels take the place of a hyperprior, so that no other
network and no side information are needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from omnicodec.models.exact import qat
from omnicodec.models.exact.qat.fake import quantize, quantized_relu
from omnicodec.models.exact.qat.layers import accumulate
from omnicodec.models.image.rate_contexts import FIRST, FIRST_INPUTS, FRACTION, group_inputs

BRANCH: Final = 8
"""Fractional bits of a residual's branch, 16 bits."""

OUT: Final = 6
"""Fractional bits of a network's results, 16 bits: means in steps, and classes of scales."""

SCALES: Final = 40
"""Classes of scales."""

LEAST: Final = 0.06
MOST: Final = 400.0
"""The scales of the first and of the last class, in steps of the quantizer."""

RATIO: Final = (MOST / LEAST) ** (1 / (SCALES - 1))
"""Of the scales of one class and the one before."""


@dataclass(frozen=True, kw_only=True)
class RatePriorConfig:
    """Groups of channels, cumulative, and the sizes of their networks.

    The first group has 6 channels. A network is `hidden` wide, and `expanded` in its second
    hidden layer, which is inside of a residual but for the first group's.
    """

    groups: tuple[int, ...] = (FIRST, 32, 96, 256)
    hidden: tuple[int, ...] = (48, 128, 192, 256)
    expanded: tuple[int, ...] = (48, 256, 384, 512)

    def __post_init__(self) -> None:
        sizes = {len(self.groups), len(self.hidden), len(self.expanded)}
        if self.groups[:1] != (FIRST,) or list(self.groups) != sorted(set(self.groups)):
            raise ValueError(f"groups of channels grow from {FIRST} on, not {self.groups}")
        if len(sizes) != 1 or min(*self.hidden, *self.expanded) < 1:
            raise ValueError("each group has a network")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        return cls(**{k: tuple(map(int, v)) for k, v in values.items() if k in known})

    def to_dict(self) -> dict[str, list[int]]:
        return {name: list(value) for name, value in asdict(self).items()}

    @property
    def channels(self) -> int:
        return self.groups[-1]

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield each group's first channel and the one behind its last."""
        return zip((0, *self.groups), self.groups, strict=False)

    def inputs(self, group: int) -> int:
        """Return how many inputs the network of a group has."""
        if group == 0:
            return FIRST_INPUTS
        known, stop = self.groups[group - 1], self.groups[group]
        return group_inputs(known, stop - known)


class GroupNet(nn.Module):
    """The network of one group; inputs are integers in 1/16, as `rate_contexts` makes them.

    The first group's has two hidden layers (`expanded` wide, the second), the others' one and a
    residual.
    """

    def __init__(
        self, inputs: int, hidden: int, expanded: int, channels: int, *, first: bool
    ) -> None:
        super().__init__()
        self.channels = channels
        self.enter = qat.Linear(inputs, hidden, 8, FRACTION)
        self.expand = qat.Linear(hidden, expanded, 8, FRACTION)
        self.project = None if first else qat.Linear(expanded, hidden, 16, BRANCH)
        self.out = qat.Linear(expanded if first else hidden, 2 * channels, 16, OUT)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is added to means, in steps, and classes of scales: `(B, channels)` each.

        `x` is float `(B, inputs)`, the inputs divided by 16.
        """
        hidden = quantized_relu(_sums(self.enter, x), FRACTION)
        inner = quantized_relu(_sums(self.expand, hidden), FRACTION)
        if self.project is not None:
            branch = self._rounded(_sums(self.project, inner), BRANCH)
            inner = quantize(hidden + branch, FRACTION, 8)
        out = self._rounded(_sums(self.out, inner), OUT)
        return out[:, : self.channels], out[:, self.channels :]

    def _rounded(self, x: Tensor, fraction: int) -> Tensor:
        # Steps that small do not matter in training.
        return x if self.training else quantize(x, fraction, 16)

    def layers(self) -> dict[str, qat.Linear]:
        """Return the layers by name, in order."""
        return {name: m for name, m in self.named_children() if isinstance(m, qat.Linear)}

    @torch.no_grad()
    def tensors(self) -> dict[str, Tensor]:
        """Return the integers: int8 weights `(outputs, inputs)`, int32 biases, int8 shifts."""
        found = {}
        for name, twin in self.layers().items():
            layer = twin.export(FRACTION)
            for part in ("weight", "bias", "shift"):
                found[f"{name}.{part}"] = getattr(layer, part).clone().contiguous()
        return found


class RatePriorNet(nn.Module):
    """The networks of all groups; `groups[g]` is a `GroupNet`."""

    def __init__(self, config: RatePriorConfig) -> None:
        super().__init__()
        self.config = config
        self.groups = nn.ModuleList(
            GroupNet(config.inputs(g), hidden, expanded, stop - start, first=g == 0)
            for g, ((start, stop), hidden, expanded) in enumerate(
                zip(config.spans(), config.hidden, config.expanded, strict=True)
            )
        )

    def group(self, index: int) -> GroupNet:
        """Return the network of a group."""
        found = self.groups[index]
        assert isinstance(found, GroupNet)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return the integers of all networks, each name with its group in front."""
        return {
            f"{g}.{name}": tensor
            for g in range(len(self.groups))
            for name, tensor in self.group(g).tensors().items()
        }

    @torch.no_grad()
    def load_context(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a `context.ContextModel`, of the same sizes, by its state.

        The float model's logarithms of scales become classes.
        """
        for name, twin, channels in self._counterparts():
            weight, bias = (state[f"{name}.{part}"].clone() for part in ("weight", "bias"))
            if name.endswith("out"):
                weight[channels:] /= math.log(RATIO)
                bias[channels:] = (bias[channels:] - math.log(LEAST)) / math.log(RATIO)
            twin.weight.zero_()[:, : weight.shape[1]] = weight  # the rest are inputs of 0
            twin.bias.copy_(bias)

    @torch.no_grad()
    def fill_context(self, state: Mapping[str, Tensor]) -> None:
        """Write the weights into the state of a `context.ContextModel`: undo `load_context`."""
        for name, twin, channels in self._counterparts():
            weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
            weight.copy_(twin.weight[:, : weight.shape[1]])
            bias.copy_(twin.bias)
            if name.endswith("out"):
                weight[channels:] *= math.log(RATIO)
                bias[channels:] = bias[channels:] * math.log(RATIO) + math.log(LEAST)

    def _counterparts(self) -> Iterator[tuple[str, qat.Linear, int]]:
        """Yield the context model's name of each layer, the layer, and its group's channels."""
        for g in range(len(self.groups)):
            prefix = "lowest." if g == 0 else f"groups.{g - 1}."
            names = ("expand", "hidden", "out") if g == 0 else ("enter", "expand", "project", "out")
            net = self.group(g)
            for name, twin in zip(names, net.layers().values(), strict=True):
                yield prefix + name, twin, net.channels


def scale_of(classes: Tensor) -> Tensor:
    """Return the scales, in steps, of classes that need not be whole."""
    return LEAST * RATIO ** classes.clamp(0, SCALES - 1)


def logistic_bits(y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return the bits of integers `y` under a rounded logistic distribution, stable far out.

    `P(y) = F(y + 1/2) - F(y - 1/2)`, by
    `sigmoid(b) - sigmoid(a) = (1 - exp(a - b)) * sigmoid(b) * sigmoid(-a)`.
    """
    away, wide = y - mean, 1 / scale
    above, below = (away + 0.5) * wide, (away - 0.5) * wide
    nats = nn.functional.softplus(-above) + nn.functional.softplus(below)
    return (nats - torch.log(-torch.expm1(-wide))) / 0.6931471805599453


def _sums(layer: qat.Linear, x: Tensor) -> Tensor:
    return accumulate(x, FRACTION, layer.weight, layer.bias)
