"""EnCodec (Défossez et al. 2022), from `transformers.EncodecModel`: 24 kHz, 48 kHz and others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.audio_codec import HubAudio, sound_facts
from omnicodec.codecs.hub.blocks import Joiner, OverlapAdd
from omnicodec.codecs.hub.causal import PAD_MODES, CausalLayers
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.hub_codec import Array
from omnicodec.codecs.hub.libraries import pretrained
from omnicodec.codecs.hub.padding import pad_exactly
from omnicodec.codecs.hub.streams import BlockDecoder, BlockEncoder, HubStream
from omnicodec.codecs.hub.weight_norm import fuse_weight_norm

if TYPE_CHECKING:
    import torch

_SCALE_BITS: Final = 32


class EncodecCodec(HubAudio):
    """EnCodec: residual vector quantization of the frames of a convolutional network.

    Where it normalises, a clip or segment is divided by its loudness. That number is a part of
    the codes: they begin with a few columns that hold the bits of its float32, and the frames
    follow. A network that is neither causal nor works on segments runs on whole clips.
    """

    citation: ClassVar[str] = "EnCodec: Défossez et al. 2022, arXiv:2210.13438"

    @classmethod
    def variant(cls, snapshot: Snapshot) -> type[EncodecCodec]:
        config = cls._configuration(snapshot)
        if config.chunk_length is not None:
            return EncodecSegments
        return EncodecBlocks if _is_causal(config) else cls

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
        elif _is_causal(config):
            details["reach"] = "an LSTM: tokens depend on all before them, and on nothing behind"
        else:
            details["reach"] = "tokens depend on the whole clip, which runs at once"
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
        fuse_weight_norm(self._model)

    def _columns(self, samples: int) -> int:
        return self._head + super()._columns(samples)

    def _samples_of(self, columns: int) -> int:
        return super()._samples_of(columns - self._head)

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        import torch

        model, scale = self._model, None
        if self.config.normalize:
            mono = batch.sum(1, keepdim=True) / batch.shape[1]
            scale = mono.pow(2).mean(-1, keepdim=True).sqrt() + 1e-8
            batch = batch / scale
        found = _quantized(model, model.encoder(batch), books)
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

    def _check_codes(self, codes: Array) -> None:
        digits = codes[: self._fewest, : self._head].T.reshape(-1).astype(object)
        bits = sum(int(d) << self._bits * i for i, d in enumerate(digits[::-1]))
        if bits >= 0x7F800000:  # infinity; what follows is no number, or negative
            raise InvalidInput(f"the loudness of a segment of {self.spec.name} is none")

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


class EncodecBlocks(HubStream, EncodecCodec):
    """A causal EnCodec, as the one of 24 kHz is: blocks of two seconds, with what layers carry."""

    def _prepare(self) -> None:
        super()._prepare()
        # The library pads the first block alone, which has to be longer than what it is padded by.
        layers = [m for m in self._model.modules() if hasattr(m, "padding_total")]
        self._least = 1 + max(int(layer.padding_total) for layer in layers)

    def _block_encoder(self, books: int) -> BlockEncoder:
        return _CausalEncoder(self._model, books)

    def _block_decoder(self, books: int) -> BlockDecoder:
        return _CausalDecoder(self._model)


class _CausalEncoder(BlockEncoder):
    def __init__(self, model: Any, books: int) -> None:
        self._model, self._books = model, books
        self._layers = CausalLayers(model.encoder.layers)

    def run(self, samples: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        embedded, _ = self._layers.run(samples, lengths)
        return _quantized(self._model, embedded, self._books)


class _CausalDecoder(BlockDecoder):
    def __init__(self, model: Any) -> None:
        self._model = model
        self._layers = CausalLayers(model.decoder.layers)

    def run(self, codes: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        embedded = self._model.quantizer.decode(codes.transpose(0, 1))
        samples, _ = self._layers.run(embedded, lengths)
        return samples


class EncodecSegments(HubStream, EncodecCodec):
    """An EnCodec of segments, as the one of 48 kHz is: a second each, which overlap by a hundredth.

    Each is coded by itself.
    """

    carries: ClassVar[bool] = False

    def _cuts(self) -> tuple[int, int]:
        return self.config.chunk_length, self.config.chunk_stride

    def _joiner(self) -> Joiner:
        return OverlapAdd(self.config.chunk_stride)

    def _silence(self) -> NDArray[np.int32]:
        # Which columns hold loudness is not known where codes are lost: 0 is silence there.
        ids = super()._silence()
        return np.zeros_like(ids) if self._head else ids

    def _block_encoder(self, books: int) -> BlockEncoder:
        return _SegmentEncoder(self, books)

    def _block_decoder(self, books: int) -> BlockDecoder:
        return _SegmentDecoder(self)


class _SegmentEncoder(BlockEncoder):
    def __init__(self, codec: EncodecSegments, books: int) -> None:
        self._codec, self._books = codec, books

    def run(self, samples: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        codec = self._codec
        return _by_length(samples, lengths, lambda x: codec._encode_batch(x, self._books))


class _SegmentDecoder(BlockDecoder):
    def __init__(self, codec: EncodecSegments) -> None:
        self._codec = codec

    def run(self, codes: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        return _by_length(codes, lengths, self._codec._decode_batch)


def _by_length(
    batch: torch.Tensor, lengths: Sequence[int], run: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return what a network makes of rows `(B, ..., T)`, those of each length by themselves.

    Always B at once. What is shorter than the longest is followed by zeros.
    """
    import torch

    if min(lengths) == batch.shape[-1]:
        return run(batch)
    found: torch.Tensor | None = None
    for length in sorted(set(lengths) - {0}, reverse=True):
        part = run(batch[..., :length])
        if found is None:
            found = torch.zeros_like(part)
        for row in (i for i, n in enumerate(lengths) if n == length):
            found[row, :, : part.shape[2]] = part[row]
    assert found is not None  # some row has a block
    return found


def _quantized(model: Any, embedded: torch.Tensor, books: int) -> torch.Tensor:
    """Return the codes `(B, books, n)` of what the encoder gave."""
    import torch

    residual, codes = embedded, []
    for layer in model.quantizer.layers[:books]:
        indices = layer.encode(residual)
        residual = residual - layer.decode(indices)
        codes.append(indices)
    return torch.stack(codes, 1)


def _is_causal(config: Any) -> bool:
    """Return whether what comes later changes nothing, and the library pads as is known here."""
    return bool(
        config.use_causal_conv
        and config.norm_type == "weight_norm"
        and not config.normalize
        and config.trim_right_ratio == 1
        and config.pad_mode in PAD_MODES
    )


def _qualities(config: Any) -> tuple[int, ...]:
    """Return the numbers of codebooks that the target bandwidths stand for."""
    kbps = config.codebook_nbits * config.frame_rate / 1000
    counts = {max(1, math.floor(bandwidth / kbps)) for bandwidth in config.target_bandwidths}
    return tuple(sorted(min(count, config.num_quantizers) for count in counts))


def _head(config: Any) -> int:
    """Return the columns that hold a segment's loudness."""
    bits: int = config.codebook_nbits
    return math.ceil(math.ceil(_SCALE_BITS / bits) / _qualities(config)[0])
