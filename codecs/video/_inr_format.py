"""How the tokens of `video/inr` are laid out: a row of integers for each group, zigzag as ids.

A video has groups of nearly as many frames each, whose number is part of its extent. A row is

    method              0
    frames              how many the group has
    height, width       each as its thousands (of 1024) and the rest
    each frame          in the order of coding, see `models.inr.order`
    zeros               up to the length of the longest row

With the method "hnerv" there is one group, and its row is

    method              1
    quality             0 to 100
    frames              as thousands and the rest, and so is the size
    height, width
    network             as `models.inr.hnerv.integers` has it

A frame is

    kind                0 for a key frame, 2 for one with networks of its own, 1 for others
    quality             0 to 100

and then of a key frame the latents of all planes, as in `image/inr`; before them, of one of kind 2,

    for each group      the fraction of its updates, and 1 + the class of their sizes; or 0, 0
    updates             of the weights of those groups that have a class

and of a predicted one

    motion              as `models.inr.motion.field` has it
    activity            by blocks of 16x16 pixels: whether a block has latents
    latents             of each plane of `residual_planes`, by rows, in active blocks only

Any integers are some video: what is out of range is cut, what is missing is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.image._inr_updates import HEADS, MOST_FRACTION
from omnicodec.models.inr.arm_kernels import CLASSES
from omnicodec.models.inr.frames import Frame, Key, Predicted
from omnicodec.models.inr.motion.field import Ints, Motion, length
from omnicodec.models.inr.order import order
from omnicodec.models.inr.pyramid import join, padded, positions, split
from omnicodec.models.inr.residual import BLOCK, LEVELS
from omnicodec.models.inr.residual_planes import PLANES, empty_planes, side_of
from omnicodec.models.inr.updates import Update, from_heads, heads_of

PLAIN_KEY: Final = 0
PREDICTED: Final = 1
OWN_KEY: Final = 2
KINDS: Final = (PLAIN_KEY, PREDICTED, OWN_KEY)

LONGEST: Final = 144
"""Frames of a group at most: a seek decodes what a frame is predicted from in its group."""

HNERV_FRONT: Final = 8

_FRONT: Final = 6
_THOUSAND: Final = 1024


def groups_of(frames: int, groups: int) -> list[range]:
    """Return the frames of each group."""
    edges = [frames * k // groups for k in range(groups + 1)]
    return [range(a, b) for a, b in pairwise(edges)]


def is_hnerv(row: Ints) -> bool:
    """Return whether a row is a network."""
    return bool(row.size and row[0] == 1)


def quality_of(row: Ints) -> int:
    """Return the quality of a network's row."""
    return int(np.clip(row[1], 0, 100))


def front_of(row: Ints) -> tuple[int, int, int]:
    """Return frames, height and width of the group in a row, as it says."""
    front = np.maximum(row[:HNERV_FRONT], 0).astype(int).tolist()
    front += [0] * (HNERV_FRONT - len(front))
    if is_hnerv(row):
        counts = [front[k] * _THOUSAND + front[k + 1] for k in (2, 4, 6)]
        return counts[0], counts[1], counts[2]
    return front[1], front[2] * _THOUSAND + front[3], front[4] * _THOUSAND + front[5]


def hnerv_front(quality: int, frames: int, height: int, width: int) -> Ints:
    """Return what a network's row begins with."""
    pairs = [part for n in (frames, height, width) for part in divmod(n, _THOUSAND)]
    return np.array([1, quality, *pairs], np.int32)


def kind_of(frame: Frame) -> int:
    """Return the kind of a frame."""
    if isinstance(frame, Predicted):
        return PREDICTED
    return OWN_KEY if any(frame.updates) else PLAIN_KEY


def pack(frames: Sequence[Frame], height: int, width: int) -> Ints:
    """Return the frames of a group, in the order of coding, as a row."""
    front = [0, len(frames), *divmod(height, _THOUSAND), *divmod(width, _THOUSAND)]
    parts: list[NDArray[np.int32]] = [np.array(front, np.int32)]
    for frame in frames:
        parts.append(np.array([kind_of(frame), frame.quality], np.int32))
        if isinstance(frame, Key):
            if any(frame.updates):
                parts += [heads_of(frame.updates), *(u.values for u in frame.updates if u)]
            parts.append(join(frame.scales))
            continue
        parts.append(frame.motion.row())
        parts.append(frame.active.astype(np.int32).reshape(-1))
        for plane, wide in zip(PLANES, frame.planes, strict=True):
            side = side_of(plane)
            parts.append(wide[2:-1, 2:-2][frame.active.repeat(side, 0).repeat(side, 1)])
    return np.concatenate(parts)


def unpack(row: Ints, count: int, height: int, width: int, sizes: Sequence[int]) -> list[Frame]:
    """Return the frames of a group of so many, of `height` x `width` pixels, from a row.

    `sizes` are those of the groups of weights that a key frame may change.
    """
    cursor = _Cursor(row[_FRONT:])
    frames: list[Frame] = []
    high, wide = padded(height, width)
    for step in order(count):
        kind, quality = cursor.take(2)
        quality = int(np.clip(quality, 0, 100))
        # Where a key frame is lost, those that follow it still begin where they do.
        if kind != PREDICTED or not step.references:
            updates = _updates(cursor, sizes) if kind == OWN_KEY else ()
            scales = split(cursor.take(positions(high, wide)).copy(), high, wide)
            frames.append(Key(quality, scales, updates))
            continue
        references = len(step.references)
        motion = cursor.take(length(height, width, references))
        sides = padded(height, width, LEVELS)
        shape = sides[0] // BLOCK, sides[1] // BLOCK
        active = cursor.take(shape[0] * shape[1]).reshape(shape) != 0
        planes = empty_planes(*sides)
        for plane, y in zip(PLANES, planes, strict=True):
            side = side_of(plane)
            mask = active.repeat(side, 0).repeat(side, 1)
            y[2:-1, 2:-2][mask] = cursor.take(int(mask.sum()))
        frames.append(
            Predicted(quality, Motion.from_row(motion, height, width, references), active, planes)
        )
    return frames


def _updates(cursor: _Cursor, sizes: Sequence[int]) -> list[Update | None]:
    heads = cursor.take(HEADS).clip(0, [MOST_FRACTION, CLASSES] * len(sizes)).astype(np.int32)
    own = [
        cursor.take(size if which else 0) for size, which in zip(sizes, heads[1::2], strict=True)
    ]
    return from_heads(heads, own)


class _Cursor:
    """Takes integers from a row, and zeros behind its end."""

    def __init__(self, row: Ints) -> None:
        self._row, self._at = row, 0

    def take(self, count: int) -> Ints:
        part = self._row[self._at : self._at + count]
        self._at += count
        return part if part.size == count else np.pad(part, (0, count - part.size))
