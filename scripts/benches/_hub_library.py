"""Published networks as their own libraries are called, one item at a time.

Adapters are measured beside them, and their tokens compared with theirs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from omnicodec.codecs import Audio, InvalidInput, Tokens

Array = NDArray[Any]


@dataclass(frozen=True)
class Coded:
    """What a library made of an item; `output` is for its decoder.

    `pieces` are codes `(K, n)` of the segments that it makes, in most cases one, or real values
    `(N, D)`.
    """

    pieces: tuple[Array, ...]
    output: Any
    samples: int = 0


def rate_and_channels(config: Any) -> tuple[int, int]:
    """Return those of a network of sound; zeros for others."""
    rate = getattr(config, "sampling_rate", None) or getattr(config, "sample_rate", 0)
    return rate, getattr(config, "audio_channels", 1) if rate else 0


class Library(ABC):
    """A network, called as the documentation of its library says."""

    decodes: ClassVar[bool] = True
    rate: int = 0
    channels: int = 0

    def __init__(self, network: Any, device: str = "cpu") -> None:
        self.network = network.eval().requires_grad_(False).to(device)
        self.device = device

    @abstractmethod
    def encode(self, item: Any) -> Coded:
        """Return the codes of an item, on the CPU."""

    @abstractmethod
    def decode(self, coded: Coded) -> Array:
        """Return samples `(C, T)`, or pixels `(..., H, W, 3)` of bytes."""


class Sound(Library):
    """One of sound: its feature extractor adds silence up to whole frames where it wants them."""

    fills: ClassVar[bool] = False

    def __init__(self, network: Any, device: str = "cpu") -> None:
        super().__init__(network, device)
        self.rate, self.channels = rate_and_channels(network.config)

    @torch.inference_mode()
    def encode(self, item: Audio) -> Coded:
        samples = item.samples
        if self.fills:
            short = -samples.shape[1] % int(self.network.config.hop_length)
            samples = np.pad(samples, ((0, 0), (0, short)))
        x = torch.tensor(samples, device=self.device)[None]
        return Coded(*self._codes(x), item.samples.shape[1])

    @torch.inference_mode()
    def decode(self, coded: Coded) -> Array:
        values = self._values(coded.output).cpu().numpy()
        found: Array = values.reshape(self.channels, -1)[:, : coded.samples]
        return found

    @abstractmethod
    def _codes(self, x: torch.Tensor) -> tuple[tuple[Array, ...], Any]:
        """Return pieces and output of samples `(1, C, T)`."""

    @abstractmethod
    def _values(self, output: Any) -> torch.Tensor:
        """Return the samples of an output."""


class Encodec(Sound):
    def _codes(self, x: torch.Tensor) -> tuple[tuple[Array, ...], Any]:
        found = self.network.encode(x, bandwidth=self.network.config.target_bandwidths[-1])
        *whole, last = found.audio_codes[:, 0].cpu().numpy()
        length = last.shape[1] - (found.last_frame_pad_length or 0)
        return (*whole, last[:, :length]), found

    def _values(self, output: Any) -> torch.Tensor:
        values: torch.Tensor = self.network.decode(
            output.audio_codes,
            output.audio_scales,
            last_frame_pad_length=output.last_frame_pad_length or 0,
        ).audio_values
        return values


class Mimi(Sound):
    def _codes(self, x: torch.Tensor) -> tuple[tuple[Array, ...], Any]:
        return _one(self.network.encode(x, num_quantizers=self.network.config.num_quantizers))

    def _values(self, output: Any) -> torch.Tensor:
        values: torch.Tensor = self.network.decode(output).audio_values
        return values


class Dac(Sound):
    fills = True

    def _codes(self, x: torch.Tensor) -> tuple[tuple[Array, ...], Any]:
        return _one(self.network.encode(x))

    def _values(self, output: Any) -> torch.Tensor:
        values: torch.Tensor = self.network.decode(audio_codes=output).audio_values
        return values


class Xcodec(Mimi):
    fills = True

    def _codes(self, x: torch.Tensor) -> tuple[tuple[Array, ...], Any]:
        return _one(self.network.encode(x, bandwidth=self.network.config.target_bandwidths[-1]))


class Pictures(Library):
    """One of pictures."""

    @torch.inference_mode()
    def encode(self, item: Any) -> Coded:
        pixels = torch.tensor(item.pixels, device=self.device).permute(2, 0, 1)[None]
        return self._codes(self._input(pixels.float()))

    @torch.inference_mode()
    def decode(self, coded: Coded) -> Array:
        pixels = ((self._values(coded.output) + 1) * 127.5).round().clamp(0, 255).byte()
        found: Array = pixels.movedim(1, -1)[0].cpu().numpy()
        return found

    def _input(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels 0..255 as the library's own processor makes them."""
        return pixels / 127.5 - 1

    @abstractmethod
    def _codes(self, x: torch.Tensor) -> Coded:
        """Return what is made of `(1, 3, H, W)`."""

    @abstractmethod
    def _values(self, output: Any) -> torch.Tensor:
        """Return pixels -1..1 `(1, 3, H, W)` of an output."""


