"""EnCodec (Défossez et al. 2022), from `transformers.EncodecModel`: 24 kHz, 48 kHz and others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.audio_codec import HubAudio, Samples, sound_facts
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.hub_codec import Array
from omnicodec.codecs.hub.libraries import pretrained
from omnicodec.codecs.hub.padding import pad_exactly
from omnicodec.codecs.tokens import Tokens

if TYPE_CHECKING:
    import torch

_SCALE_BITS: Final = 32


class EncodecCodec(HubAudio):
    """EnCodec: residual vector quantization of the frames of a convolutional network.

    Models that normalise (48 kHz) work on segments of a second which overlap by a hundredth,
    each divided by its loudness. That number is a part of the codes: a segment begins with a few
    columns that hold the bits of its float32, and the frames follow.
    """

    citation: ClassVar[str] = "EnCodec: Défossez et al. 2022, arXiv:2210.13438"

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        from transformers import EncodecConfig

        config = EncodecConfig.from_dict(dict(snapshot.config))
        if config.chunk_length is not None and config.chunk_stride is None:
            raise InvalidInput(f"{snapshot.name} has a chunk_length_s but no overlap")
        return config

    @classmethod
    def _facts(cls, config: Any) -> dict[str, Any]:
        details = {}
        if config.chunk_length is not None:
            details["segments"] = (
                f"{config.chunk_length_s:g} s, a new one each "
                f"{config.chunk_stride / config.sampling_rate:g} s, coded each by itself"
            )
        if config.normalize:
            details["loudness"] = f"in the first {_head(config)} columns of a segment"
        return {
            **sound_facts(
                books=config.num_quantizers,
                entries=config.codebook_size,
                rate=config.sampling_rate,
                hop=int(config.hop_length),
                channels=config.audio_channels,
            ),
            "qualities": _qualities(config),
            "details": details,
        }

    @classmethod
    def _load(cls, snapshot: Snapshot, config: Any) -> torch.nn.Module:
        from transformers import EncodecModel

        model: torch.nn.Module = pretrained(EncodecModel, snapshot)
        return model

    def _prepare(self) -> None:
        config = self.config
        self._rate, self._channels = config.sampling_rate, config.audio_channels
        self._hop = int(config.hop_length)
        self._head = _head(config) if config.normalize else 0
        self._bits = config.codebook_nbits
        self._fewest = _qualities(config)[0]
        pad_exactly(self._model)

    def _columns(self, samples: int) -> int:
        return self._head + super()._columns(samples)

    def _segments(self, samples: int) -> list[tuple[int, int]]:
        length = self.config.chunk_length
        if length is None:
            return super()._segments(samples)
        starts = range(0, samples, self.config.chunk_stride)
        return [(start, min(start + length, samples)) for start in starts]

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        import torch

        model, scale = self._model, None
        if self.config.normalize:
            mono = batch.sum(1, keepdim=True) / batch.shape[1]
            scale = mono.pow(2).mean(-1, keepdim=True).sqrt() + 1e-8
            batch = batch / scale
        embedded = model.encoder(batch)
        residual, codes = embedded, []
        for layer in model.quantizer.layers[:books]:
            indices = layer.encode(residual)
            residual = residual - layer.decode(indices)
            codes.append(indices)
        found = torch.stack(codes, 1)
        if scale is None:
            return found
        return torch.cat([self._scale_codes(scale.view(-1), books), found], 2)

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        embedded = self._model.quantizer.decode(codes[:, :, self._head :].transpose(0, 1))
        found: torch.Tensor = self._model.decoder(embedded)
        if not self._head:
            return found
        scales = self._scales(codes[:, : self._fewest, : self._head])
        return found * scales.view(-1, 1, 1)

    def _code_pieces(self, tokens: Tokens, ids: NDArray[np.int32]) -> Iterable[Array]:
        for piece in super()._code_pieces(tokens, ids):
            if self._head:
                digits = piece[: self._fewest, : self._head].T.reshape(-1).astype(object)
                bits = sum(int(d) << self._bits * i for i, d in enumerate(digits[::-1]))
                if bits >= 0x7F800000:  # infinity; what follows is no number, or negative
                    raise InvalidInput(f"the loudness of a segment of {self.spec.name} is none")
            yield piece

    def _scale_codes(self, scales: torch.Tensor, books: int) -> torch.Tensor:
        """Return float32 scales `(B,)` as columns `(B, books, head)`: digits, the first largest."""
        import torch

        places = self._head * self._fewest
        shifts = torch.arange(places - 1, -1, -1, device=scales.device) * self._bits
        bits = scales.view(torch.int32).to(torch.int64)[:, None]
        # A shift by 64 bits or more would be none.
        digits = torch.where(shifts < 63, bits >> shifts.clamp(max=62), 0) % (1 << self._bits)
        columns = digits.view(-1, self._head, self._fewest).transpose(1, 2)
        return torch.nn.functional.pad(columns, (0, 0, 0, books - self._fewest))

    def _scales(self, columns: torch.Tensor) -> torch.Tensor:
        """Return the scales `(B,)` of columns `(B, fewest, head)`."""
        import torch

        digits = columns.transpose(1, 2).reshape(len(columns), -1)
        places = digits.shape[1]
        shifts = torch.arange(places - 1, -1, -1, device=digits.device) * self._bits
        bits = torch.where(shifts < 63, digits << shifts.clamp(max=62), 0).sum(1)
        return bits.to(torch.int32).view(torch.float32)

    def _join(self, segments: Sequence[Samples], samples: int) -> Samples:
        if self.config.chunk_length is None:
            return super()._join(segments, samples)
        stride, total = self.config.chunk_stride, segments[-1].shape[1]
        total += self.config.chunk_stride * (len(segments) - 1)
        weight = _triangle(segments[0].shape[1])
        out = np.zeros((self._channels, total), np.float32)
        sums = np.zeros(total, np.float32)
        for i, segment in enumerate(segments):
            place = slice(i * stride, i * stride + segment.shape[1])
            out[:, place] += weight[: segment.shape[1]] * segment
            sums[place] += weight[: segment.shape[1]]
        out /= sums
        return super()._join([out], samples)


def _triangle(length: int) -> Samples:
    """Return the weights of a segment where it overlaps with its neighbours."""
    import torch

    time = torch.linspace(0, 1, length + 2)[1:-1]
    weight: Samples = (0.5 - (time - 0.5).abs()).numpy()
    return weight


def _qualities(config: Any) -> tuple[int, ...]:
    """Return the numbers of codebooks that the target bandwidths stand for."""
    kbps = config.codebook_nbits * config.frame_rate / 1000
    counts = {max(1, math.floor(bandwidth / kbps)) for bandwidth in config.target_bandwidths}
    return tuple(sorted(min(count, config.num_quantizers) for count in counts))


def _head(config: Any) -> int:
    """Return the columns that hold a segment's loudness."""
    bits: int = config.codebook_nbits
    return math.ceil(math.ceil(_SCALE_BITS / bits) / _qualities(config)[0])
