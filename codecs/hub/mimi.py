"""Mimi (Défossez et al. 2024), from `transformers.MimiModel`: 24 kHz, 12.5 frames a second."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.audio_codec import HubAudio, sound_facts
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.libraries import pretrained
from omnicodec.codecs.hub.mimi_blocks import MimiBlockDecoder, MimiBlockEncoder, runs_in_blocks
from omnicodec.codecs.hub.padding import pad_exactly
from omnicodec.codecs.hub.streams import BlockDecoder, BlockEncoder, HubStream

if TYPE_CHECKING:
    import torch


class MimiCodec(HubAudio):
    """Mimi: a convolutional network with a transformer, and residual vector quantization.

    The first codebooks are semantic, and always there; the others refine the sound. A network that
    is not causal runs on whole clips.
    """

    citation: ClassVar[str] = "Mimi: Défossez et al. 2024, arXiv:2410.00037"

    @classmethod
    def variant(cls, snapshot: Snapshot) -> type[MimiCodec]:
        return MimiBlocks if runs_in_blocks(cls._configuration(snapshot)) else cls

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        from transformers import MimiConfig

        config = MimiConfig.from_dict(dict(snapshot.config))
        if config.encoder_config is None or config.decoder_config is None:
            raise InvalidInput(f"{snapshot.name} has only one half of Mimi: no encoder or decoder")
        # The library needs the layer that makes frames fewer, which is only there in this case.
        if config.frame_rate >= config.encodec_frame_rate:
            raise InvalidInput(f"{snapshot.name} has frames as often as its convolutions have")
        return config

    @classmethod
    def _facts(cls, config: Any) -> dict[str, Any]:
        books = config.num_quantizers
        reach = config.sliding_window * config.num_hidden_layers / config.encodec_frame_rate
        blocks = runs_in_blocks(config)
        behind = "on nothing behind their frame" if blocks else "on what is behind their frame"
        details = {"reach": f"tokens depend on about {reach:g} s before them, and {behind}"}
        if not blocks:
            details["long"] = "clips run whole: memory grows with the square of their length"
        return {
            **sound_facts(
                books=books,
                entries=config.codebook_size,
                rate=config.sampling_rate,
                hop=_hop(config),
                channels=config.audio_channels,
            ),
            "qualities": tuple(range(config.num_semantic_quantizers, books + 1)),
            "details": details,
        }

    @classmethod
    def _load(cls, snapshot: Snapshot, config: Any) -> torch.nn.Module:
        from transformers import MimiModel

        model: torch.nn.Module = pretrained(MimiModel, snapshot)
        return model

    def _prepare(self) -> None:
        self._rate, self._channels = self.config.sampling_rate, self.config.audio_channels
        self._hop = _hop(self.config)
        pad_exactly(self._model)
        for layer in _padded(self._model):  # the library loses these when it reads weights
            layer.padding_right = int(layer.padding_total) // 2
            layer.padding_left = int(layer.padding_total) - layer.padding_right

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        found = self._model.encode(batch, num_quantizers=books, use_streaming=False)
        codes: torch.Tensor = found.audio_codes
        return codes

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model.decode(codes).audio_values
        return found


class MimiBlocks(HubStream, MimiCodec):
    """A causal Mimi, as the published one is: blocks of four seconds, with what layers carry."""

    # 50 frames: each block reads all weights of the transformers, which takes as long as to
    # compute some 12 frames.
    block_seconds: ClassVar[int] = 4

    def _prepare(self) -> None:
        super()._prepare()
        # The first block alone is padded by reflecting it, and has to be longer than that.
        self._least = 1 + max(int(layer.padding_total) for layer in _padded(self._model))

    def _block_encoder(self, books: int) -> BlockEncoder:
        return MimiBlockEncoder(self._model, books)

    def _block_decoder(self, books: int) -> BlockDecoder:
        return MimiBlockDecoder(self._model)


def _padded(model: Any) -> list[Any]:
    """Return the convolutions that pad what they get."""
    return [module for module in model.modules() if hasattr(module, "padding_total")]


def _hop(config: Any) -> int:
    """Return the samples of a frame."""
    return int(math.prod(config.upsampling_ratios) * config.latent_stride)
