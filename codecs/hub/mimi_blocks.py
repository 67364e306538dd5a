"""Mimi block by block: what its library makes of a whole clip, in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omnicodec.codecs.hub.causal import PAD_MODES, CausalLayers
from omnicodec.codecs.hub.streams import BlockDecoder, BlockEncoder

if TYPE_CHECKING:
    import torch


def runs_in_blocks(config: Any) -> bool:
    """Return whether a Mimi of this configuration depends on nothing behind a frame.

    That is so where convolutions are causal, pad with what is known at a clip's start and cut
    what goes on sounding behind its end, and where attention has a window, and frequencies that
    do not depend on how long the clip is.
    """
    return bool(
        config.use_causal_conv
        and config.pad_mode in PAD_MODES
        and config.trim_right_ratio == 1
        and config.sliding_window > 1
        and config.rope_parameters["rope_type"] == "default"
    )


class MimiBlockEncoder(BlockEncoder):
    """Convolutions, the transformer, one more convolution that makes frames, and the codebooks."""

    def __init__(self, model: Any, books: int) -> None:
        """Take a `MimiModel` and how many codebooks to use."""
        encoder = model.encoder
        self._convolutions = CausalLayers(encoder.encoder_seanet.layers)
        self._transformer = _Transformer(encoder.encoder_transformer)
        self._frames = CausalLayers([encoder.downsample])
        self._quantizer, self._books = model.quantizer, books

    def run(self, samples: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        hidden, lengths = self._convolutions.run(samples, lengths)
        hidden, _ = self._frames.run(self._transformer.run(hidden), lengths)
        codes: torch.Tensor = self._quantizer.encode(hidden, self._books).transpose(0, 1)
        return codes


class MimiBlockDecoder(BlockDecoder):
    """The codebooks' sums, and the way of the encoder back."""

    def __init__(self, model: Any) -> None:
        """Take a `MimiModel`."""
        decoder = model.decoder
        self._frames = CausalLayers([decoder.upsample])
        self._transformer = _Transformer(decoder.decoder_transformer)
        self._convolutions = CausalLayers(decoder.decoder_seanet.layers)
        self._quantizer = model.quantizer

    def run(self, codes: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        hidden, lengths = self._frames.run(self._quantizer.decode(codes), lengths)
        return self._convolutions.run(self._transformer.run(hidden), lengths)[0]


class _Transformer:
    """A transformer of Mimi, with the keys and values that its window still reaches."""

    def __init__(self, network: Any) -> None:
        from transformers import DynamicCache

        self._network = network
        self._cache = DynamicCache(config=network.config)  # it knows the window, and cuts itself

    def run(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the next output `(B, D, n)` of the next input `(B, D, n)`."""
        found = self._network(hidden.transpose(1, 2), past_key_values=self._cache)
        after: torch.Tensor = found.last_hidden_state
        return after.transpose(1, 2)
