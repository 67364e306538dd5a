"""Sound through networks block by block: streams, batches of any lengths, clips of hours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.audio._resample import ratio
from omnicodec.codecs.audio._sound import Ids, Resampling, SoundDecoder, SoundEncoder
from omnicodec.codecs.codec import Mask, Settings, StreamingCodec
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.audio_codec import AT_ONCE, HubAudio, Samples
from omnicodec.codecs.hub.blocks import Cutter, Rows, in_step
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.hub_codec import Array
from omnicodec.codecs.media import Audio
from omnicodec.codecs.tokens import Tokens

if TYPE_CHECKING:
    import torch

ROWS: Final = 32
"""Clips side by side on a GPU: a block is small there, and takes as long for one as for many."""


class BlockEncoder(ABC):
    """A network on its way through B clips that begin together, one block after the other.

    It carries what the next block needs of those before it, for each row by itself: constant
    memory. Blocks are cut at the same places whatever pieces the sound
    came in, because the last bits of a float depend on the shape that it was computed in.
    """

    @abstractmethod
    def run(self, samples: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return int64 codes `(B, books, n)` of the next block, `n = ceil(T / hop)`.

        `samples` are float32 `(B, channels, T)`, `lengths` how many of a row's T are sound; zeros
        follow. A row has fewer than a block at its clip's end only, and 0 behind it: codes behind
        its end are not looked at. T is a whole block, except where there is one row (a CPU): that
        of a last block is its length.
        """


