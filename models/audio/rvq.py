"""The network of `audio/rvq`: samples in, a column of codebook indices a frame, samples out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.audio.residual import GainShapeQuantizer
from omnicodec.models.audio.spectrum import MDCT, Envelope, overlap_add, split

LEVEL_SCALE = 4.0
"""Levels are divided by this before a layer sees them: they lie between -9 and 0."""

LARGEST = 6.0
"""Of a bin, in units of the envelope, before networks change it."""


@dataclass(frozen=True, kw_only=True)
class AudioRVQConfig:
    """Shape of the network; the defaults are what `audio/rvq` ships.

    `lookahead` is in frames. The `dims` lowest bins of a frame are quantized. `power` and
    `tilt` say in which measure: a bin of `x` times the envelope counts `x ** power`, and
    bins count by the `tilt`-th power of the envelope and, before training changes that, by
    `(1000 / (700 + Hz)) ** slope`.
    """

    rate: int = 24_000
    hop: int = 480
    lookahead: int = 1
    bands: int = 28
    dims: int = 240
    books: int = 16
    entries: int = 1024
    power: float = 0.7
    tilt: float = 0.5
    slope: float = 0.3
    encoder_channels: int = 256
    encoder_blocks: int = 3
    decoder_channels: int = 320
    decoder_blocks: int = 6
    kernel: int = 7
    expansion: int = 3

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        return cls(**{k: v for k, v in values.items() if k in known})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class CausalBlock(nn.Module):
    """Depthwise convolution over the frames so far, norm, and an MLP, around a residual.

    A ConvNeXt block (Liu et al. 2022, arXiv:2201.03545) in time. It takes `past` frames more
    than it gives back: `(B, past + N, C)` to `(B, N, C)`.
    """

    def __init__(self, channels: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.past = kernel - 1
        bound = kernel**-0.5
        self.depthwise = nn.Parameter(torch.empty(channels, 1, 1, kernel).uniform_(-bound, bound))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, expansion * channels)
        self.project = nn.Linear(expansion * channels, channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor) -> Tensor:
        # `(B, T, C)` seen as `(B, C, 1, T)` is already in channels-last memory.
        seen = x.permute(0, 2, 1)[:, :, None]
        mixed = F.conv2d(seen, self.depthwise, groups=x.shape[-1])[:, :, 0].permute(0, 2, 1)
        y: Tensor = x[:, self.past :] + self.project(F.gelu(self.expand(self.norm(mixed))))
        return y


class CausalStack(nn.Module):
    """An input layer, blocks and an output layer that begins as zero.

    It runs whole or piece by piece: `history` holds for each block the frames before the
    piece; a stream begins with zeros.
    """

    def __init__(
        self, inputs: int, channels: int, blocks: int, outputs: int, kernel: int, expansion: int
    ) -> None:
        super().__init__()
        self.channels = channels
        self.past = kernel - 1
        self.embed = nn.Linear(inputs, channels)
        self.blocks = nn.ModuleList(CausalBlock(channels, kernel, expansion) for _ in range(blocks))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Linear(channels, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def history(self, batch: int = 1) -> list[Tensor]:
        """Return what comes before the first frame."""
        like = self.head.weight
        return [like.new_zeros(batch, self.past, self.channels) for _ in self.blocks]

    def forward(self, x: Tensor, history: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output of `(B, N, inputs)`, and all inputs of each block with their history.

        The history of a piece that ends after `n` of the N frames is `seen[:, n : n + past]`
        of each.
        """
        hidden = self.embed(x.to(self.embed.weight.dtype))
        seen = []
        for block, before in zip(self.blocks, history, strict=True):
            seen.append(torch.cat([before.to(hidden.dtype), hidden], 1))
            hidden = block(seen[-1])
        return self.head(self.norm(hidden)).float(), seen


