"""Encoding a group of frames: each is predicted from what a decoder will have, and corrected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.inr.exact_arm import Ints, layers_at, room_for
from omnicodec.models.inr.frames import Frame, Key, Pixels, Predicted, Renderer
from omnicodec.models.inr.image import quality_for
from omnicodec.models.inr.motion.compensation import compensate
from omnicodec.models.inr.motion.estimation import estimate
from omnicodec.models.inr.motion.field import Motion
from omnicodec.models.inr.order import Step, order
from omnicodec.models.inr.pyramid import padded
from omnicodec.models.inr.residual import BLOCK, LEVELS, STEP_BITS, transformed, weight_of
from omnicodec.models.inr.residual_planes import (
    PLANES,
    around_of,
    choose,
    cost_table,
    empty_planes,
    side_of,
)

DEEPER: Final = (0, -8, -13, -18)
"""What is added to the quality of a frame of each depth: few others are predicted from deep ones.
"""

KEY_SHARE: Final = 0.4
"""What a bit weighs in a key frame, from which all others come, of what it does in an anchor."""

MOTION_SHARE: Final = 2.5
"""The same for motion, as residuals will lower the errors that it leaves."""

_LIKELY: Final = 0.6
"""A block may have latents where one of them is larger than this, in steps."""

_BLOCK_BITS: Final = 5.0
"""What it costs to say that a block has latents, more than that it has none."""


class GroupEncoder:
    """A group of frames being encoded; `step` until `done`."""

    def __init__(
        self,
        renderer: Renderer,
        tensors: Mapping[str, NDArray[Any]],
        arms: Mapping[str, Ints],
        key: Callable[[Pixels, int], Key],
        pixels: NDArray[np.uint8],
        quality: int,
    ) -> None:
        """Take uint8 `(T, H, W, 3)`; `key` makes a key frame, `arms` model residuals."""
        self.order = order(len(pixels))
        self.frames: list[Frame] = []
        self._renderer, self._key, self._arms = renderer, key, arms
        self._steps, self._rates = tensors["residual_steps"], tensors["residual_rates"]
        self._pixels, self._quality = pixels, quality
        self._drawn: dict[int, Pixels] = {}
        self._costs = cost_table()

    @property
    def done(self) -> bool:
        return len(self.frames) == len(self.order)

    @property
    def last(self) -> tuple[int, Pixels]:
        """Index and pixels of the frame that was encoded last."""
        index = self.order[len(self.frames) - 1].frame
        return index, self._drawn[index]

    @property
    def error(self) -> float:
        """The mean squared error of the last frame, of pixels 0 to 255."""
        index, drawn = self.last
        difference = drawn.astype(np.float32) - self._pixels[index]
        return float(np.square(difference).mean())

    def resume(self, frames: list[Frame]) -> None:
        """Go on behind frames that were encoded before."""
        for step, frame in zip(self.order, frames, strict=False):
            self._take(step, frame)

    def step(self) -> None:
        """Encode the next frame."""
        step = self.order[len(self.frames)]
        pixels = self._pixels[step.frame]
        if not step.references:
            weight = KEY_SHARE * weight_of(self._quality)
            self._take(step, self._key(pixels, quality_for(weight)))
            return
        quality = max(0, self._quality + DEEPER[min(step.depth, len(DEEPER) - 1)])
        references = [self._drawn[index] for index in step.references]
        # Squared errors are sums over three channels, of pixels to 255.
        weight = weight_of(quality) * 3 * 255**2
        motion = estimate(pixels, references, MOTION_SHARE * weight)
        self._take(step, self.correct(pixels, compensate(references, motion), motion, quality))

    def correct(self, pixels: Pixels, predicted: Pixels, motion: Motion, quality: int) -> Predicted:
        """Return a frame whose latents bring its prediction closer where that is worth it."""
        step = self._steps[quality] / (1 << STEP_BITS)
        weight = weight_of(quality) * 3 * 255**2 / step**2
        residual = pixels.astype(np.int16) - predicted
        scales = [y / np.float32(step) for y in transformed(residual)]
        sides = padded(pixels.shape[0], pixels.shape[1], LEVELS)
        active = _likely(scales, sides[0] // BLOCK, sides[1] // BLOCK)
        planes, bits, gain = self._chosen(scales, active, sides, quality, weight)
        active &= gain > weight * (bits + _BLOCK_BITS)
        planes, bits, gain = self._chosen(scales, active, sides, quality, weight)
        return Predicted(quality, motion, active, planes)

    def _chosen(
        self,
        scales: list[NDArray[np.float32]],
        active: NDArray[np.bool_],
        sides: tuple[int, int],
        quality: int,
        weight: float,
    ) -> tuple[list[Ints], NDArray[np.float32], NDArray[np.float32]]:
        """Return planes of latents, and each block's bits and gain."""
        planes = empty_planes(*sides)
        bits, gain = (np.zeros(active.shape, np.float32) for _ in range(2))
        room = room_for()
        for which, plane in enumerate(PLANES):
            net = layers_at(self._arms, plane, int(self._rates[quality]), {})
            choose(
                scales[plane.scale][plane.channel], active, side_of(plane), planes[which],
                around_of(planes, which), net, room, self._costs, weight, bits, gain,
            )  # fmt: skip
        return planes, bits, gain

    def _take(self, step: Step, frame: Frame) -> None:
        references = [self._drawn[index] for index in step.references]
        height, width = self._pixels.shape[1:3]
        self._drawn[step.frame] = self._renderer.draw(frame, references, height, width)
        self.frames.append(frame)


def _likely(scales: list[NDArray[np.float32]], rows: int, columns: int) -> NDArray[np.bool_]:
    """Return which blocks may have latents."""
    found = np.zeros((rows, columns), np.bool_)
    for y in scales:
        side = y.shape[1] // rows
        blocks = np.abs(y).max(0).reshape(rows, side, columns, side)
        found |= blocks.max((1, 3)) > _LIKELY
    return found
