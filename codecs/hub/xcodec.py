"""X-Codec (Ye et al. 2024), from `transformers.XcodecModel`: 16 kHz, 50 frames a second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.audio_codec import EXTENT, sound_facts
from omnicodec.codecs.hub.chunks import WindowedAudio, decoder_reach, window_frames
from omnicodec.codecs.hub.dac import check_strides
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.libraries import pretrained
from omnicodec.codecs.hub.weight_norm import fuse_weight_norm
from omnicodec.codecs.media import Audio

if TYPE_CHECKING:
    import torch

CHUNK_SECONDS: Final = 30.0
"""What the network hears at once: memory of attention grows with the square of it."""


class XcodecCodec(WindowedAudio):
    """X-Codec: residual vector quantization of what two networks say of a clip of one channel.

    One is convolutional, the other a transformer that was trained on speech. A clip is followed
    by silence up to a multiple of the hop, as the library's feature extractor makes it.

    The transformer looks at all that it is given, so a long clip is cut in chunks, as few and as
    even as can be, of which each is coded by itself. The extent tells their length at most, in
    samples at the network's rate. The decoder looks at a frame's neighbours only, and goes over
    their borders.
    """

    fills_frames: ClassVar[bool] = True
    citation: ClassVar[str] = "X-Codec: Ye et al. 2024, arXiv:2408.17175"

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        from transformers import XcodecConfig

        config: Any = XcodecConfig.from_dict(dict(snapshot.config))
        # With one stride, frames that agree for one hop agree for any number of them.
        strides = (*config.semantic_model_config.conv_stride, *config.strides)
        hop = int(config.hop_length)
        check_strides(snapshot.name, config.acoustic_model_config, hop)
        if math.prod(strides) != hop or _semantic(config, hop) != 1:
            raise InvalidInput(f"the two networks of {snapshot.name} have frames of other lengths")
        return config

    @classmethod
    def _facts(cls, config: Any) -> dict[str, Any]:
        return {
            **sound_facts(
                books=config.num_quantizers,
                entries=config.codebook_size,
                rate=config.sample_rate,
                hop=int(config.hop_length),
                channels=1,
            ),
            "extent": (*EXTENT, "chunk"),
            "usual": {"chunk": _chunk(config)},
            "qualities": tuple(sorted(_bandwidths(config))),
            "details": {
                "reach": "attention: tokens depend on the whole clip, or the chunk of it",
                "chunks": f"of {_chunk(config)} samples ({CHUNK_SECONDS:g} s) at most, as few and "
                "as even as can be, coded each by itself",
            },
        }

    @classmethod
    def _load(cls, snapshot: Snapshot, config: Any) -> torch.nn.Module:
        from transformers import XcodecModel

        model: torch.nn.Module = pretrained(XcodecModel, snapshot)
        return model

    def _prepare(self) -> None:
        self._rate, self._channels = self.config.sample_rate, 1
        self._hop = int(self.config.hop_length)
        self._bandwidths = _bandwidths(self.config)
        self._chunk = _chunk(self.config)
        fuse_weight_norm(self._model)
        self._decoder_reach = decoder_reach(self._model.acoustic_decoder, self._hop)

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        if not 0 < extent["chunk"] < 1 << 31 or extent["chunk"] % self._hop:
            raise InvalidInput(f"{self.spec.name} has no chunks of {extent['chunk']} samples")
        return super().expected_grid(extent, positions)

    def _extent(self, item: Audio, books: int) -> dict[str, int]:
        return {**super()._extent(item, books), "chunk": self._chunk}

    def _segments(self, samples: int) -> list[tuple[int, int]]:
        frames = self.frames(samples)
        count = -(-frames * self._hop // self._chunk)
        stops = [(i + 1) * frames // count * self._hop for i in range(count)]
        return [
            (start, min(stop, samples)) for start, stop in zip([0, *stops], stops, strict=False)
        ]

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        found = self._model.encode(batch, bandwidth=self._bandwidths[books])
        codes: torch.Tensor = found.audio_codes
        return codes

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model.decode(codes).audio_values
        return found


def _chunk(config: Any) -> int:
    """Return the samples of a chunk."""
    hop = int(config.hop_length)
    return window_frames(config.sample_rate, hop, CHUNK_SECONDS) * hop


def _bandwidths(config: Any) -> dict[int, float]:
    """Return for each number of codebooks that is offered a bandwidth which stands for it."""
    kbps = math.log2(config.codebook_size) * config.frame_rate / 1000
    return {
        min(max(1, math.floor(bandwidth / kbps)), config.num_quantizers): bandwidth
        for bandwidth in config.target_bandwidths
    }


def _semantic(config: Any, samples: int) -> int:
    """Return the frames that the semantic network makes of a clip."""
    found = samples + 2 * (config.hop_length // 2)
    semantic = config.semantic_model_config
    for kernel, stride in zip(semantic.conv_kernel, semantic.conv_stride, strict=True):
        found = (found - kernel) // stride + 1
    found += 2 * (config.kernel_size // 2) - (config.kernel_size - 1)
    for stride in config.strides:
        kernel = 3 if stride == 1 else 2 * stride
        found = (found + 2 * ((kernel - 1) // 2) - kernel) // stride + 1
    return int(found)