class AudioRVQ(nn.Module):
    """Encoder, residual quantizer and decoder around a lapped transform.

    The first codebook says how loud the bands of a frame are; the others code the shape of
    the spectrum under that envelope, so that they need not know any level (a gain-shape
    quantizer). With the encoder's and decoder's networks at zero, as they begin, that is a
    plain transform codec; the one learns which shape to ask for, the other what the shape
    most likely was. Every layer runs once a frame of `hop` samples, where EnCodec and DAC
    run chains of convolutions at the rate of the samples.

    Samples are float `(B, T)` at `config.rate`, T whole hops. Frame n is centred on sample
    n * hop, so that T samples have T / hop + 1 frames.
    """

    slope: Tensor

    def __init__(self, config: AudioRVQConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.mdct = MDCT(c.hop)
        self.envelope = Envelope(c.rate, c.hop, c.bands)
        bands = self.envelope.bands
        self.encoder = CausalStack(
            (1 + c.lookahead) * (c.hop + bands), c.encoder_channels, c.encoder_blocks,
            c.dims, c.kernel, c.expansion,
        )  # fmt: skip
        self.quantizer = GainShapeQuantizer(c.books, c.entries, bands, c.dims)
        self.decoder = CausalStack(
            c.dims + bands, c.decoder_channels, c.decoder_blocks, 2 * c.hop, c.kernel, c.expansion
        )
        hertz = (torch.arange(c.dims) + 0.5) * c.rate / (2 * c.hop)
        self.register_buffer("slope", (1000 / (700 + hertz)) ** c.slope, persistent=False)
        self.weights = nn.Parameter(torch.zeros(c.dims))

    def analyse(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return the levels' indices `(B, T / hop + 1)`, and shapes to quantize `(..., dims)`."""
        ahead, hop = self.config.lookahead, self.config.hop
        frames = split(F.pad(samples, (hop, hop * (1 + ahead))), 2, hop)
        first, shapes, _ = self.analyse_frames(frames, self.encoder.history(len(frames)))
        return first, shapes

    def levels(self, samples: Tensor) -> Tensor:
        """Return the levels to quantize, `(B, T / hop + 1, bands)`."""
        hop = self.config.hop
        levels: Tensor = self.envelope(self.mdct(split(F.pad(samples, (hop, hop)), 2, hop)))
        return levels

    def analyse_frames(
        self, frames: Tensor, history: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return levels' indices and shapes of N frames, `(B, N + lookahead, 2 * hop)`.

        The last are only looked ahead at. The shapes are under the envelope that the
        quantized levels have.
        """
        c = self.config
        count = frames.shape[1] - c.lookahead
        with torch.autocast(frames.device.type, enabled=False):
            spectrum = self.mdct(frames)
            first = self.quantizer.level_indices(self.envelope(spectrum))
            known = self.quantizer.levels[first]
            curve = self.envelope.curve(known)
            flat = spread(spectrum / curve, c.power)
        features = torch.cat([flat, known / LEVEL_SCALE], -1)
        ahead = [features[:, n : n + count] for n in range(c.lookahead + 1)]
        change, seen = self.encoder(torch.cat(ahead, -1), history)
        plain = flat[:, :count, : c.dims] * self._measure(curve[:, :count])
        return first[:, :count], plain + change, seen

    def render(self, levels: Tensor, shapes: Tensor) -> Tensor:
        """Return the samples of N quantized levels and shapes: `(B, (N - 1) * hop)`."""
        frames, _ = self.render_frames(levels, shapes, self.decoder.history(len(levels)))
        return overlap_add(frames)

    def render_frames(
        self, levels: Tensor, shapes: Tensor, history: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return frames of samples, `(B, N, 2 * hop)`."""
        c = self.config
        change, seen = self.decoder(torch.cat([shapes, levels / LEVEL_SCALE], -1), history)
        with torch.autocast(shapes.device.type, enabled=False):
            gain, added = change.chunk(2, -1)
            curve = self.envelope.curve(levels)
            low = (shapes.float() / self._measure(curve)).clamp(-LARGEST, LARGEST)
            low = spread(low, 1 / c.power)
            spectrum = torch.cat([low, self._replica(low)], -1)
            frames: Tensor = self.mdct.inverse(curve * (spectrum * (1 + gain) + added))
        return frames, seen

    def _measure(self, curve: Tensor) -> Tensor:
        """Return what the bins to quantize count, `(..., dims)`, whatever the level."""
        own = self.slope * self.weights.exp()
        weights = curve[..., : self.config.dims] ** self.config.tilt * own
        return weights / weights.square().mean(-1, keepdim=True).sqrt()

    def _replica(self, low: Tensor) -> Tensor:
        """Return what the bins above begin with: the highest of those below, levelled.

        Spectral band replication, as in HE-AAC (Dietz et al. 2002).
        """
        width = self.config.hop - self.config.dims
        copy = low[..., -width:]
        around = F.avg_pool1d(copy.square(), 15, 1, 7, count_include_pad=False)
        return copy * torch.rsqrt(around + 0.01)

    def encode(self, samples: Tensor, used: int) -> Tensor:
        """Return indices `(K, B, N)`."""
        return self.quantizer.indices(*self.analyse(samples), used)

    def decode(self, indices: Tensor) -> Tensor:
        """Return the samples of indices, not limited to -1 to 1."""
        return self.render(*self.quantizer.vectors(indices))


def spread(x: Tensor, power: float) -> Tensor:
    """Return the magnitudes raised to a power, with their signs."""
    # Quicker than a power.
    return x * torch.exp((power - 1) * torch.log(x.abs() + 1e-4))


def build(
    config: AudioRVQConfig, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32
) -> AudioRVQ:
    """Return the network with these weights, ready for inference.

    `dtype` is what the layers of encoder and decoder compute in, as in training bfloat16 if
    the machine is quick at it; transforms and codebooks are always float32.
    """
    network = AudioRVQ(config)
    network.load_state_dict({k: v.float() for k, v in tensors.items()})
    network.quantizer.shapes.freeze()
    network.encoder.to(dtype)
    network.decoder.to(dtype)
    return network.eval().requires_grad_(False)
