"""What an item's networks differ by from those that all share, as `models.inr.updates` has it.

Each group of weights has a head, its fraction and 1 + its class, or 0 and 0 where nothing differs;
then come the integers of the groups that differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from omnicodec.codecs.image._inr_format import GROUPS
from omnicodec.codecs.prior.latents import put_integers, take_integers
from omnicodec.codecs.prior.rans import Codes, Distributions, Source
from omnicodec.models.inr.arm_kernels import CLASSES
from omnicodec.models.inr.exact_arm import FRACTIONS, SHAPES, Ints
from omnicodec.models.inr.pyramid import CHANNELS
from omnicodec.models.inr.updates import ARM_GROUPS

HEADS: Final = 2 * GROUPS

MOST_FRACTION: Final = min(FRACTIONS.values())
"""Updates have at most as many fractional bits as weights."""


def heads_are_valid(heads: Ints) -> bool:
    """Return whether all fractions and classes are in range."""
    fractions, classes = heads[::2], heads[1::2]
    return bool(heads.min() >= 0 and fractions.max() <= MOST_FRACTION and classes.max() <= CLASSES)


def put_updates(codes: Codes, tables: Distributions, heads: Ints, values: Sequence[Ints]) -> None:
    """Add the integers of the groups that have a class."""
    for own, which in zip(values, heads[1::2], strict=True):
        if which:
            put_integers(codes, tables, int(which) - 1, own)


def take_updates(
    source: Source, tables: Distributions, heads: Ints, values: Sequence[Ints]
) -> bool:
    """Fill those of the groups that have a class; return whether all are in range."""
    good = True
    for own, which in zip(values, heads[1::2], strict=True):
        if which:
            good &= take_integers(source, tables, int(which) - 1, own)
    return good


def arm_updates(heads: Ints, values: Sequence[Ints]) -> dict[str, Ints]:
    """Return what an item adds to the integers of some scales' networks, `arms.SCALE.LAYER`."""
    found: dict[str, Ints] = {}
    for group, scale in enumerate(ARM_GROUPS):
        if not heads[2 * group + 1]:
            continue
        at = 0
        for name, shape in SHAPES.items():
            stack = (CHANNELS[scale], *shape)
            part = values[group][at : at + int(np.prod(stack))].reshape(stack)
            found[f"arms.{scale}.{name}"] = part << (FRACTIONS[name] - int(heads[2 * group]))
            at += part.size
    return found
