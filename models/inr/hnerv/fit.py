"""Fitting one clip: as in the paper, 300 epochs of which say what HNeRV can.

Adam at 1e-3 (betas 0.9 and 0.999, no weight decay) with a tenth of the steps to warm up and a
cosine down to 0, two frames a step, mean squared error (the paper's `L2`, with which its table of
sizes was made). Weights are quantized when the fit is over, to 8 bits or fewer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.inr.hnerv.integers import (
    LARGEST,
    Ints,
    Quantized,
    pack,
    quantized,
    segments_of,
    shape_of,
    tensors_of,
)
from omnicodec.models.inr.hnerv.network import Decoder, Encoder
from omnicodec.models.inr.hnerv.shape import Shape
from omnicodec.models.layers import channels_last, quick_dtype

EPOCHS: Final = 300
"""Of the paper: how often each frame is seen."""

BATCH: Final = 2
RATE: Final = 1e-3
WARM_UP: Final = 0.1
"""The share of steps in which the rate rises from a tenth."""

SEED: Final = 1

BITS: Final = (8, 7, 6, 5)
"""Bits that weights and embeddings may have; the fewest that lose at most `MOST_LOSS` are kept."""

MOST_LOSS: Final = 0.1
"""Decibels below what 8 bits give."""

SAMPLE: Final = 8
"""Frames on which bits are chosen and the result is measured."""


@dataclass(frozen=True)
class Fitted:
    """A clip's row of integers, the bits they cost, and the PSNR (dB) of up to `SAMPLE` frames."""

    values: Ints
    bits: float
    psnr: float