class BlockDecoder(ABC):
    """A network on its way from the codes of B clips to their sound, as `BlockEncoder`."""

    @abstractmethod
    def run(self, codes: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return float32 samples `(B, channels, n * hop)` of the next codes `(B, books, n)`.

        `lengths` are how many of a row's n there are; zeros follow, and what they give is not
        looked at. n is a whole block, except at the end of a single row.
        """


class HubStream(HubAudio, StreamingCodec[Audio]):
    """Sound through a network that works on one block after the other.

    Whole clips go through the same blocks as streams do, clips of different lengths side by side
    where rows are cheap (a GPU), and memory does not grow with a clip's length. An adapter says
    what a block gives, and in `_prepare` may ask for blocks of at least `_least` frames.
    """

    carries: ClassVar[bool] = True
    """Whether a block depends on those before it; others may run side by side."""

    block_seconds: ClassVar[int] = 2
    """About what a block lasts, and so what a live stream waits for."""

    _least: int = 1

    @abstractmethod
    def _block_encoder(self, books: int) -> BlockEncoder:
        """Return what encodes the blocks of clips that begin together, with so many codebooks."""

    @abstractmethod
    def _block_decoder(self, books: int) -> BlockDecoder:
        """Return what decodes them."""

    def _cuts(self) -> tuple[int, int]:
        """Return the samples of a block, and from one to the next."""
        frames = self.block_seconds * self._rate // self._hop
        samples = max(frames, self._least) * self._hop
        return samples, samples

    def _silence(self) -> NDArray[np.int32]:
        """Return the column `(K, 1)` that stands for silence, or something unobtrusive."""
        silent = Audio(np.zeros((1, 2 * self._cuts()[0]), np.float32), self._rate)
        return self._encode(silent, Settings()).ids[:, -1:]

    # What follows from that.

    def _open(self, snapshot: Snapshot) -> None:
        super()._open(snapshot)
        if self.carries and self.width > 1:
            self.width = ROWS

    @classmethod
    def _facts_of(cls, snapshot: Snapshot) -> dict[str, Any]:
        return {**super()._facts_of(snapshot), "streaming": True}

    def open_encoder(self, *, quality: int | None = None, effort: str | None = None) -> HubEncoder:
        """Return the encoder of a new stream, whose tokens become final block by block.

        Raises `InvalidInput` for a quality or an effort that the codec does not have.
        """
        return HubEncoder(self, self.books(self.settings(quality=quality, effort=effort)))

    def open_decoder(self) -> HubDecoder:
        return HubDecoder(self)

    def extent_of(self, steps: int, extent: Mapping[str, int]) -> dict[str, int]:
        return {**extent, "samples": self.most(steps, extent["rate"])}

    def conceal(self, ids: NDArray[np.int32], missing: Mask) -> NDArray[np.int32]:
        return np.where(missing, self._silent, ids) if missing.any() else ids

    @cached_property
    def _silent(self) -> NDArray[np.int32]:
        return self._silence()

    def _conceal(self, tokens: Tokens, missing: Mask) -> Array:
        return self.conceal(tokens.ids, missing)

    def _segments(self, samples: int) -> list[tuple[int, int]]:
        size, step = self._cuts()
        return [(start, min(start + size, samples)) for start in range(0, samples, step)]

    def frames(self, samples: int) -> int:
        size, step = self._cuts()
        whole = max(0, (samples - size) // step + 1)
        rest = self._segments(samples - whole * step)
        return whole * self._columns(size) + sum(self._columns(b - a) for a, b in rest)

    def most(self, frames: int, rate: int) -> int:
        """Return the most samples at a rate that have no more than so many frames."""
        lengths = range(1 << 60)
        return (
            bisect_right(lengths, frames, key=lambda n: self.frames(self._resampled(n, rate))) - 1
        )

    def shape_class(self, item: Audio, settings: Settings) -> Hashable | None:
        if self.carries and settings.width > 1:
            return "any length"
        return super().shape_class(item, settings)

    def tokens_class(self, tokens: Tokens, width: int) -> Hashable | None:
        if self.carries and width > 1:
            return ("any length", tokens.extent.get("codebooks"))
        return super().tokens_class(tokens, width)

    def _encode_all(self, items: Sequence[Audio], settings: Settings) -> list[Tokens]:
        width, books = settings.width, self.books(settings)
        if not self.carries and width > 1:
            return super()._encode_all(items, settings)
        extents = [self._extent(item, books) for item in items]
        grids = [self.expected_grid(extent, 0) for extent in extents]
        ids = [np.zeros((len(self.spec.codebook_sizes), *grid), np.int32) for grid in grids]
        for lot in _lots(grids, width):
            clips = [self._windows(items[i], group) for i, group in lot]
            at = [0] * len(lot)
            for row, samples, codes in in_step(clips, self.encoder_rows(books, width)):
                settings.work.check()
                i, group = lot[row]
                stop = at[row] + self._columns(samples)
                ids[i][:books, at[row] : stop, group] = codes[:, : stop - at[row]]
                at[row] = stop
        flat = [rows.reshape(len(rows), -1) for rows in ids]
        name, fingerprint = self.spec.name, self.spec.fingerprint
        made = zip(flat, grids, extents, strict=True)
        return [Tokens(name, fingerprint, rows, grid, extent) for rows, grid, extent in made]

    def _decode_all(
        self, tokens: Sequence[Tokens], missing: Sequence[Mask | None], width: int
    ) -> list[Audio]:
        if not self.carries and width > 1:
            return super()._decode_all(tokens, missing, width)
        ids = [
            item.ids if mask is None else self.conceal(item.ids, mask)
            for item, mask in zip(tokens, missing, strict=True)
        ]
        out = [
            np.zeros((item.extent["channels"], item.extent["samples"]), np.float32)
            for item in tokens
        ]
        for books in sorted({item.extent["codebooks"] for item in tokens}):
            grids = [t.grid if t.extent["codebooks"] == books else (0, 0) for t in tokens]
            for lot in _lots(grids, width):
                clips = [self._codes_of(tokens[i], ids[i], group) for i, group in lot]
                sinks = [
                    _Sink(self, out[i][self._own(group, len(out[i]))], tokens[i].extent["rate"])
                    for i, group in lot
                ]
                for row, columns, found in in_step(clips, self.decoder_rows(books, width)):
                    sinks[row].push(found[:, : self._samples_of(columns)])
                for sink in sinks:
                    sink.finish()
        rates = [item.extent["rate"] for item in tokens]
        return [Audio(*pair) for pair in zip(out, rates, strict=True)]

    def encoder_rows(self, books: int, width: int) -> Rows:
        """Return new rows for the blocks of clips, to codes `(books, n)`."""
        return Rows(self._block_encoder(books).run, width, self._cuts()[0], self._device)

    def decoder_rows(self, books: int, width: int) -> Rows:
        """Return new rows for the codes of blocks, to samples `(channels, T)`."""
        size = self._columns(self._cuts()[0])
        return Rows(self._block_decoder(books).run, width, size, self._device)

    def _windows(self, item: Audio, group: int) -> Iterator[Samples]:
        """Yield the blocks of one group of an item's channels."""
        own = item.samples[self._own(group, len(item.samples))]
        by = ratio(item.sample_rate, self._rate)
        resampling = Resampling(len(own), item.sample_rate, self._rate, by)
        cutter = Cutter(*self._cuts())
        for at in range(0, own.shape[1], AT_ONCE):
            piece = resampling.push(own[:, at : at + AT_ONCE])
            yield from cutter.push(self._filled(piece))
        yield from cutter.push(self._filled(resampling.finish()))
        yield from cutter.rest()


class HubEncoder(SoundEncoder):
    """A stream that is being encoded, block by block."""

    def __init__(self, codec: HubStream, books: int) -> None:
        super().__init__(codec.spec, codec._rate, {"codebooks": books})
        self._codec, self._books = codec, books

    def _begin(self, channels: int) -> None:
        codec = self._codec
        self._groups = codec._groups(channels)
        starts = range(0, self._groups, codec.width)
        self._rows = [codec.encoder_rows(self._books, codec.width) for _ in starts]
        self._cutter = Cutter(*codec._cuts())

    def _encode(self, samples: Samples, *, last: bool) -> Ids:
        codec, groups = self._codec, range(self._groups)
        parts = [codec._filled(samples[codec._own(g, len(samples))]) for g in groups]
        blocks = self._cutter.push(np.stack(parts))
        if last:
            blocks += self._cutter.rest()
        nothing = np.zeros((len(self._spec.codebook_sizes), 0, self._groups), np.int32)
        return np.concatenate([nothing, *map(self._ids, blocks)], 1)

    def _ids(self, block: Samples) -> Ids:
        """Return the ids `(K, n, groups)` of a block `(groups, channels, T)`."""
        columns = self._codec._columns(block.shape[2])
        ids = np.zeros((len(self._spec.codebook_sizes), columns, self._groups), np.int32)
        for group, codes in enumerate(_side_by_side(self._rows, block, self._codec.width)):
            ids[: self._books, :, group] = codes[:, :columns]
        return ids


class HubDecoder(SoundDecoder):
    """A stream that is being decoded: it takes what `HubEncoder` returns, cut anywhere."""

    def __init__(self, codec: HubStream) -> None:
        super().__init__(codec.spec, codec._rate)
        self._codec = codec
        size, step = codec._cuts()
        self._size, self._step = codec._columns(size), step
        # Where blocks overlap, several at the end may be short: fewer columns may be theirs.
        self._certain = codec.frames(size)
        self._blocks = 0

    def _columns(self, channels: int) -> int:
        return self._codec._groups(channels)

    def _count(self, samples: int) -> int:
        return self._codec.frames(self._codec._resampled(samples, self._rate))

    def _fewest(self, frames: int) -> int:
        most = self._codec.most
        return min(most(frames, self._rate), most(frames - 1, self._rate) + 1)

    def _complete(self) -> bool:
        # What is left of a stream that was cut off may have columns behind its last samples.
        return super()._complete() or self._samples == self._codec.most(self._frames, self._rate)

    def _begin(self, extent: Mapping[str, int]) -> None:
        codec, books = self._codec, extent["codebooks"]
        if books not in codec.spec.qualities:
            raise InvalidInput(f"{codec.spec.name} does not use {books} of its codebooks")
        groups = codec._groups(extent["channels"])
        starts = range(0, groups, codec.width)
        self._rows = [codec.decoder_rows(books, codec.width) for _ in starts]
        self._joiner = codec._joiner()
        self._codes = np.zeros((books, 0, groups), np.int32)

    def _decode(self, ids: Ids, *, last: bool) -> Samples:
        codec = self._codec
        codes = np.concatenate([self._codes, ids[: len(self._codes)]], 1)
        parts = [np.zeros((codes.shape[2], codec._channels, 0), np.float32)]
        while codes.shape[1] >= self._certain:
            parts.append(self._joiner.push(self._sound(codes[:, : self._size])))
            codes = codes[:, self._size :]
            self._blocks += 1
        if last:
            samples = codec._resampled(self._samples, self._rate) - self._blocks * self._step
            for start, stop in codec._segments(samples):
                columns = codec._columns(stop - start)
                parts.append(self._joiner.push(self._sound(codes[:, :columns])))
                codes = codes[:, columns:]
            if (rest := self._joiner.finish()) is not None:
                parts.append(rest)
        self._codes = codes.copy()
        found, channels = np.concatenate(parts, 2), self._channels
        own = [codec._own(group, channels) for group in range(len(found))]
        groups = zip(found, own, strict=True)
        return np.concatenate([codec._unfilled(x, at.stop - at.start) for x, at in groups])

    def _sound(self, codes: Ids) -> Samples:
        """Return the samples `(groups, channels, T)` of a block's codes `(books, n, groups)`."""
        codec = self._codec
        block = np.ascontiguousarray(codes.transpose(2, 0, 1))
        for group in block:
            codec._check_codes(group)
        found = _side_by_side(self._rows, block, codec.width)
        return np.stack(found)[:, :, : codec._samples_of(codes.shape[1])]


class _Sink:
    """Where the decoded blocks of one group of channels become samples of the clip."""

    def __init__(self, codec: HubStream, out: Samples, rate: int) -> None:
        """Take the channels `(own, samples)` that are written, and their rate."""
        self._codec, self._out, self._at = codec, out, 0
        self._joiner = codec._joiner()
        by = 1 / ratio(rate, codec._rate)
        self._resampling = Resampling(len(out), codec._rate, rate, by)

    def push(self, block: Samples) -> None:
        self._write(self._joiner.push(block))

    def finish(self) -> None:
        rest = self._joiner.finish()
        if rest is not None:
            self._write(rest)
        self._put(self._resampling.finish())

    def _write(self, found: Samples) -> None:
        self._put(self._resampling.push(self._codec._unfilled(found, len(self._out))))

    def _put(self, samples: Samples) -> None:
        place = self._out[:, self._at : self._at + samples.shape[1]]
        place[:] = samples[:, : place.shape[1]]
        self._at += place.shape[1]


def _lots(grids: Sequence[tuple[int, ...]], width: int) -> Iterator[list[tuple[int, int]]]:
    """Yield the items' numbers and groups of channels that run side by side.

    Items of grids without frames are left out. Of several rows, those of about one length go
    together.
    """
    rows = [(i, group) for i, grid in enumerate(grids) if grid[0] for group in range(grid[1])]
    if width > 1:
        rows.sort(key=lambda row: -grids[row[0]][0])
    for start in range(0, len(rows), width):
        yield rows[start : start + width]


def _side_by_side(rows: Sequence[Rows], blocks: Array, width: int) -> list[Array]:
    """Return what networks of `width` rows each make of the next blocks of several groups."""
    return [
        found
        for number, each in enumerate(rows)
        for found in each.run(list(blocks[number * width :][:width]))
    ]
