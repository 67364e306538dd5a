"""The network of `audio/rvq`: samples in, a column of codebook indices a frame, samples out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.audio.residual import ResidualQuantizer
from omnicodec.models.audio.spectrum import Analysis, Synthesis, overlap_add, split


@dataclass(frozen=True, kw_only=True)
class AudioRVQConfig:
    """Shape of the network; the defaults are what `audio/rvq` ships.

    Every layer runs once a frame of `hop` samples, where EnCodec and DAC run chains of
    convolutions at the rate of the samples. `lookahead` is in frames;
    `waves` is how many of the `dims` to quantize begin as the parts of the lowest bins.
    """

    rate: int = 24_000
    hop: int = 480
    lookahead: int = 1
    encoder_channels: int = 256
    encoder_blocks: int = 5
    decoder_channels: int = 320
    decoder_blocks: int = 6
    kernel: int = 7
    expansion: int = 3
    dims: int = 128
    waves: int = 96
    books: int = 16
    entries: int = 1024

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
    """An input layer, blocks and an output layer, with a matrix beside them all.

    It runs whole or piece by piece.

    `history` holds for each block the frames before the piece; a stream begins with zeros.
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
        self.skip = nn.Linear(inputs, outputs, bias=False)

    def history(self, batch: int = 1) -> list[Tensor]:
        """Return what comes before the first frame."""
        like = self.head.weight
        return [like.new_zeros(batch, self.past, self.channels) for _ in self.blocks]

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, self.history(x.shape[0]))[0]

    def run(self, x: Tensor, history: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output of `(B, N, inputs)`, and all inputs of each block with their history.

        The history of a piece that ends after `n` of the N frames is `seen[:, n : n + past]`
        of each.
        """
        hidden = self.embed(x)
        seen = []
        for block, before in zip(self.blocks, history, strict=True):
            seen.append(torch.cat([before.to(hidden.dtype), hidden], 1))
            hidden = block(seen[-1])
        return self.head(self.norm(hidden)) + self.skip(x), seen


class AudioRVQ(nn.Module):
    """Encoder, residual quantizer and decoder.

    Samples are float `(B, T)` at `config.rate`, T whole hops. Frame n is centred on sample
    n * hop, so that T samples have T / hop + 1 frames.
    """

    def __init__(self, config: AudioRVQConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.analysis = Analysis(c.hop)
        self.synthesis = Synthesis(c.hop)
        self.encoder = CausalStack(
            (1 + c.lookahead) * self.analysis.features, c.encoder_channels, c.encoder_blocks,
            c.dims, c.kernel, c.expansion,
        )  # fmt: skip
        self.quantizer = ResidualQuantizer(c.books, c.entries, c.dims)
        self.decoder = CausalStack(
            c.dims, c.decoder_channels, c.decoder_blocks, self.synthesis.features,
            c.kernel, c.expansion,
        )  # fmt: skip
        self._begin_with_waves()

    @torch.no_grad()
    def _begin_with_waves(self) -> None:
        """Let the vectors begin with the lowest bins of the spectrum, and the blocks as nothing.

        Phase is what training finds last, if at all; so it begins with a codec that has the
        lowest `waves / 2` bins right, and learns everything else.
        """
        for stack in (self.encoder, self.decoder):
            stack.head.weight.mul_(0.1)
            nn.init.zeros_(stack.head.bias)
            nn.init.zeros_(stack.skip.weight)
        dims = torch.arange(self.config.waves)
        self.encoder.skip.weight[dims, dims + 2] = 1.0  # past the bin of 0 Hz
        self.decoder.skip.weight[dims + 2, dims] = 1.0

    def analyse(self, samples: Tensor) -> Tensor:
        """Return the vectors to quantize, `(B, T / hop + 1, dims)`."""
        ahead = self.config.lookahead
        hop = self.config.hop
        rows = split(F.pad(samples, (hop, hop * (1 + ahead))), 2 + ahead, hop)
        vectors: Tensor = self.encoder(self.features(rows))
        return vectors

    def features(self, rows: Tensor) -> Tensor:
        """Return what the encoder sees of rows `(B, N, (2 + lookahead) * hop)` of samples.

        A row holds a frame and those that are looked ahead at.
        """
        hop = self.config.hop
        frames = rows.unfold(-1, 2 * hop, hop)
        features: Tensor = self.analysis(frames).flatten(-2)
        return features

    def render(self, vectors: Tensor) -> Tensor:
        """Return the samples of N vectors: `(B, (N - 1) * hop)`."""
        return overlap_add(self.synthesis(self.decoder(vectors)))

    def encode(self, samples: Tensor, used: int) -> Tensor:
        """Return indices `(K, B, N)`."""
        return self.quantizer.indices(self.analyse(samples), used)

    def decode(self, indices: Tensor) -> Tensor:
        """Return the samples of indices, not limited to -1 to 1."""
        return self.render(self.quantizer.vectors(indices))


def build(config: AudioRVQConfig, tensors: Mapping[str, Tensor]) -> AudioRVQ:
    """Return the network with these weights, ready for inference in float32."""
    network = AudioRVQ(config)
    network.load_state_dict({k: v.float() for k, v in tensors.items()})
    return network.eval().requires_grad_(False)
