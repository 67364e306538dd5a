"""Encoding for `video/inr`, watched and resumed: rows of integers from frames."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
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
from omnicodec.codecs.work import Progress
from omnicodec.models.inr.exact_synthesis import ExactSynthesis
from omnicodec.models.inr.fit import PictureFit
from omnicodec.models.inr.frames import Key, Pixels, Renderer
from omnicodec.models.inr.group import GroupEncoder
from omnicodec.models.inr.pyramid import padded

if TYPE_CHECKING:
    from omnicodec.codecs.video._inr_prior import VideoInrPrior
    from omnicodec.models.inr.image import ImageInr

Ints = NDArray[np.int32]

KEY_STEPS: Final = {"fast": 0, "normal": 40, "best": 300}
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
    """The groups of a video, one after the other."""

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
        self._steps = KEY_STEPS[settings.effort or "fast"]
        self._renderer = Renderer(ExactSynthesis(network.synthesis), prior.tensors)
        self._began = self._saved = time.monotonic()
        self._bits, self._error, self._count, self._restored = 0.0, 0.0, 0, 0

    def rows(self, groups: int) -> list[Ints]:
        """Return the rows of so many groups."""
        height, width = self._frames.shape[1:3]
        kept = self._work.restore(self._key) or {}
        rows: list[Ints] = []
        for which, group in enumerate(groups_of(len(self._frames), groups)):
            encoder = self._encoder(self._frames[group.start : group.stop])
            found = kept.get(f"row.{which}")
            if found is not None:
                done = int(kept["done"][which])
                encoder.resume(unpack(found, len(group), height, width)[:done])
                for frame in encoder.frames:
                    self._bits += self._prior.frame_bits(frame)
                self._count += done
                self._restored += done
            while not encoder.done:
                encoder.step()
                self._after(encoder, rows)
            rows.append(pack(encoder.frames, height, width))
        return rows

    def _encoder(self, frames: NDArray[np.uint8]) -> GroupEncoder:
        return GroupEncoder(
            self._renderer, self._prior.tensors, self._prior.residual_arms,
            self._fitted, frames, self._quality,
        )  # fmt: skip

    def _fitted(self, pixels: Pixels, quality: int) -> Key:
        """Return a key frame, fitted for some steps."""
        height, width = pixels.shape[:2]
        high, wide = padded(height, width)
        whole = np.pad(pixels, ((0, high - height), (0, wide - width), (0, 0)), "edge")
        x = torch.from_numpy(whole).permute(2, 0, 1)[None].float() / 255
        fit = PictureFit(self._network, x, height, width, quality, self._steps, weights=False)
        while fit.done < self._steps:
            fit.step()
            if fit.done % 10 == 0:
                fit.look()
        return Key(quality, fit.plain())

    def _after(self, encoder: GroupEncoder, rows: list[Ints]) -> None:
        """Report and save what there is behind a frame."""
        drawn = encoder.last[1]
        height, width = self._frames.shape[1:3]
        self._count += 1
        self._bits += self._prior.frame_bits(encoder.frames[-1])
        self._error += encoder.error
        now = time.monotonic()
        if self._work.cancelled or now - self._saved > SAVE_SECONDS:
            self._saved = now
            arrays = {f"row.{k}": row for k, row in enumerate(rows)}
            arrays[f"row.{len(rows)}"] = pack(encoder.frames, height, width)
            counts = [1 << 30] * len(rows) + [len(encoder.frames)]
            self._work.save(self._key, arrays | {"done": np.array(counts, np.int64)})
        total, fresh = len(self._frames), self._count - self._restored
        speed = (now - self._began) / max(1, fresh)
        error = self._error / max(1, fresh)
        self._work.report(
            Progress(
                share=self._count / total,
                step=self._count,
                bits=self._bits * total / self._count,
                psnr=float(10 * np.log10(255**2 / max(error, 1e-6))),
                seconds_left=speed * (total - self._count),
                preview=lambda: Image(drawn),
            )
        )


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
    began = saved = time.monotonic()
    first, every = fit.done, max(1, HnervFit.steps_of(count, 1) // 4)
    while fit.done < fit.steps:
        fit.step()
        now = time.monotonic()
        if work.cancelled or now - saved > SAVE_SECONDS:
            work.save(key, fit.state())
            saved = now
        if work.cancelled or fit.done % every == 0 or fit.done == fit.steps:
            fit.look()
            speed = (now - began) / (fit.done - first)
            enough = work.report(
                Progress(
                    share=fit.done / fit.steps,
                    step=fit.done,
                    bits=fit.bits,
                    psnr=fit.psnr,
                    seconds_left=speed * (fit.steps - fit.done),
                    preview=lambda: Image(fit.preview()),
                )
            )
            if enough:
                break
    height, width = frames.shape[1:3]
    front = hnerv_front(quality, count, height, width)
    assert front.size == HNERV_FRONT
    return np.concatenate([front, fit.finish().values.astype(np.int32)])
