"""Streams of `audio/rvq`: sound in pieces to tokens in pieces, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from omnicodec.codecs.audio._resample import ratio
from omnicodec.codecs.audio._sound import Ids, Samples, SoundDecoder, SoundEncoder
from omnicodec.codecs.codec import CodecSpec

if TYPE_CHECKING:
    from omnicodec.models.audio.rvq import AudioRVQ


def frame_count(samples: int, rate: int, network_rate: int, hop: int) -> int:
    """Return the frames of a clip: one centred on each hop's edge, first and last included."""
    resampled = -(-samples * ratio(rate, network_rate) // 1)
    return int(-(-resampled // hop)) + 1 if samples else 0


def fewest_samples(frames: int, rate: int, network_rate: int, hop: int) -> int:
    """Return how many samples a clip of at least so many frames has at least."""
    if frames < 2:
        return frames
    return math.floor((frames - 2) * hop / ratio(rate, network_rate)) + 1


def most_samples(frames: int, rate: int, network_rate: int, hop: int) -> int:
    """Return how many samples a clip of at most so many frames has at most."""
    return math.floor(max(0, frames - 1) * hop / ratio(rate, network_rate))


class RVQEncoder(SoundEncoder):
    """A stream that is being encoded, each channel by itself."""

    def __init__(
        self, network: AudioRVQ, spec: CodecSpec, used: int, width: int, *, eager: bool = True
    ) -> None:
        """Take the number of codebooks, and of paths through them that are followed.

        `eager` is whether to return what is final each time.
        """
        super().__init__(spec, network.config.rate, {})
        self._network, self._eager = network, eager
        self._used, self._width = used, width

    def _begin(self, channels: int) -> None:
        from omnicodec.models.audio.streaming import FrameEncoder

        network = self._network
        self._rows = [FrameEncoder(network, self._used, self._width) for _ in range(channels)]

    def _encode(self, samples: Samples, *, last: bool) -> Ids:
        eager = self._eager and not last
        pairs = zip(self._rows, samples, strict=True)
        found = [row.push(part, eager=eager) for row, part in pairs]
        if last:
            parts = zip(found, self._rows, strict=True)
            found = [np.concatenate([part, row.finish()], 1) for part, row in parts]
        return np.stack(found, 2)


class RVQDecoder(SoundDecoder):
    """A stream that is being decoded: it takes what `RVQEncoder` returns, cut anywhere."""

    def __init__(self, network: AudioRVQ, spec: CodecSpec, *, eager: bool = True) -> None:
        super().__init__(spec, network.config.rate)
        self._network, self._eager, self._hop = network, eager, network.config.hop

    def _columns(self, channels: int) -> int:
        return channels

    def _count(self, samples: int) -> int:
        return frame_count(samples, self._rate, self._network_rate, self._hop)

    def _fewest(self, frames: int) -> int:
        return fewest_samples(frames, self._rate, self._network_rate, self._hop)

    def _begin(self, extent: Mapping[str, int]) -> None:
        from omnicodec.models.audio.streaming import FrameDecoder

        self._rows = [FrameDecoder(self._network) for _ in range(extent["channels"])]

    def _decode(self, ids: Ids, *, last: bool) -> Samples:
        if last:
            return np.stack([row.finish() for row in self._rows])
        rows = enumerate(self._rows)
        return np.stack([row.push(ids[:, :, i], eager=self._eager) for i, row in rows])