class HnervFit:
    """One clip being fitted: `step` until `done` is `steps`, or earlier; then `finish`.

    `frames` is uint8 `(T, H, W, 3)`; `shape` that of other networks than the quality's. `bits` and
    `psnr` are what `look` saw last. Raises ValueError for a clip without pixels.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        quality: int,
        steps: int,
        *,
        device: str = "cpu",
        shape: Shape | None = None,
    ) -> None:
        count, height, width, _ = frames.shape
        self.shape = shape or shape_of({"frames": count, "height": height, "width": width}, quality)
        self.steps, self.done = steps, 0
        self.bits, self.psnr = math.inf, 0.0
        self._frames, self._device = frames, device
        self._batch = min(BATCH, count)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(SEED)
            encoder, decoder = Encoder(self.shape), Decoder(self.shape)
        self._network = channels_last(
            nn.ModuleDict({"encoder": encoder, "decoder": decoder}).to(device)
        )
        self._encoder, self._decoder = self._network["encoder"], self._network["decoder"]
        self._optimizer = torch.optim.Adam(self._network.parameters(), RATE)
        # What each frame was when it was last seen.
        self._embeddings = torch.zeros(count, *self.shape.embedding)
        self._errors = torch.full((count,), math.nan)

    @staticmethod
    def steps_of(frames: int, epochs: int = EPOCHS) -> int:
        """Return the steps that see each of so many frames in so many epochs."""
        return -(-frames * epochs // min(BATCH, frames))

    def step(self) -> None:
        """Go one step down the gradient."""
        for group in self._optimizer.param_groups:
            group["lr"] = RATE * _rate(self.done / self.steps)
        which = self._which()
        pixels = self._pixels(which)
        with self._quick():
            embeddings = self._encoder(pixels)
            drawn = self._decoder(embeddings)
        errors = self._squared(drawn, pixels)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(errors.mean())
        self._optimizer.step()
        self._errors[which] = errors.detach().cpu()
        self._embeddings[which] = embeddings.detach().float().cpu()
        self.done += 1

    def look(self) -> None:
        """Estimate what the result would be: bits at 8 a weight, errors as frames were last seen.

        It costs no pass of the network.
        """
        self.bits = sum(part.bits for part in self._parts(self._embeddings, BITS[0]))
        self.psnr = _psnr(float(self._errors.nanmean())) if self.done else 0.0

    @torch.inference_mode()
    def preview(self, frame: int = 0) -> NDArray[np.uint8]:
        """Return a frame as the networks draw it now, `(H, W, 3)`."""
        with self._quick():
            drawn = self._decoder(self._encoder(self._pixels([frame])))
        drawn = drawn[0, :, : self.shape.height, : self.shape.width]
        pixels = (drawn.permute(1, 2, 0).float() * 255).round().to(torch.uint8)
        picture: NDArray[np.uint8] = pixels.cpu().numpy()
        return picture

    @torch.inference_mode()
    def finish(self) -> Fitted:
        """Return the clip's integers, in as few bits as `MOST_LOSS` allows."""
        embeddings = torch.cat([self._encoder(self._pixels([k])) for k in range(self.shape.frames)])
        best = self._fitted(embeddings, BITS[0])
        floor = best.psnr - MOST_LOSS
        for bits in BITS[1:]:
            found = self._fitted(embeddings, bits)
            if found.psnr < floor:
                break
            best = found
        self.bits, self.psnr = best.bits, best.psnr
        return best

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` goes on from."""
        tensors = {f"network.{k}": x for k, x in self._network.state_dict().items()}
        for k, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{k}.{name}": value for name, value in moments.items()}
        tensors |= {"embeddings": self._embeddings, "errors": self._errors}
        arrays = {name: x.detach().cpu().clone().numpy() for name, x in tensors.items()}
        arrays["done"] = np.array([self.done])
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state of the same clip, quality and steps."""
        tensors = {k: torch.from_numpy(np.array(v)) for k, v in arrays.items()}
        self._network.load_state_dict(
            {k: tensors[f"network.{k}"] for k in self._network.state_dict()}
        )
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("adam."):
                _, which, key = name.split(".")
                moments.setdefault(int(which), {})[key] = value
        self._optimizer.load_state_dict(
            {"state": moments, "param_groups": self._optimizer.state_dict()["param_groups"]}
        )
        self._embeddings, self._errors = tensors["embeddings"], tensors["errors"]
        self.done = int(arrays["done"][0])

    def _which(self) -> list[int]:
        """Return the frames of this step: all in an order that is new in each epoch."""
        count = self.shape.frames
        found = []
        for place in range(self.done * self._batch, (self.done + 1) * self._batch):
            epoch, at = divmod(place, count)
            found.append(int(np.random.default_rng([SEED, epoch]).permutation(count)[at]))
        return found

    def _pixels(self, which: list[int]) -> Tensor:
        """Return frames in 0 to 1, padded by their edges."""
        high, wide = self.shape.padded
        _, height, width, _ = self._frames.shape
        pixels = torch.from_numpy(self._frames[which]).to(self._device).permute(0, 3, 1, 2)
        padding = (0, wide - width, 0, high - height)
        return F.pad(pixels.float() / 255, padding, mode="replicate").contiguous(
            memory_format=torch.channels_last
        )

    def _squared(self, drawn: Tensor, pixels: Tensor) -> Tensor:
        """Return the mean squared error of each frame, without the padding."""
        difference = (drawn - pixels)[:, :, : self.shape.height, : self.shape.width]
        return difference.square().mean((1, 2, 3))

    def _quick(self) -> torch.autocast:
        kind = torch.device(self._device).type
        quick = kind != "cpu" or quick_dtype(kind) == torch.bfloat16
        return torch.autocast(kind, torch.bfloat16, quick)

    def _parts(self, embeddings: Tensor, bits: int) -> list[Quantized]:
        """Return all segments quantized; biases, which are few, have as many bits as fit."""
        segments = segments_of(self.shape)
        most = (1 << (bits - 1)) - 1
        numbers = tensors_of(embeddings, self._decoder.state_dict())
        return [
            quantized(x, s.finest, LARGEST if s.name.endswith("bias") else most)
            for x, s in zip(numbers, segments, strict=True)
        ]

    def _fitted(self, embeddings: Tensor, bits: int) -> Fitted:
        """Return the row with so many bits, and what it gives on some frames, in float32."""
        parts = self._parts(embeddings, bits)
        numbers = [torch.from_numpy(p.values * 2.0**-p.fraction).float() for p in parts]
        decoder = channels_last(Decoder(self.shape).to(self._device))
        decoder.load_state_dict(dict(zip(decoder.state_dict(), numbers[1:], strict=True)))
        count = min(SAMPLE, self.shape.frames)
        errors = []
        for k in range(count):
            frame = k * self.shape.frames // count
            drawn = decoder(numbers[0][frame : frame + 1].to(self._device))
            errors.append(self._squared((drawn * 255).round() / 255, self._pixels([frame])))
        row = pack(parts, segments_of(self.shape))
        return Fitted(row, sum(p.bits for p in parts), _psnr(float(torch.cat(errors).mean())))


def _rate(share: float) -> float:
    """Return what the rate is multiplied by, when so much of the fit is over."""
    if share < WARM_UP:
        return 0.1 + 0.9 * share / WARM_UP
    return 0.5 * (math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)) + 1)


def _psnr(error: float) -> float:
    return -10 * math.log10(max(error, 1e-10))
