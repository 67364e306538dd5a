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
from omnicodec.models.inr.residual import corrected
from omnicodec.models.inr.residual_planes import Active, scales_of
from omnicodec.models.inr.synthesis import Synthesis
from omnicodec.models.inr.updates import Update, updated

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Key:
    """A frame that stands alone: scales `(C, h, w)` of latents as `pyramid` has them.

    `updates` are those of each of `updates.groups`, or nothing: its networks are the shared ones.
    """

    quality: int
    scales: list[Ints]
    updates: Sequence[Update | None] = ()


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

    def __init__(self, synthesis: Synthesis, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take the synthesis of key frames; `tensors` are those of the prior.

        `steps` and `rates` are those of key frames by quality, `residual_steps` those of others.
        """
        self._shared, self._synthesis = synthesis, ExactSynthesis(synthesis)
        self._steps, self._rates = tensors["steps"], tensors["rates"]
        self._residual_steps = tensors["residual_steps"]

    def draw(self, frame: Frame, references: Sequence[Pixels], height: int, width: int) -> Pixels:
        """Return the pixels of a frame, uint8 `(height, width, 3)`."""
        if isinstance(frame, Key):
            quality = frame.quality
            synthesis = updated(self._shared, frame.updates)
            exact = self._synthesis if synthesis is self._shared else ExactSynthesis(synthesis)
            found = exact.render(frame.scales, self._steps[quality], int(self._rates[quality]))
            return found[:height, :width].clip(0, 255).astype(np.uint8)
        predicted = compensate(references, frame.motion, threads=torch.get_num_threads())
        return self.corrected(predicted, frame)

    def corrected(self, predicted: Pixels, frame: Predicted) -> Pixels:
        """Return a prediction with a frame's residual added to it, where it has any."""
        if not frame.active.any():
            return predicted
        step = int(self._residual_steps[frame.quality])
        return corrected(predicted, scales_of(frame.planes), step)

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
