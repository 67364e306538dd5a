"""Encoding a group of frames: each is predicted from what a decoder will have, and corrected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.inr.exact_arm import Ints, Layers, layers_at, room_for
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

SCENE_SHARE: Final = 0.7
"""An anchor of more bits than this share of a key frame's may show another scene."""

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
        bits: Callable[[Frame], float] | None = None,
    ) -> None:
        """Take uint8 `(T, H, W, 3)`; `key` makes a key frame, `arms` model residuals.

        With `bits`, which tells what a frame costs, scenes may begin with a key frame.
        """
        self.order = order(len(pixels))
        self.frames: list[Frame] = []
        self._renderer, self._key, self._arms, self._bits = renderer, key, arms, bits
        self._steps, self._rates = tensors["residual_steps"], tensors["residual_rates"]
        self._pixels, self._quality = pixels, quality
        self._drawn: dict[int, Pixels] = {}
        self._key_bits = 0.0
        self._costs = cost_table()
        self._nets: dict[int, list[Layers]] = {}

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
        return _squared(self._pixels[index], drawn) / drawn.size

    def resume(self, frames: list[Frame]) -> None:
        """Go on behind frames that were encoded before."""
        height, width = self._pixels.shape[1:3]
        for step, frame in zip(self.order, frames, strict=False):
            drawn = self._renderer.draw(frame, self._references(step), height, width)
            self._take(step, frame, drawn)

    def step(self) -> None:
        """Encode the next frame."""
        step = self.order[len(self.frames)]
        pixels = self._pixels[step.frame]
        if not step.references:
            self._take(step, *self._key_frame(pixels))
            return
        quality = max(0, self._quality + DEEPER[min(step.depth, len(DEEPER) - 1)])
        references = self._references(step)
        # Squared errors are sums over three channels, of pixels to 255.
        weight = weight_of(quality) * 3 * 255**2
        motion = estimate(pixels, references, MOTION_SHARE * weight)
        predicted = compensate(references, motion)
        frame = self.correct(pixels, predicted, motion, quality)
        drawn = self._renderer.corrected(predicted, frame)
        if step.depth or self._bits is None:
            self._take(step, frame, drawn)
        else:
            self._take(step, *self._or_key(self._bits, pixels, frame, drawn))

    def _references(self, step: Step) -> list[Pixels]:
        return [self._drawn[index] for index in step.references]

    def _key_frame(self, pixels: Pixels) -> tuple[Key, Pixels]:
        """Return a key frame, and how it is drawn."""
        key = self._key(pixels, quality_for(KEY_SHARE * weight_of(self._quality)))
        return key, self._renderer.draw(key, [], *pixels.shape[:2])

    def _or_key(
        self, bits_of: Callable[[Frame], float], pixels: Pixels, frame: Frame, drawn: Pixels
    ) -> tuple[Frame, Pixels]:
        """Return an anchor, or a key frame if that is the better one: where scenes change."""
        bits = bits_of(frame)
        if bits < SCENE_SHARE * self._key_bits:
            return frame, drawn
        key, alone = self._key_frame(pixels)
        # Others are predicted from either, so errors count as they do in a key frame.
        weight = KEY_SHARE * weight_of(self._quality) * 3 * 255**2
        cost = _squared(pixels, drawn) + weight * bits
        better = _squared(pixels, alone) + weight * bits_of(key) < cost
        return (key, alone) if better else (frame, drawn)

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
        rate = int(self._rates[quality])
        if rate not in self._nets:
            self._nets[rate] = [layers_at(self._arms, plane, rate, {}) for plane in PLANES]
        for which, (plane, net) in enumerate(zip(PLANES, self._nets[rate], strict=True)):
            choose(
                scales[plane.scale][plane.channel], active, side_of(plane), planes[which],
                around_of(planes, which), net, room, self._costs, weight, bits, gain,
            )  # fmt: skip
        return planes, bits, gain

    def _take(self, step: Step, frame: Frame, drawn: Pixels) -> None:
        if isinstance(frame, Key) and self._bits is not None:
            self._key_bits = self._bits(frame)
        self._drawn[step.frame] = drawn
        self.frames.append(frame)


def _likely(scales: list[NDArray[np.float32]], rows: int, columns: int) -> NDArray[np.bool_]:
    """Return which blocks may have latents."""
    found = np.zeros((rows, columns), np.bool_)
    for y in scales:
        side = y.shape[1] // rows
        blocks = np.abs(y).max(0).reshape(rows, side, columns, side)
        found |= blocks.max((1, 3)) > _LIKELY
    return found


def _squared(pixels: Pixels, drawn: Pixels) -> float:
    """Return the sum of squared errors."""
    difference = drawn.astype(np.float32) - pixels
    return float(np.square(difference).sum(dtype=np.float64))
