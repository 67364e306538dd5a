"""`audio/rvq`: a learned streaming codec, 1 to 8 kbps a channel, made for CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.audio._prior import NestedPrior
from omnicodec.codecs.audio._sound import check_channels
from omnicodec.codecs.audio._streams import RVQDecoder, RVQEncoder, frame_count, most_samples
from omnicodec.codecs.codec import CodecSpec, Mask, Settings, StreamingCodec
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.limits import MAX_SAMPLES, check_count
from omnicodec.codecs.media import Audio, Media
from omnicodec.codecs.registry import register
from omnicodec.codecs.tokens import Tokens
from omnicodec.models import weights

if TYPE_CHECKING:
    from omnicodec.models.audio.rvq import AudioRVQ

NAME: Final = "audio/rvq"

BOOKS: Final = {1: 2, 2: 4, 4: 8, 6: 12, 8: 16}
"""Codebooks of each quality; a quality is the rate in kbps of one channel before the prior."""

DEFAULT_QUALITY: Final = 6

EFFORTS: Final = {"normal": 1, "best": 4}
"""Paths that the search through the codebooks follows at a time."""

DEFAULT_EFFORT: Final = "normal"

_AT_ONCE: Final = 1 << 18  # samples of a channel in a pass, which bounds memory
_FRAMES_AT_ONCE: Final = 1 << 9


@register(NAME)
class AudioRVQCodec(StreamingCodec[Audio]):
    """Sound of any rate, any length and any channels to columns of up to 16 tokens.

    Positions are frames of 20 ms, and within a frame channels: the grid is `(t, channels)`.
    Each channel is resampled to the network's rate and coded alone. Codebooks are nested;
    those that a quality does not use are rows of zeros.
    """

    media_type: ClassVar[type[Media]] = Audio
    chunk_positions: ClassVar[int] = 1 << 10  # 20 seconds of one channel, and about 15 KB

    def __init__(self, network: AudioRVQ) -> None:
        self.spec = self.describe()
        self.prior = _prior()
        self._network = network

    @classmethod
    def describe(cls) -> CodecSpec:
        shipped = weights.read(NAME)
        config = shipped.config
        return CodecSpec(
            name=NAME,
            version=config["version"],
            modality="audio",
            summary="up to 16 tokens of 10 bits for 20 ms of a channel, learned, streaming",
            fingerprint=shipped.fingerprint,
            codebook_sizes=(config["entries"],) * config["books"],
            covers={"seconds": config["hop"] / config["rate"], "channels": 1},
            prior=_prior().fingerprint,
            extent=("samples", "rate", "channels"),
            grid_rank=2,
            streaming=True,
            qualities=tuple(BOOKS),
            efforts=tuple(EFFORTS),
            weight_bytes=shipped.nbytes,
            citation="SoundStream: Zeghidour et al. 2021, arXiv:2107.03312; "
            "Vocos: Siuzdak 2023, arXiv:2306.00814",
        )

    @classmethod
    def open(cls, device: str) -> AudioRVQCodec:
        import torch

        from omnicodec.models.audio.rvq import AudioRVQConfig, build
        from omnicodec.models.layers import quick_dtype

        shipped = weights.read(NAME)
        tensors = {name: torch.from_numpy(array) for name, array in shipped.tensors.items()}
        config = AudioRVQConfig.from_dict(shipped.config)
        return cls(build(config, tensors, quick_dtype(device)).to(device))

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        samples, rate, channels = extent["samples"], extent["rate"], extent["channels"]
        if samples < 0 or not 0 < rate < 1 << 31:
            raise InvalidInput(f"a clip cannot have {samples} samples at {rate} Hz")
        check_channels(NAME, channels)
        check_count(samples * channels, MAX_SAMPLES, "samples of audio")
        config = self._network.config
        return frame_count(samples, rate, config.rate, config.hop), channels

    def open_encoder(self, *, quality: int | None = None, effort: str | None = None) -> RVQEncoder:
        """Return the encoder of a new stream, which returns tokens as soon as they are final.

        Raises `InvalidInput` for a quality or an effort that the codec does not have.
        """
        self.encode([], quality=quality, effort=effort)  # says no
        return self._encoder(Settings(quality=quality, effort=effort), eager=True)

    def open_decoder(self) -> RVQDecoder:
        return RVQDecoder(self._network, self.spec)

    def extent_of(self, steps: int, extent: Mapping[str, int]) -> dict[str, int]:
        config = self._network.config
        samples = most_samples(steps, extent["rate"], config.rate, config.hop)
        return {**extent, "samples": samples}

    def conceal(self, ids: NDArray[np.int32], missing: Mask) -> NDArray[np.int32]:
        return np.where(missing, self._silence, ids) if missing.any() else ids

    @property
    def _name(self) -> tuple[str, str]:
        return NAME, self.spec.fingerprint

    def _encode(self, item: Audio, settings: Settings) -> Tokens:
        encoder = self._encoder(settings, eager=False)
        channels, length = item.samples.shape
        pieces = []
        for start in range(0, max(1, length), _AT_ONCE):
            piece = item.samples[:, start : start + _AT_ONCE]
            pieces.append(encoder.push(Audio(piece, item.sample_rate)).ids)
        pieces.append(encoder.finish().ids)
        ids = np.concatenate(pieces, 1)
        extent = {"samples": length, "rate": item.sample_rate, "channels": channels}
        return Tokens(*self._name, ids, (ids.shape[1] // channels, channels), extent)

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Audio:
        extent = tokens.extent
        channels, rate = extent["channels"], extent["rate"]
        samples = np.empty((channels, extent["samples"]), np.float32)
        decoder = RVQDecoder(self._network, self.spec, eager=False)
        step = _FRAMES_AT_ONCE * channels
        at = 0
        for start in range(0, max(1, len(tokens)), step):
            ids = tokens.ids[:, start : start + step]
            if missing is not None:
                ids = self.conceal(ids, missing[start : start + step])
            own = {"samples": 0 if start else extent["samples"], "rate": rate, "channels": channels}
            grid = (ids.shape[1] // channels, channels)
            found = decoder.push(Tokens(*self._name, ids, grid, own)).samples
            samples[:, at : at + found.shape[1]] = found
            at += found.shape[1]
        samples[:, at:] = decoder.finish().samples
        return Audio(samples, rate)

    def _encoder(self, settings: Settings, *, eager: bool) -> RVQEncoder:
        used = BOOKS[settings.quality or DEFAULT_QUALITY]
        width = EFFORTS[settings.effort or DEFAULT_EFFORT]
        return RVQEncoder(self._network, self.spec, used, width, eager=eager)

    @property
    def _silence(self) -> NDArray[np.int32]:
        """The column of tokens that silence settles to, `(K, 1)`."""
        config = self._network.config
        hops = 2 + config.kernel * config.encoder_blocks
        silent = Audio(np.zeros((1, hops * config.hop), np.float32), config.rate)
        return self._encode(silent, Settings()).ids[:, -2:-1]


@cache
def _prior() -> NestedPrior:
    return NestedPrior(weights.read(NAME).prior)
