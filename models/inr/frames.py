"""The frames of a group as integers, and what a decoder makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omnicodec.models.inr.exact_synthesis import ExactSynthesis
from omnicodec.models.inr.motion.compensation import compensate
from omnicodec.models.inr.motion.field import Ints, Motion
from omnicodec.models.inr.order import order
from omnicodec.models.inr.residual import restored
from omnicodec.models.inr.residual_planes import Active, empty_planes, scales_of

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Key:
    """A frame that stands alone: scales `(C, h, w)` of latents as `pyramid` has them."""

    quality: int
    scales: list[Ints]


@dataclass(frozen=True, eq=False)
class Predicted:
    """A frame that follows others: its motion, which blocks have latents, and their planes.

    `active` is bool `(h, w)`; `planes` are those of `residual_planes`.
    """

    quality: int
    motion: Motion
    active: Active
    planes: list[Ints]


Frame = Key | Predicted


class Renderer:
    """Frames from their integers, the same on every machine."""

    def __init__(self, synthesis: ExactSynthesis, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take the synthesis of key frames; `tensors` are those of the prior.

        `steps` and `rates` are those of key frames by quality, `residual_steps` those of others.
        """
        self._synthesis = synthesis
        self._steps, self._rates = tensors["steps"], tensors["rates"]
        self._residual_steps = tensors["residual_steps"]

    def draw(self, frame: Frame, references: Sequence[Pixels], height: int, width: int) -> Pixels:
        """Return the pixels of a frame, uint8 `(height, width, 3)`."""
        if isinstance(frame, Key):
            quality = frame.quality
            found = self._synthesis.render(
                frame.scales, self._steps[quality], int(self._rates[quality])
            )
            return found[:height, :width].clip(0, 255).astype(np.uint8)
        predicted = compensate(references, frame.motion, threads=torch.get_num_threads())
        if not frame.active.any():
            return predicted
        return self.corrected(predicted, frame)

    def corrected(self, predicted: Pixels, frame: Predicted) -> Pixels:
        """Return a prediction with a frame's residual added to it."""
        step = int(self._residual_steps[frame.quality])
        residual = restored(scales_of(frame.planes), step)
        height, width = predicted.shape[:2]
        return (predicted + residual[:height, :width]).clip(0, 255).astype(np.uint8)

    def group(
        self, frames: Sequence[Frame], height: int, width: int, wanted: set[int] | None = None
    ) -> dict[int, Pixels]:
        """Return the pixels of the frames of a group, given in the order of coding, by index.

        Of `wanted` only, where it is given; it holds what these are predicted from.
        """
        drawn: dict[int, Pixels] = {}
        for step, frame in zip(order(len(frames)), frames, strict=True):
            if wanted is None or step.frame in wanted:
                references = [drawn[index] for index in step.references]
                drawn[step.frame] = self.draw(frame, references, height, width)
        return drawn


def without_latents(height: int, width: int, motion: Motion, quality: int) -> Predicted:
    """Return a frame that is nothing but its prediction; the sides are padded ones."""
    active = np.zeros((height // 16, width // 16), np.bool_)
    return Predicted(quality, motion, active, empty_planes(height, width))
