"""DAC (Kumar et al. 2023), from `transformers.DacModel`: 16, 24 and 44.1 kHz."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from omnicodec.codecs.hub.audio_codec import EXTENT, HubAudio, Samples
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

    citation: ClassVar[str] = "DAC: Kumar et al. 2023, arXiv:2306.06546"

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        from transformers import DacConfig

        return DacConfig.from_dict(dict(snapshot.config))

    @classmethod
    def _facts(cls, config: Any) -> dict[str, Any]:
        books = config.n_codebooks
        rate = config.sampling_rate / _hop(config)
        return {
            "summary": f"up to {books} tokens of {config.codebook_size.bit_length() - 1} bits, "
            f"{rate:.3g} times a second of {config.sampling_rate / 1000:g} kHz sound",
            "codebook_sizes": (config.codebook_size,) * books,
            "covers": {"seconds": 1 / rate, "channels": 1},
            "extent": EXTENT,
            "grid_rank": 2,
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

    def _columns(self, samples: int) -> int:
        return -(-samples // self._hop)

    def _shaped(self, segment: Samples) -> Samples:
        return np.pad(segment, ((0, 0), (0, -segment.shape[1] % self._hop)))

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        codes: torch.Tensor = self._model.encode(batch, n_quantizers=books).audio_codes
        return codes

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model.decode(audio_codes=codes).audio_values
        return found[:, None]


def _hop(config: Any) -> int:
    """Return the samples of a frame."""
    return int(np.prod(config.downsampling_ratios))
