"""What adapters of sound share: rates, channels, segments, and the number of codebooks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.audio._resample import ratio, resampler
from omnicodec.codecs.codec import Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.hub_codec import Array, HubNetwork
from omnicodec.codecs.limits import MAX_SAMPLES, check_count
from omnicodec.codecs.media import Audio, Media
from omnicodec.codecs.tokens import Tokens

Samples = NDArray[np.float32]

MAX_CHANNELS: Final = 64
EXTENT: Final = ("samples", "rate", "channels", "codebooks")

_AT_ONCE: Final = 1 << 18  # samples that are resampled at once


class HubAudio(HubNetwork[Audio]):
    """Sound of any rate, length and channels.

    It is resampled to the network's rate. Channels run in groups of as many as the network has,
    each group by itself; the last is filled up with copies of its last channel. Positions are the
    network's frames, and within a frame groups: the grid is `(t, groups)`. The extent tells the
    codebooks that were used, since a row of zeros may be codes.

    `_rate`, `_channels` and `_hop`, the samples of a frame, are the network's; an adapter sets them
    in `_prepare`.
    """

    media_type: ClassVar[type[Media]] = Audio
    modality: ClassVar[str] = "audio"
    chunk_positions: ClassVar[int] = 1 << 10

    fills_frames: ClassVar[bool] = False
    """Whether the network wants whole frames: the library's feature extractor adds silence."""

    _rate: int
    _channels: int
    _hop: int

    def _columns(self, samples: int) -> int:
        """Return the positions of one segment of so many samples, at least 1."""
        return -(-samples // self._hop)

    def _segments(self, samples: int) -> list[tuple[int, int]]:
        """Return where the pieces of a clip start and stop that run each by itself."""
        return [(0, samples)] if samples else []

    def _shaped(self, segment: Samples) -> Samples:
        """Return a segment `(channels, T)` as the network takes it."""
        if not self.fills_frames:
            return segment
        return np.pad(segment, ((0, 0), (0, -segment.shape[1] % self._hop)))

    def _join(self, segments: Sequence[Samples], samples: int) -> Samples:
        """Return the clip `(channels, samples)` of what was decoded of its segments."""
        return _fitted(np.concatenate(segments, 1), samples)

    def frames(self, samples: int) -> int:
        """Return the positions of a clip of so many samples at the network's rate."""
        return sum(self._columns(stop - start) for start, stop in self._segments(samples))

    def token_bits(self, tokens: Tokens) -> float:
        sizes = self.spec.codebook_sizes[: tokens.extent["codebooks"]]
        return len(tokens) * float(np.log2(sizes).sum())

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        samples, rate, channels, books = (extent[name] for name in EXTENT)
        if samples < 0 or not 0 < rate < 1 << 31:
            raise InvalidInput(f"a clip cannot have {samples} samples at {rate} Hz")
        _check_channels(self.spec.name, channels)
        if books not in self.spec.qualities:
            raise InvalidInput(f"{self.spec.name} does not use {books} of its codebooks")
        check_count(samples * channels, MAX_SAMPLES, "samples of audio")
        return self.frames(self._resampled(samples, rate)), self._groups(channels)

    def shape_class(self, item: Audio, settings: Settings) -> Hashable | None:
        return None if settings.width == 1 else (item.samples.shape, item.sample_rate)

    def tokens_class(self, tokens: Tokens, width: int) -> Hashable | None:
        return None if width == 1 else (tokens.grid, tokens.extent.get("codebooks"))

    def _pieces(self, item: Audio) -> Iterable[Array]:
        _check_channels(self.spec.name, len(item.samples))
        by = ratio(item.sample_rate, self._rate)
        rows = [resampled(row, item.sample_rate, self._rate, by) for row in item.samples]
        for group in range(self._groups(len(rows))):
            own = rows[group * self._channels :][: self._channels]
            whole = np.stack(own + own[-1:] * (self._channels - len(own)))
            for start, stop in self._segments(whole.shape[1]):
                yield np.ascontiguousarray(self._shaped(whole[:, start:stop]))

    def _tokens(self, item: Audio, codes: Sequence[Array], books: int) -> Tokens:
        channels, samples = item.samples.shape
        extent = dict(zip(EXTENT, (samples, item.sample_rate, channels, books), strict=True))
        grid = self.expected_grid(extent, 0)
        # From one group behind the other to frame by frame.
        ids = self.padded(codes)
        ids = ids.reshape(len(ids), grid[1], grid[0]).swapaxes(1, 2)
        ids = np.ascontiguousarray(ids).reshape(len(ids), grid[0] * grid[1])
        return Tokens(self.spec.name, self.spec.fingerprint, ids, grid, extent)

    def _code_pieces(self, tokens: Tokens, ids: NDArray[np.int32]) -> Iterable[Array]:
        extent = tokens.extent
        samples = self._resampled(extent["samples"], extent["rate"])
        rows = ids[: extent["codebooks"]].reshape(extent["codebooks"], *tokens.grid)
        for group in range(tokens.grid[1]):
            at = 0
            for start, stop in self._segments(samples):
                count = self._columns(stop - start)
                yield np.ascontiguousarray(rows[:, at : at + count, group])
                at += count

    def _media(self, tokens: Tokens, found: Sequence[Array]) -> Audio:
        samples, rate, channels, _ = (tokens.extent[name] for name in EXTENT)
        if not samples:
            return Audio(np.zeros((channels, 0), np.float32), rate)
        count = len(found) // tokens.grid[1]
        length = self._resampled(samples, rate)
        groups = [
            self._join(found[group * count :][:count], length) for group in range(tokens.grid[1])
        ]
        left = channels - self._channels * (len(groups) - 1)
        if left < self._channels:  # copies of one channel, which the network made different
            last = groups[-1]
            mean = last[left - 1 :].mean(0, dtype=np.float32, keepdims=True)
            groups[-1] = np.concatenate([last[: left - 1], mean])
        by = 1 / ratio(rate, self._rate)
        rows = [resampled(row, self._rate, rate, by) for row in np.concatenate(groups)]
        return Audio(_fitted(np.stack(rows), samples), rate)

    def _resampled(self, samples: int, rate: int) -> int:
        return int(-(-samples * ratio(rate, self._rate) // 1))

    def _groups(self, channels: int) -> int:
        return -(-channels // self._channels)


def sound_facts(*, books: int, entries: int, rate: int, hop: int, channels: int) -> dict[str, Any]:
    """Return the fields of the spec of `books` codebooks of so many entries, a row each `hop`
    samples of `rate` Hz; an adapter adds `qualities` and `details`.
    """
    return {
        "summary": f"up to {books} tokens of {(entries - 1).bit_length()} bits, "
        f"{round(rate / hop, 1):g} times a second of {rate / 1000:g} kHz sound",
        "codebook_sizes": (entries,) * books,
        "covers": {"seconds": hop / rate, "channels": channels},
        "extent": EXTENT,
        "grid_rank": 2,
    }


def resampled(samples: Samples, source: int, target: int, by: Fraction) -> Samples:
    """Return a channel `(T,)` at another rate; where that is the same, as it is."""
    run = resampler(source, target, by)
    if run is None:
        return samples
    parts = [run.push(samples[at : at + _AT_ONCE]) for at in range(0, samples.size, _AT_ONCE)]
    return np.concatenate([*parts, run.finish()])


def _fitted(samples: Samples, length: int) -> Samples:
    """Return samples `(C, T)` cut, or followed by silence, to a length."""
    short = length - samples.shape[1]
    return np.pad(samples, ((0, 0), (0, short))) if short > 0 else samples[:, :length]


def _check_channels(name: str, channels: int) -> None:
    if not 0 < channels <= MAX_CHANNELS:
        raise InvalidInput(f"{name} codes 1 to {MAX_CHANNELS} channels, not {channels}")
