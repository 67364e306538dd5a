"""DAC (Kumar et al. 2023), from `transformers.DacModel`: 16, 24 and 44.1 kHz."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from omnicodec.codecs.hub.audio_codec import HubAudio, sound_facts
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.libraries import pretrained

if TYPE_CHECKING:
    import torch


class DacCodec(HubAudio):
    """DAC: residual vector quantization of the frames of a convolutional network, of one channel.

    A clip is followed by silence up to a multiple of the hop, as the library's feature extractor
    makes it. Where the network has an odd stride it decodes a few samples less than its frames
    stand for; silence is in their place.
    """

    fills_frames: ClassVar[bool] = True
    citation: ClassVar[str] = "DAC: Kumar et al. 2023, arXiv:2306.06546"

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        from transformers import DacConfig

        return DacConfig.from_dict(dict(snapshot.config))

    @classmethod
    def _facts(cls, config: Any) -> dict[str, Any]:
        books = config.n_codebooks
        return {
            **sound_facts(
                books=books,
                entries=config.codebook_size,
                rate=config.sampling_rate,
                hop=_hop(config),
                channels=1,
            ),
            "qualities": tuple(range(1, books + 1)),
            "details": {"reach": "convolutions: tokens depend on the sound around them only"},
        }

    @classmethod
    def _load(cls, snapshot: Snapshot, config: Any) -> torch.nn.Module:
        from transformers import DacModel

        model: torch.nn.Module = pretrained(DacModel, snapshot)
        return model

    def _prepare(self) -> None:
        self._rate, self._channels = self.config.sampling_rate, 1
        self._hop = _hop(self.config)

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        codes: torch.Tensor = self._model.encode(batch, n_quantizers=books).audio_codes
        return codes

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model.decode(audio_codes=codes).audio_values
        return found[:, None]


def _hop(config: Any) -> int:
    """Return the samples of a frame."""
    return math.prod(config.downsampling_ratios)
