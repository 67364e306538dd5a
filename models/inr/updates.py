"""What an item's networks differ by from those that all share, as few small integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnicodec.models.inr.arm_kernels import CLASSES, LEAST, RATIO
from omnicodec.models.inr.exact_arm import SHAPES
from omnicodec.models.inr.image import ImageInr
from omnicodec.models.inr.pyramid import LARGEST, SCALES

Ints = NDArray[np.int32]

ARM_GROUPS: Final = (SCALES - 1, SCALES - 2)
"""The scales whose models an item may change, in the order of their groups."""

CHOICES: Final = (5, 6, 7, 8, 9)
"""Fractional bits that an item's updates may have."""

MIDDLE_CHOICE: Final = 7


@dataclass(frozen=True)
class Update:
    """Integers in units of `2**-fraction`, and the class of their sizes."""

    values: Ints
    fraction: int
    which: int
    bits: float


def groups(network: ImageInr) -> list[list[nn.Parameter]]:
    """Return the parameters that an item may change.

    The models of the two finest scales, the last doubling, and the correction.
    """
    finest = [network.arms[scale] for scale in ARM_GROUPS]
    synthesis = network.synthesis
    return [
        *([getattr(arms, name) for name in SHAPES] for arms in finest),
        list(synthesis.doublings[-1].parameters()),
        [*synthesis.first.parameters(), *synthesis.second.parameters(),
         *synthesis.last.parameters(), *synthesis.colours.parameters()],
    ]  # fmt: skip


def flat(parameters: list[nn.Parameter]) -> Tensor:
    """Return all values in a row."""
    return torch.cat([p.detach().reshape(-1) for p in parameters])


@torch.no_grad()
def fill(parameters: list[nn.Parameter], values: Tensor) -> None:
    """Undo `flat`, in place."""
    for parameter, part in zip(
        parameters, values.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.copy_(part.view_as(parameter))


def quantized(change: Tensor, fraction: int) -> Update:
    """Return a change of weights as an update, with the class that codes it in the fewest bits."""
    steps = (change.double() * (1 << fraction)).round().clamp(-LARGEST, LARGEST)
    values = steps.to(torch.int32).cpu().numpy()
    sizes, counts = np.unique(np.abs(values), return_counts=True)
    scales = LEAST * RATIO ** np.arange(CLASSES)[:, None]
    edges = (sizes - 0.5) / scales
    shares = np.where(
        sizes == 0,
        1 - np.exp(-0.5 / scales),
        0.5 * np.exp(-np.abs(edges)) * (1 - np.exp(-1 / scales)),
    )
    bits = -(np.log2(np.maximum(shares, 2.0**-24)) * counts).sum(1)
    which = int(bits.argmin())
    return Update(values, fraction, which, float(bits[which]))


def changed(base: Tensor, update: Update | None) -> Tensor:
    """Return weights with an update added."""
    if update is None:
        return base
    return base + torch.from_numpy(update.values).to(base) / (1 << update.fraction)
