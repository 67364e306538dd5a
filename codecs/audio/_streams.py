"""Streams of `audio/rvq`: sound in pieces to tokens in pieces, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.audio._resample import Resampler, ratio, resampler
from omnicodec.codecs.codec import Decoder, Encoder
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.media import Audio
from omnicodec.codecs.tokens import Tokens

if TYPE_CHECKING:
    from omnicodec.models.audio.rvq import AudioRVQ
    from omnicodec.models.audio.streaming import FrameDecoder, FrameEncoder

Samples = NDArray[np.float32]
Name = tuple[str, str]
"""A codec's name and fingerprint, as tokens carry them."""

MAX_CHANNELS: Final = 64


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


def check_channels(channels: int) -> None:
    if not 0 < channels <= MAX_CHANNELS:
        raise InvalidInput(f"audio/rvq codes 1 to {MAX_CHANNELS} channels, not {channels}")


class RVQEncoder(Encoder[Audio]):
    """A stream that is being encoded.

    Of the tokens that it returns, the extent says how many samples were taken for them:
    over a whole stream these add up to the clip's, as the positions do.
    """

    def __init__(
        self, network: AudioRVQ, name: Name, used: int, width: int, *, eager: bool = True
    ) -> None:
        """Take the number of codebooks, and of paths through them that are followed.

        `eager` is whether to return what is final each time.
        """
        self._network, self._name, self._eager = network, name, eager
        self._used, self._width = used, width
        self._channels: list[_EncoderChannel] = []
        self._rate = network.config.rate
        self._finished = False

    def push(self, piece: Audio) -> Tokens:
        """Take a piece of any length; return the tokens that became final.

        Raises `InvalidInput` when it has another rate or number of channels than the first.
        """
        channels = len(piece.samples)
        if self._finished:
            raise InvalidInput("the stream was finished")
        if not self._channels:
            check_channels(channels)
            self._rate = piece.sample_rate
            self._channels = [self._channel() for _ in range(channels)]
        _check_same((self._rate, len(self._channels)), (piece.sample_rate, channels))
        pairs = zip(self._channels, piece.samples, strict=True)
        found = [channel.push(row, eager=self._eager) for channel, row in pairs]
        return self._tokens(found, piece.samples.shape[1])

    def finish(self) -> Tokens:
        if self._finished:
            raise InvalidInput("the stream was finished")
        self._finished = True
        return self._tokens([channel.finish() for channel in self._channels], 0)

    def _channel(self) -> _EncoderChannel:
        from omnicodec.models.audio.streaming import FrameEncoder

        target = self._network.config.rate
        by = ratio(self._rate, target)
        frames = FrameEncoder(self._network, self._used, self._width)
        return _EncoderChannel(resampler(self._rate, target, by), frames)

    def _tokens(self, found: Sequence[NDArray[np.int32]], samples: int) -> Tokens:
        channels = max(1, len(found))
        books = self._network.config.books
        ids = np.stack(found, 2) if found else np.zeros((books, 0, 1), np.int32)
        extent = {"samples": samples, "rate": self._rate, "channels": channels}
        return Tokens(*self._name, ids.reshape(books, -1), (ids.shape[1], channels), extent)


