"""Streams of sound piece by piece: what codecs share of rates, channels and lengths."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.audio._resample import ratio, resampler
from omnicodec.codecs.codec import CodecSpec, Decoder, Encoder
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.media import Audio
from omnicodec.codecs.tokens import Tokens

Samples = NDArray[np.float32]
Ids = NDArray[np.int32]

MAX_CHANNELS: Final = 64


def check_channels(name: str, channels: int) -> None:
    """Raise `InvalidInput` unless a codec takes so many channels."""
    if not 0 < channels <= MAX_CHANNELS:
        raise InvalidInput(f"{name} codes 1 to {MAX_CHANNELS} channels, not {channels}")


class Resampling:
    """Channels `(C, T)` on their way to another rate, piece by piece."""

    def __init__(self, channels: int, source: int, target: int, by: Fraction) -> None:
        self._rows = [resampler(source, target, by) for _ in range(channels)]

    def push(self, samples: Samples) -> Samples:
        """Take the next samples; return those of the other rate that are final."""
        pairs = zip(self._rows, samples, strict=True)
        rows = [row if run is None else run.push(row) for run, row in pairs]
        return np.stack(rows)

    def finish(self) -> Samples:
        """Return what is left."""
        nothing = np.zeros(0, np.float32)
        return np.stack([nothing if run is None else run.finish() for run in self._rows])


class SoundEncoder(Encoder[Audio]):
    """A stream of sound that is being encoded: a codec says what its network makes of it.

    Of the tokens that it returns, the extent says how many samples were taken for them:
    over a whole stream these add up to the clip's, as the positions do. Their grid is
    `(t, columns)`.
    """

    def __init__(self, spec: CodecSpec, rate: int, extent: Mapping[str, int]) -> None:
        """Take the network's rate, and the integers of the extent that are always the same."""
        self._spec, self._extent = spec, extent
        self._network_rate = self._rate = rate
        self._channels = 0
        self._finished = False

    @abstractmethod
    def _begin(self, channels: int) -> None:
        """Prepare for a stream of so many channels."""

    @abstractmethod
    def _encode(self, samples: Samples, *, last: bool) -> Ids:
        """Return the ids `(K, t, columns)` that are final.

        `samples` `(channels, T)` are the next at the network's rate; nothing follows the last.
        """

    def push(self, piece: Audio) -> Tokens:
        """Take a piece of any length; return the tokens that became final.

        Raises `InvalidInput` when it has another rate or number of channels than the first.
        """
        channels = len(piece.samples)
        if self._finished:
            raise InvalidInput("the stream was finished")
        if not self._channels:
            check_channels(self._spec.name, channels)
            self._channels, self._rate = channels, piece.sample_rate
            by = ratio(self._rate, self._network_rate)
            self._resampling = Resampling(channels, self._rate, self._network_rate, by)
            self._begin(channels)
        _check_same((self._rate, self._channels), (piece.sample_rate, channels))
        found = self._encode(self._resampling.push(piece.samples), last=False)
        return self._tokens(found, piece.samples.shape[1])

    def finish(self) -> Tokens:
        if self._finished:
            raise InvalidInput("the stream was finished")
        self._finished = True
        if not self._channels:
            return self._tokens(np.zeros((len(self._spec.codebook_sizes), 0, 1), np.int32), 0)
        return self._tokens(self._encode(self._resampling.finish(), last=True), 0)

    def _tokens(self, ids: Ids, samples: int) -> Tokens:
        extent = {"samples": samples, "rate": self._rate, "channels": max(1, self._channels)}
        rows = ids.reshape(len(ids), -1)
        name, fingerprint = self._spec.name, self._spec.fingerprint
        return Tokens(name, fingerprint, rows, ids.shape[1:], {**extent, **self._extent})


