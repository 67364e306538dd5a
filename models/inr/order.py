"""The order in which the frames of a group are coded, and what each is predicted from."""

from __future__ import annotations

from typing import Final, NamedTuple

SPACING: Final = 8
"""Frames from one anchor to the next, which is predicted from it."""


class Step(NamedTuple):
    """A frame of a group, the one or two it is predicted from, by their indices, and its depth.

    The first frame has no references. Anchors have depth 0; a frame between two others is one
    deeper than the deeper of them.
    """

    frame: int
    references: tuple[int, ...]
    depth: int


def order(count: int) -> list[Step]:
    """Return the frames of a group in the order of coding.

    Each anchor follows the one before it; then come the frames between both, by halves.
    """
    steps = [Step(0, (), 0)] if count else []
    last = 0
    while last < count - 1:
        anchor = min(last + SPACING, count - 1)
        steps.append(Step(anchor, (last,), 0))
        _between(last, anchor, 1, steps)
        last = anchor
    return steps


def _between(first: int, last: int, depth: int, steps: list[Step]) -> None:
    if last - first < 2:
        return
    middle = (first + last) // 2
    steps.append(Step(middle, (first, last), depth))
    _between(first, middle, depth + 1, steps)
    _between(middle, last, depth + 1, steps)


def needed(count: int, frames: range) -> set[int]:
    """Return the frames of a group that have to be decoded to see some of them."""
    found = set(frames)
    for step in reversed(order(count)):
        if step.frame in found:
            found.update(step.references)
    return found
