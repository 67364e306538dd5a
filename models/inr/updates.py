"""What an item's networks differ by from those that all share, as few small integers."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnicodec.models.inr.classes import class_of
from omnicodec.models.inr.exact_arm import SHAPES
from omnicodec.models.inr.image import ImageInr
from omnicodec.models.inr.pyramid import LARGEST, SCALES
from omnicodec.models.inr.synthesis import Synthesis

Ints = NDArray[np.int32]

ARM_GROUPS: Final = (SCALES - 1, SCALES - 2)
"""The scales whose models an item may change, in the order of their groups."""

CHOICES: Final = (5, 6, 7, 8, 9)
"""Fractional bits that an item's updates may have."""

MIDDLE_CHOICE: Final = 7


@dataclass(frozen=True)
class Update:
    """Integers in units of `2**-fraction`, the class of their sizes, and their bits, if known."""

    values: Ints
    fraction: int
    which: int
    bits: float


def groups(network: ImageInr) -> list[list[nn.Parameter]]:
    """Return the parameters that an item may change.

    The models of the two finest scales, the last doubling, and the correction.
    """
    finest = [network.arms[scale] for scale in ARM_GROUPS]
    arms = [[getattr(some, name) for name in SHAPES] for some in finest]
    return [*arms, *synthesis_groups(network.synthesis)]


def synthesis_groups(synthesis: Synthesis) -> list[list[nn.Parameter]]:
    """Return those of `groups` that are the synthesis's."""
    return [
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
    which, bits = class_of(values)
    return Update(values, fraction, which, bits)


def updated(shared: Synthesis, updates: Sequence[Update | None]) -> Synthesis:
    """Return the shared synthesis with an item's updates, one for each group, added to it."""
    own = updates[len(ARM_GROUPS) :]
    if not any(own):
        return shared
    synthesis = copy.deepcopy(shared)
    for parameters, update in zip(synthesis_groups(synthesis), own, strict=True):
        fill(parameters, changed(flat(parameters), update))
    return synthesis


def changed(base: Tensor, update: Update | None) -> Tensor:
    """Return weights with an update added."""
    if update is None:
        return base
    return base + torch.from_numpy(update.values).to(base) / (1 << update.fraction)


def heads_of(updates: Sequence[Update | None]) -> Ints:
    """Return each group's fraction and 1 + its class; 0 and 0 where it has no update."""
    pairs = [(u.fraction, 1 + u.which) if u else (0, 0) for u in updates]
    return np.array(pairs, np.int32).reshape(-1)


def from_heads(heads: Ints, values: Sequence[Ints]) -> list[Update | None]:
    """Return the updates of heads, as `heads_of` gives them, and of integers."""
    pairs = heads.reshape(-1, 2).tolist()
    return [
        Update(own, fraction, which - 1, math.nan) if which else None
        for (fraction, which), own in zip(pairs, values, strict=True)
    ]