class SoundDecoder(Decoder[Audio]):
    """A stream that is being decoded: it takes what `SoundEncoder` returns, cut anywhere."""

    def __init__(self, spec: CodecSpec, rate: int) -> None:
        """Take the network's rate."""
        self._spec = spec
        self._network_rate = self._rate = rate
        self._channels = self._frames = self._samples = self._given = 0
        self._waiting = np.zeros((1, 0), np.float32)
        self._finished = False

    @abstractmethod
    def _columns(self, channels: int) -> int:
        """Return the positions of a frame."""

    @abstractmethod
    def _count(self, samples: int) -> int:
        """Return the frames of so many samples of `self._rate`."""

    @abstractmethod
    def _fewest(self, frames: int) -> int:
        """Return how many samples of `self._rate` at least so many frames have at least."""

    @abstractmethod
    def _begin(self, extent: Mapping[str, int]) -> None:
        """Prepare for a stream with this extent; raises `InvalidInput` for a wrong one."""

    @abstractmethod
    def _decode(self, ids: Ids, *, last: bool) -> Samples:
        """Return the samples `(channels, T)`, at the network's rate, that are ready.

        `ids` `(K, t, columns)` are the next; nothing follows the last.
        """

    def push(self, tokens: Tokens) -> Audio:
        """Take the next tokens; return the samples that became final.

        Where the extents do not tell of them yet, the last frame waits: the clip may end in it.
        Raises `InvalidInput` for tokens that are not the next of this stream.
        """
        if self._finished:
            raise InvalidInput("the stream was finished")
        self._check(tokens)
        rate, channels = tokens.extent["rate"], tokens.extent["channels"]
        if not self._channels:
            check_channels(self._spec.name, channels)
            self._begin(tokens.extent)
            self._extent, self._rate, self._channels = tokens.extent, rate, channels
            by = 1 / ratio(rate, self._network_rate)
            self._resampling = Resampling(channels, self._network_rate, rate, by)
            self._waiting = np.zeros((channels, 0), np.float32)
        _check_same((self._rate, self._channels), (rate, channels))
        if {**tokens.extent, "samples": 0} != {**self._extent, "samples": 0}:
            raise InvalidInput(f"a stream cannot go on with the extent {dict(tokens.extent)}")
        self._frames += tokens.grid[0]
        self._samples += tokens.extent["samples"]
        ids = tokens.ids.reshape(len(tokens.ids), *tokens.grid)
        return self._ready(self._resampling.push(self._decode(ids, last=False)))

    def finish(self) -> Audio:
        """Return what is left; raises `InvalidInput` when tokens are missing at the end."""
        if self._finished:
            raise InvalidInput("the stream was finished")
        if not self._complete():
            raise InvalidInput(
                f"the stream has {self._frames} frames, where {self._samples} samples "
                f"have {self._count(self._samples)}"
            )
        self._finished = True
        if not self._channels:
            return self._ready(self._waiting)
        nothing = np.zeros((len(self._spec.codebook_sizes), 0, self._columns(self._channels)))
        found = self._resampling.push(self._decode(nothing.astype(np.int32), last=True))
        return self._ready(np.concatenate([found, self._resampling.finish()], 1))

    def _complete(self) -> bool:
        """Return whether the frames are those of the samples that the extents told of."""
        return self._frames == self._count(self._samples)

    def _ready(self, found: Samples) -> Audio:
        self._waiting = np.concatenate([self._waiting, found], 1)
        left = max(self._samples, self._fewest(self._frames)) - self._given
        count = max(0, min(self._waiting.shape[1], left))
        piece = self._waiting[:, :count].copy()
        self._waiting = self._waiting[:, count:]
        self._given += count
        return Audio(piece, self._rate)

    def _check(self, tokens: Tokens) -> None:
        """Raise `InvalidInput` for tokens that no stream of this codec has."""
        spec, extent, ids = self._spec, tokens.extent, tokens.ids
        if (tokens.codec, tokens.fingerprint) != (spec.name, spec.fingerprint):
            raise InvalidInput(f"these tokens were not made by {spec.name} {spec.fingerprint}")
        if set(extent) != set(spec.extent) or extent["samples"] < 0:
            raise InvalidInput(f"a piece of {spec.name} cannot have the extent {dict(extent)}")
        columns = self._columns(extent["channels"])
        if len(tokens.grid) != 2 or tokens.grid[1] != columns or extent["rate"] < 1:
            raise InvalidInput(f"grid {tokens.grid} does not fit the extent {dict(extent)}")
        books, entries = len(spec.codebook_sizes), min(spec.codebook_sizes)
        known = not ids.size or 0 <= ids.min() <= ids.max() < entries
        if len(ids) != books or not known:
            raise InvalidInput(f"ids must be {books} rows of 0 to {entries - 1}")


def _check_same(first: tuple[int, int], this: tuple[int, int]) -> None:
    if first != this:
        raise InvalidInput(
            f"a stream of {first[1]} channels at {first[0]} Hz cannot go on with "
            f"{this[1]} at {this[0]} Hz"
        )