class RVQDecoder(Decoder[Audio]):
    """A stream that is being decoded: it takes what `RVQEncoder` returns, cut anywhere."""

    def __init__(self, network: AudioRVQ, name: Name, *, eager: bool = True) -> None:
        self._network, self._name, self._eager = network, name, eager
        self._channels: list[_DecoderChannel] = []
        self._rate = network.config.rate
        self._frames = self._samples = self._given = 0
        self._waiting = np.zeros((1, 0), np.float32)
        self._finished = False

    def push(self, tokens: Tokens) -> Audio:
        """Take the next tokens; return the samples that became final.

        Where the extents do not tell of them yet, the last hop waits: the clip may end in it.
        Raises `InvalidInput` for tokens that are not the next of this stream.
        """
        if self._finished:
            raise InvalidInput("the stream was finished")
        rate, channels = self._check(tokens)
        if not self._channels:
            check_channels(channels)
            self._rate = rate
            self._channels = [self._channel() for _ in range(channels)]
            self._waiting = np.zeros((channels, 0), np.float32)
        _check_same((self._rate, len(self._channels)), (rate, channels))
        ids = tokens.ids.reshape(len(tokens.ids), *tokens.grid)
        self._frames += tokens.grid[0]
        self._samples += tokens.extent["samples"]
        return self._ready(lambda i, channel: channel.push(ids[:, :, i], eager=self._eager))

    def finish(self) -> Audio:
        """Return what is left; raises `InvalidInput` when tokens are missing at the end."""
        if self._finished:
            raise InvalidInput("the stream was finished")
        config = self._network.config
        expected = frame_count(self._samples, self._rate, config.rate, config.hop)
        if self._frames != expected:
            raise InvalidInput(
                f"the stream has {self._frames} frames, where {self._samples} samples "
                f"have {expected}"
            )
        self._finished = True
        return self._ready(lambda _, channel: channel.finish())

    def _channel(self) -> _DecoderChannel:
        from omnicodec.models.audio.streaming import FrameDecoder

        source = self._network.config.rate
        by = 1 / ratio(self._rate, source)
        return _DecoderChannel(resampler(source, self._rate, by), FrameDecoder(self._network))

    def _ready(self, work: Callable[[int, _DecoderChannel], Samples]) -> Audio:
        if self._channels:
            found = np.stack([work(i, channel) for i, channel in enumerate(self._channels)])
            self._waiting = np.concatenate([self._waiting, found], 1)
        config = self._network.config
        certain = fewest_samples(self._frames, self._rate, config.rate, config.hop)
        left = max(self._samples, certain) - self._given
        count = max(0, min(self._waiting.shape[1], left))
        piece = self._waiting[:, :count].copy()
        self._waiting = self._waiting[:, count:]
        self._given += count
        return Audio(piece, self._rate)

    def _check(self, tokens: Tokens) -> tuple[int, int]:
        """Return rate and channels of tokens that the network can decode."""
        config = self._network.config
        if (tokens.codec, tokens.fingerprint) != self._name:
            raise InvalidInput(f"these tokens were not made by {' '.join(self._name)}")
        extent = tokens.extent
        if set(extent) != {"samples", "rate", "channels"} or extent["samples"] < 0:
            raise InvalidInput(f"a piece of audio/rvq cannot have the extent {dict(extent)}")
        if len(tokens.grid) != 2 or tokens.grid[1] != extent["channels"] or extent["rate"] < 1:
            raise InvalidInput(f"grid {tokens.grid} does not fit the extent {dict(extent)}")
        ids = tokens.ids
        known = not ids.size or 0 <= ids.min() <= ids.max() < config.entries
        if ids.shape[0] != config.books or not known:
            raise InvalidInput(f"ids must be {config.books} rows of 0 to {config.entries - 1}")
        return extent["rate"], extent["channels"]


class _EncoderChannel:
    """One channel on its way to indices."""

    def __init__(self, resampler: Resampler | None, frames: FrameEncoder) -> None:
        self._resampler, self._frames = resampler, frames

    def push(self, samples: Samples, *, eager: bool) -> NDArray[np.int32]:
        if self._resampler is not None:
            samples = self._resampler.push(samples)
        return self._frames.push(samples, eager=eager)

    def finish(self) -> NDArray[np.int32]:
        parts = []
        if self._resampler is not None:
            parts.append(self._frames.push(self._resampler.finish(), eager=False))
        return np.concatenate([*parts, self._frames.finish()], 1)


class _DecoderChannel:
    """One channel on its way from indices to samples."""

    def __init__(self, resampler: Resampler | None, frames: FrameDecoder) -> None:
        self._resampler, self._frames = resampler, frames

    def push(self, ids: NDArray[np.int32], *, eager: bool) -> Samples:
        samples = self._frames.push(ids, eager=eager)
        return samples if self._resampler is None else self._resampler.push(samples)

    def finish(self) -> Samples:
        samples = self._frames.finish()
        if self._resampler is None:
            return samples
        return np.concatenate([self._resampler.push(samples), self._resampler.finish()])


def _check_same(first: tuple[int, int], this: tuple[int, int]) -> None:
    if first != this:
        raise InvalidInput(
            f"a stream of {first[1]} channels at {first[0]} Hz cannot go on with "
            f"{this[1]} at {this[0]} Hz"
        )
