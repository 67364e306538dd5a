"""DAC (Kumar et al. 2023), from `transformers.DacModel`: 16, 24 and 44.1 kHz."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.audio_codec import sound_facts
from omnicodec.codecs.hub.chunks import (
    WINDOW_SECONDS,
    WindowedAudio,
    decoder_reach,
    encoder_reach,
    window_frames,
)
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.hub_codec import Array
from omnicodec.codecs.hub.libraries import pretrained
from omnicodec.codecs.media import Audio
from omnicodec.codecs.tokens import Tokens

if TYPE_CHECKING:
    import torch


class DacCodec(WindowedAudio):
    """DAC: residual vector quantization of the frames of a convolutional network, of one channel.

    A clip is followed by silence up to a multiple of the hop, as the library's feature extractor
    makes it. Where the network has an odd stride it decodes a few samples less than its frames
    stand for; silence is in their place. A long clip runs in windows, each with the sound around
    it that its frames depend on.
    """

    fills_frames: ClassVar[bool] = True
    citation: ClassVar[str] = "DAC: Kumar et al. 2023, arXiv:2306.06546"

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        from transformers import DacConfig

        config = DacConfig.from_dict(dict(snapshot.config))
        check_strides(snapshot.name, config, _hop(config))
        return config

    @classmethod
    def _facts(cls, config: Any) -> dict[str, Any]:
        books, rate, hop = config.n_codebooks, config.sampling_rate, _hop(config)
        return {
            **sound_facts(
                books=books,
                entries=config.codebook_size,
                rate=rate,
                hop=hop,
                channels=1,
            ),
            "qualities": tuple(range(1, books + 1)),
            "details": {
                "reach": "convolutions: tokens depend on the sound around them only",
                "windows": f"{window_frames(rate, hop)} frames at once, about {WINDOW_SECONDS:g} "
                "s, with all that they depend on: tokens are those of the whole clip",
            },
        }

    @classmethod
    def _load(cls, snapshot: Snapshot, config: Any) -> torch.nn.Module:
        from transformers import DacModel

        model: torch.nn.Module = pretrained(DacModel, snapshot)
        return model

    def _prepare(self) -> None:
        self._rate, self._channels = self.config.sampling_rate, 1
        self._hop = _hop(self.config)
        self._encoder_reach = encoder_reach(self._model.encoder, self._hop)
        self._decoder_reach = decoder_reach(self._model.decoder, self._hop)

    def _segments(self, samples: int) -> list[tuple[int, int]]:
        found = self._windows(self.frames(samples), self._encoder_reach)
        return [(w.start * self._hop, min(w.stop * self._hop, samples)) for w in found]

    def _tokens(self, item: Audio, codes: Sequence[Array], books: int) -> Tokens:
        samples = self._resampled(item.samples.shape[1], item.sample_rate)
        found = self._windows(self.frames(samples), self._encoder_reach)
        groups = self._groups(len(item.samples))
        kept = [
            piece[:, window.first - window.start : window.last - window.start]
            for piece, window in zip(codes, found * groups, strict=True)
        ]
        return super()._tokens(item, kept, books)

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        codes: torch.Tensor = self._model.encode(batch, n_quantizers=books).audio_codes
        return codes

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model.decode(audio_codes=codes).audio_values
        return found[:, None]


def check_strides(name: str, config: Any, hop: int) -> None:
    """Raise `InvalidInput` where DAC's networks do not make frames of `hop` samples, and back."""
    down, up = list(config.downsampling_ratios), list(config.upsampling_ratios)
    if min(down + up, default=0) < 2 or not math.prod(down) == math.prod(up) == hop:
        raise InvalidInput(f"the strides of {name} do not fit: {down} down, {up} up")


def _hop(config: Any) -> int:
    """Return the samples of a frame."""
    return math.prod(config.downsampling_ratios)
