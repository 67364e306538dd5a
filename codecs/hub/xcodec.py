"""X-Codec (Ye et al. 2024), from `transformers.XcodecModel`: 16 kHz, 50 frames a second."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.audio_codec import HubAudio, sound_facts
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.libraries import pretrained

if TYPE_CHECKING:
    import torch


class XcodecCodec(HubAudio):
    """X-Codec: residual vector quantization of what two networks say of a clip of one channel.

    One is convolutional, the other a transformer that was trained on speech. A clip is followed
    by silence up to a multiple of the hop, as the library's feature extractor makes it.
    """

    fills_frames: ClassVar[bool] = True
    citation: ClassVar[str] = "X-Codec: Ye et al. 2024, arXiv:2408.17175"

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        from transformers import XcodecConfig

        config: Any = XcodecConfig.from_dict(dict(snapshot.config))
        # With one stride, frames that agree for one hop agree for any number of them.
        strides = (*config.semantic_model_config.conv_stride, *config.strides)
        hop = config.hop_length
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
            "qualities": tuple(sorted(_bandwidths(config))),
            "details": {"reach": "attention: tokens depend on the whole clip"},
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

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        found = self._model.encode(batch, bandwidth=self._bandwidths[books])
        codes: torch.Tensor = found.audio_codes
        return codes

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model.decode(codes).audio_values
        return found


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
