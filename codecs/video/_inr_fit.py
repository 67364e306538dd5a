"""Encoding for `video/inr`, watched and resumed: rows of integers from frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import Settings
from omnicodec.codecs.media import Image
from omnicodec.codecs.stream.frames import MAX_CHUNK_POSITIONS
from omnicodec.codecs.video._inr_format import (
    HNERV_FRONT,
    LONGEST,
    groups_of,
    hnerv_front,
    pack,
    unpack,
)
from omnicodec.codecs.work import Watch
from omnicodec.models.inr.fit import LOOKS, PictureFit
from omnicodec.models.inr.frames import Frame, Key, Pixels, Predicted, Renderer
from omnicodec.models.inr.group import GroupEncoder
from omnicodec.models.inr.image import padded_input

if TYPE_CHECKING:
    from omnicodec.codecs.video._inr_prior import VideoInrPrior
    from omnicodec.models.inr.image import ImageInr
    from omnicodec.models.inr.updates import Update

Ints = NDArray[np.int32]

KEY_STEPS: Final = {"fast": 0, "normal": 100, "best": 400}
"""Steps of the fit of a key frame."""

HNERV_EPOCHS: Final = {"fast": 30, "normal": 300, "best": 1200}

SAVE_SECONDS: Final = 20.0


def group_rows(
    network: ImageInr,
    prior: VideoInrPrior,
    frames: NDArray[np.uint8],
    quality: int,
    settings: Settings,
    key: str,
) -> list[Ints]:
    """Return the row of each group of frames `(T, H, W, 3)`."""
    groups = -(-len(frames) // LONGEST)
    while True:
        rows = _Groups(network, prior, frames, quality, settings, f"{key} {groups}").rows(groups)
        # Nobody codes noise at these sizes; but who does gets smaller groups.
        if max(row.size for row in rows) <= MAX_CHUNK_POSITIONS or groups == len(frames):
            return rows
        groups = min(2 * groups, len(frames))


class _Groups:
    """The groups of a video, one after the other.

    A step of the work is a frame, or a step of the fit of a group's first one.
    """

    def __init__(
        self,
        network: ImageInr,
        prior: VideoInrPrior,
        frames: NDArray[np.uint8],
        quality: int,
        settings: Settings,
        key: str,
    ) -> None:
        self._network, self._prior, self._frames = network, prior, frames
        self._quality, self._work, self._key = quality, settings.work, key
        self._fit_steps = KEY_STEPS[settings.effort or "fast"]
        self._renderer = Renderer(network.synthesis, prior.tensors)
        self._tally = _Tally()
        # What the last key frame's networks differ by, from which the next one's begin.
        self._updates: Sequence[Update | None] = ()
        self._kept: Mapping[str, NDArray[Any]] = {}

    def rows(self, groups: int) -> list[Ints]:
        """Return the rows of so many groups."""
        height, width = self._frames.shape[1:3]
        kept = self._kept = self._work.restore(self._key) or {}
        if kept:
            self._tally.error = float(kept["error"][0])
        steps = len(self._frames) + groups * self._fit_steps
        self._watch = Watch(self._work, self._key, steps, seconds=SAVE_SECONDS)
        self._groups = groups
        rows: list[Ints] = []
        for which, group in enumerate(groups_of(len(self._frames), groups)):
            self._encoder = encoder = GroupEncoder(
                self._renderer, self._prior.tensors, self._prior.residual_arms,
                self._fitted, self._frames[group.start : group.stop], self._quality,
                self._prior.frame_bits,
            )  # fmt: skip
            self._rows = rows
            if f"row.{which}" in kept:
                row, done = kept[f"row.{which}"], int(kept["done"][which])
                encoder.resume(unpack(row, len(group), height, width, self._prior.sizes)[:done])
                for frame in encoder.frames:
                    self._tally.add(frame, self._prior.frame_bits(frame))
                    self._updates = frame.updates if isinstance(frame, Key) else self._updates
            while not encoder.done:
                encoder.step()
                self._tally.add(encoder.frames[-1], self._prior.frame_bits(encoder.frames[-1]))
                self._tally.error += encoder.error
                if self._watch.due(self._done(), self._state):
                    self._report(encoder.last[1])
            rows.append(pack(encoder.frames, height, width))
        return rows

    def _fitted(self, pixels: Pixels, quality: int) -> Key:
        """Return a key frame, fitted for some steps."""
        height, width = pixels.shape[:2]
        x, steps = padded_input(pixels), self._fit_steps
        fit = PictureFit(self._network, x, height, width, quality, steps, begin=self._updates)
        state = {k[4:]: v for k, v in self._kept.items() if k.startswith("fit.")}
        if state and int(self._kept["fitting"][0]) == self._tally.count:
            fit.restore(state)
        while fit.done < steps:
            fit.step()
            if fit.done % LOOKS == 0 or fit.done == steps:
                fit.look()
            # Another scene in a group has a fit that nobody counted on.
            done = self._done() + (0 if self._encoder.frames else fit.done)
            if self._watch.due(done, lambda: self._state() | self._fit_state(fit)):
                self._report(pixels, fit)
        found = fit.finish()
        self._updates = found.updates
        return Key(quality, found.scales, found.updates)

    def _done(self) -> int:
        """Return the steps that are done, but for those of a fit that is going on."""
        fits = len(self._rows) + bool(self._encoder.frames)
        return self._tally.count + fits * self._fit_steps

    def _state(self) -> dict[str, NDArray[Any]]:
        """Return what a checkpoint has."""
        height, width = self._frames.shape[1:3]
        rows = [*self._rows, pack(self._encoder.frames, height, width)]
        counts = [LONGEST] * len(self._rows) + [len(self._encoder.frames)]
        arrays: dict[str, NDArray[Any]] = {f"row.{k}": row for k, row in enumerate(rows)}
        return arrays | {"done": np.array(counts), "error": np.array([self._tally.error])}

    def _fit_state(self, fit: PictureFit) -> dict[str, NDArray[Any]]:
        arrays = {f"fit.{name}": array for name, array in fit.state().items()}
        return arrays | {"fitting": np.array([self._tally.count])}

    def _report(self, drawn: Pixels, fit: PictureFit | None = None) -> None:
        tally = self._tally
        if tally.count or fit is None:
            psnr = float(10 * np.log10(255**2 / max(tally.error / tally.count, 1e-6)))
        else:
            psnr = fit.psnr
        bits = tally.estimate(len(self._frames), self._groups, fit.bits if fit else 0.0)
        self._watch.enough(bits, psnr, lambda: Image(drawn))


class _Tally:
    """What the frames so far cost, key frames and others, and their mean squared errors."""

    def __init__(self) -> None:
        self.error = 0.0
        self._counts, self._bits = [0, 0], [0.0, 0.0]

    @property
    def count(self) -> int:
        return sum(self._counts)

    def add(self, frame: Frame, bits: float) -> None:
        kind = int(isinstance(frame, Predicted))
        self._counts[kind] += 1
        self._bits[kind] += bits

    def estimate(self, frames: int, groups: int, fitting: float) -> float:
        """Return the bits of all frames; `fitting` are those of a key frame that is being fitted.

        Until there is a predicted frame, one is taken to cost a tenth of a key frame.
        """
        keys, others = self._counts
        key = self._bits[0] / keys if keys else fitting
        other = self._bits[1] / others if others else key / 10
        left = max(0, groups - keys)
        return sum(self._bits) + left * key + max(0, frames - self.count - left) * other


def hnerv_row(
    frames: NDArray[np.uint8], quality: int, settings: Settings, key: str, device: str
) -> Ints:
    """Return the row of a clip that one network is fitted to."""
    from omnicodec.models.inr.hnerv import HnervFit

    epochs = HNERV_EPOCHS[settings.effort or "fast"]
    work, count = settings.work, len(frames)
    fit = HnervFit(frames, quality, HnervFit.steps_of(count, epochs), device=device)
    restored = work.restore(key)
    if restored is not None:
        fit.restore(restored)
    every = max(1, HnervFit.steps_of(count, 1) // 4)
    watch = Watch(work, key, fit.steps, seconds=SAVE_SECONDS, every=every)
    while fit.done < fit.steps:
        fit.step()
        if watch.due(fit.done, fit.state):
            fit.look()
            if watch.enough(fit.bits, fit.psnr, lambda: Image(fit.preview())):
                break
    height, width = frames.shape[1:3]
    front = hnerv_front(quality, count, height, width)
    assert front.size == HNERV_FRONT
    return np.concatenate([front, fit.finish().values.astype(np.int32)])
