"""EnCodec of the transformers library at 24 kHz, to measure speed beside."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from omnicodec.codecs import Audio, Unavailable

KBPS: Final = 6.0


def encodec(audio: Audio) -> tuple[Callable[[], object], Callable[[], object], str]:
    """Return steps that encode a clip of 24 kHz at 6 kbps and decode it again, and a version.

    The architecture is that of the published model, whose speed does not depend on weights:
    these are random, so that nothing has to be downloaded. Raises `Unavailable` without the
    library.
    """
    import torch

    try:
        transformers: Any = import_module("transformers")
    except ImportError as e:
        raise Unavailable("EnCodec needs transformers: pip install transformers") from e
    config = transformers.EncodecConfig()
    if audio.sample_rate != config.sampling_rate or len(audio.samples) != config.audio_channels:
        raise Unavailable(f"EnCodec's default is {config.sampling_rate} Hz")
    torch.manual_seed(0)
    network = transformers.EncodecModel(config)
    network.train(False)
    samples = torch.tensor(audio.samples)[None]

    @torch.inference_mode()
    def encode() -> Any:
        return network.encode(samples, bandwidth=KBPS)

    codes = encode()

    @torch.inference_mode()
    def decode() -> Any:
        return network.decode(codes.audio_codes, codes.audio_scales)

    return encode, decode, f"transformers {transformers.__version__}"