class Vq(Pictures):
    """`diffusers.VQModel`. No method hands out its codes: they are taken from its quantizer."""

    def _codes(self, x: torch.Tensor) -> Coded:
        latents = self.network.encode(x).latents
        codes = self.network.quantize(latents)[2][2]
        return Coded((_row(codes),), (codes, (1, *latents.shape[2:], latents.shape[1])))

    def _values(self, output: Any) -> torch.Tensor:
        codes, shape = output
        self.network.register_to_config(lookup_from_codebook=True)
        values: torch.Tensor = self.network.decode(
            codes.flatten(), force_not_quantize=True, shape=shape
        ).sample
        return values


class Janus(Pictures):
    shift: ClassVar[float] = 127.5

    def _input(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels - self.shift) / self.shift

    def _codes(self, x: torch.Tensor) -> Coded:
        codes = self.network.encode(x).image_tokens
        side = math.isqrt(x.shape[2] * x.shape[3] // codes.numel())
        return Coded((_row(codes),), codes.reshape(1, x.shape[2] // side, x.shape[3] // side))

    def _values(self, output: Any) -> torch.Tensor:
        # The library's own is for one size only.
        self.network.quantize.quant_state_dims = list(output.shape[1:])
        values: torch.Tensor = self.network.decode(output.flatten(1))
        return values


class Chameleon(Janus):
    decodes = False
    shift = 1 / 0.0078


class Emu3(Janus):
    def _codes(self, x: torch.Tensor) -> Coded:
        (codes,) = self.network.encode(x, torch.tensor([x.shape[2:]])).image_tokens
        return Coded((_row(codes),), codes[None])

    def _values(self, output: Any) -> torch.Tensor:
        values: torch.Tensor = self.network.decode(output)
        return values


class Latents(Pictures):
    """`diffusers.AutoencoderKL`: the means of its latents."""

    def _codes(self, x: torch.Tensor) -> Coded:
        latents = self.network.encode(x).latent_dist.mode()
        rows = latents[0].flatten(1).T.contiguous().cpu().numpy()
        return Coded((rows,), latents)

    def _values(self, output: Any) -> torch.Tensor:
        values: torch.Tensor = self.network.decode(output).sample
        return values


class Clips(Latents):
    """`diffusers.AutoencoderKLCosmos`, of clips."""

    @torch.inference_mode()
    def encode(self, item: Any) -> Coded:
        pixels = torch.tensor(item.frames, device=self.device).permute(3, 0, 1, 2)[None]
        return self._codes(self._input(pixels.float()))


def _one(output: Any) -> tuple[tuple[Array, ...], Any]:
    return (output.audio_codes[0].cpu().numpy(),), output.audio_codes


def _row(codes: torch.Tensor) -> Array:
    found: Array = codes.reshape(1, -1).cpu().numpy()
    return found


def differing(tokens: Tokens, coded: Coded) -> tuple[int, int]:
    """Return how many of an item's codes, or real values, differ from the library's, and of all.

    Raises `InvalidInput` where there are not as many.
    """
    if tokens.soft is not None:
        ours, theirs = [tokens.soft], list(coded.pieces)
    else:
        ours, theirs = _bodies(tokens.ids, coded.pieces), list(coded.pieces)
    if [a.shape for a in ours] != [b.shape for b in theirs]:
        raise InvalidInput(
            f"the adapter has {[a.shape for a in ours]}, the library {[b.shape for b in theirs]}"
        )
    pairs = list(zip(ours, theirs, strict=True))
    return sum(int((a != b).sum()) for a, b in pairs), sum(b.size for b in theirs)


def _bodies(ids: Array, pieces: tuple[Array, ...]) -> list[Array]:
    """Return ids cut into pieces; columns before each that the library has not are left out."""
    head = (ids.shape[1] - sum(piece.shape[1] for piece in pieces)) // len(pieces)
    found, at = [], 0
    for piece in pieces:
        at += head
        found.append(ids[: len(piece), at : at + piece.shape[1]])
        at += piece.shape[1]
    return found
