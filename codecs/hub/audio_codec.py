"""What adapters of sound share: rates, channels, segments, and the number of codebooks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.audio._resample import ratio
from omnicodec.codecs.audio._sound import Resampling, check_channels
from omnicodec.codecs.codec import Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.blocks import Joiner
from omnicodec.codecs.hub.hub_codec import Array, HubNetwork
from omnicodec.codecs.limits import MAX_SAMPLES, check_count
from omnicodec.codecs.media import Audio, Media
from omnicodec.codecs.tokens import Tokens

Samples = NDArray[np.float32]

EXTENT: Final = ("samples", "rate", "channels", "codebooks")

AT_ONCE: Final = 1 << 18
"""Samples of a channel that are resampled at once."""


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

    def _samples_of(self, columns: int) -> int:
        """Return the samples that a segment of so many positions decodes to."""
        return columns * self._hop

    def _check_codes(self, codes: Array) -> None:  # most families have nothing to say
        """Raise `InvalidInput` for codes `(books, n)` of a segment that no sound has."""

    def _joiner(self) -> Joiner:
        """Return what joins the decoded segments of a clip."""
        return Joiner()

    def _join(self, segments: list[Samples], samples: int) -> Samples:
        """Return the clip `(channels, samples)`, or more of it, of its decoded segments.

        The list may be emptied, so that nothing is held twice.
        """
        joiner, parts = self._joiner(), []
        while segments:
            parts.append(joiner.push(segments.pop(0)))
        rest = joiner.finish()
        whole = np.concatenate(parts if rest is None else [*parts, rest], 1)
        return np.pad(whole, ((0, 0), (0, max(0, samples - whole.shape[1]))))

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
        check_channels(self.spec.name, channels)
        if books not in self.spec.qualities:
            raise InvalidInput(f"{self.spec.name} does not use {books} of its codebooks")
        check_count(samples * channels, MAX_SAMPLES, "samples of audio")
        return self.frames(self._resampled(samples, rate)), self._groups(channels)

    def shape_class(self, item: Audio, settings: Settings) -> Hashable | None:
        return None if settings.width == 1 else (item.samples.shape, item.sample_rate)

    def tokens_class(self, tokens: Tokens, width: int) -> Hashable | None:
        return None if width == 1 else (tokens.grid, tokens.extent.get("codebooks"))

    def _pieces(self, item: Audio) -> Iterable[Array]:
        check_channels(self.spec.name, len(item.samples))
        by = ratio(item.sample_rate, self._rate)
        for group in range(self._groups(len(item.samples))):
            own = item.samples[self._own(group, len(item.samples))]
            whole = self._filled(resampled(own, item.sample_rate, self._rate, by))
            for start, stop in self._segments(whole.shape[1]):
                yield self._shaped(whole[:, start:stop]).copy()

    def _extent(self, item: Audio, books: int) -> dict[str, int]:
        """Return the extent of an item's tokens."""
        channels, samples = item.samples.shape
        return dict(zip(EXTENT, (samples, item.sample_rate, channels, books), strict=True))

    def _tokens(self, item: Audio, codes: Sequence[Array], books: int) -> Tokens:
        extent = self._extent(item, books)
        grid = self.expected_grid(extent, 0)
        # From one group behind the other to frame by frame.
        ids = self.padded(codes)
        ids = ids.reshape(len(ids), grid[1], grid[0]).swapaxes(1, 2)
        ids = np.ascontiguousarray(ids).reshape(len(ids), grid[0] * grid[1])
        return Tokens(self.spec.name, self.spec.fingerprint, ids, grid, extent)

    def _code_pieces(self, tokens: Tokens, ids: Array) -> Iterable[Array]:
        for group in range(tokens.grid[1]):
            yield from self._codes_of(tokens, ids, group)

    def _codes_of(self, tokens: Tokens, ids: Array, group: int) -> Iterator[Array]:
        """Yield the codes `(books, n)` of the segments of one group of channels."""
        extent = tokens.extent
        rows = ids[: extent["codebooks"]].reshape(extent["codebooks"], *tokens.grid)
        at = 0
        for start, stop in self._segments(self._resampled(extent["samples"], extent["rate"])):
            count = self._columns(stop - start)
            codes = np.ascontiguousarray(rows[:, at : at + count, group])
            self._check_codes(codes)
            yield codes
            at += count

    def _media(self, tokens: Tokens, found: list[Array]) -> Audio:
        samples, rate, channels, _ = (tokens.extent[name] for name in EXTENT)
        if not samples:
            return Audio(np.zeros((channels, 0), np.float32), rate)
        by, groups, rows = 1 / ratio(rate, self._rate), tokens.grid[1], []
        count = len(found) // groups
        for group in range(groups):
            segments = found[:count]
            del found[:count]
            whole = self._join(segments, self._resampled(samples, rate))
            own = self._own(group, channels)
            part = self._unfilled(whole, own.stop - own.start)
            del whole
            rows.append(resampled(part, self._rate, rate, by)[:, :samples])
        return Audio(rows[0] if groups == 1 else np.concatenate(rows), rate)

    def _own(self, group: int, channels: int) -> slice:
        """Return which channels are in a group."""
        first = group * self._channels
        return slice(first, min(first + self._channels, channels))

    def _filled(self, own: Samples) -> Samples:
        """Return channels of a group, filled up with copies of the last."""
        missing = self._channels - len(own)
        return np.concatenate([own, np.repeat(own[-1:], missing, 0)]) if missing else own

    def _unfilled(self, decoded: Samples, own: int) -> Samples:
        """Return what is decoded of so many channels.

        The network has made the copies of the last one different: their mean is taken.
        """
        if own == len(decoded):
            return decoded
        mean = decoded[own - 1 :].mean(0, dtype=np.float32, keepdims=True)
        return np.concatenate([decoded[: own - 1], mean])

    def _resampled(self, samples: int, rate: int) -> int:
        return int(-(-samples * ratio(rate, self._rate) // 1))

    def _groups(self, channels: int) -> int:
        return -(-channels // self._channels)


def sound_facts(*, books: int, entries: int, rate: int, hop: int, channels: int) -> dict[str, Any]:
    """Return the fields of the spec that depend on the network's numbers.

    It has `books` codebooks of so many entries, with a row each `hop` samples of `rate` Hz. An
    adapter adds `qualities` and `details`.
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
    """Return channels `(C, T)` at another rate; where that is the same, as they are."""
    if by == 1:
        return samples
    run = Resampling(len(samples), source, target, by)
    starts = range(0, samples.shape[1], AT_ONCE)
    parts = [run.push(samples[:, at : at + AT_ONCE]) for at in starts]
    return np.concatenate([*parts, run.finish()], 1)
