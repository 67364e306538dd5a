"""Media in pieces to .omc streams and back, in constant memory, while they still arrive."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import Encoder, StreamingCodec
from omnicodec.codecs.errors import CorruptStream, InvalidInput
from omnicodec.codecs.limits import check_count
from omnicodec.codecs.media import Media, Video
from omnicodec.codecs.registry import AnyCodec, load, load_named
from omnicodec.codecs.stream import frames
from omnicodec.codecs.stream.chunks import ChunkReader, open_span
from omnicodec.codecs.stream.header import (
    check_layout,
    check_models,
    end_chunk,
    header_bytes,
    make_header,
)
from omnicodec.codecs.threads import in_order
from omnicodec.codecs.tokens import Tokens
from omnicodec.v1.stream_pb2 import StreamHeader

MAX_GAP: Final = 1 << 20
"""Positions in a row that are filled in where `partial` found none: a short stream may claim
any number of them."""

_STEPS: Final = 1 << 9  # along the first axis of the grid that are decoded at once


def compress_pieces(
    pieces: Iterable[Media],
    codec: str | AnyCodec,
    *,
    quality: int | None = None,
    effort: str | None = None,
    device: str = "auto",
    chunk_seconds: float | None = None,
    source_name: str = "",
    source_size: int = 0,
) -> Iterator[bytes]:
    """Return an iterator over the bytes of one open-ended .omc stream of all pieces together.

    They come as soon as they are final: first the header, then chunk by chunk, and memory
    holds no more than a few chunks. Tokens and decoded media are those of `compress`,
    whatever the pieces. A chunk is coded each `chunk_seconds`, by default after as many
    positions as suit the codec; short ones suit live streams, and cost some bytes each.

    Raises `InvalidInput` for a codec that does not work in pieces, what `load` raises, and
    while iterating what `Encoder.push` raises, and `InvalidInput` for video with sound, which
    only a stream of known length can have.
    """
    loaded = load(codec, device=device) if isinstance(codec, str) else codec
    if not isinstance(loaded, StreamingCodec):
        raise InvalidInput(f"{loaded.spec.name} does not work in pieces")
    if chunk_seconds is not None and not 0 < chunk_seconds < math.inf:
        raise InvalidInput(f"a chunk cannot last {chunk_seconds} seconds")
    encoder = loaded.open_encoder(quality=quality, effort=effort)
    source = {"source_name": source_name, "source_size": source_size}
    return _compress(_tokens(encoder, pieces), loaded, chunk_seconds, quality, source)


def _tokens(encoder: Encoder[Any], pieces: Iterable[Media]) -> Iterator[Tokens]:
    for piece in pieces:
        if isinstance(piece, Video) and piece.audio is not None:
            raise InvalidInput("a video in pieces cannot have sound: only a whole one can")
        yield encoder.push(piece)
    yield encoder.finish()


def _compress(
    tokens: Iterator[Tokens],
    codec: AnyCodec,
    chunk_seconds: float | None,
    quality: int | None,
    source: dict[str, Any],
) -> Iterator[bytes]:
    parts = _Parts(tokens, codec, chunk_seconds)
    rest, size = parts.rest, parts.size

    def encode(part: tuple[int, NDArray[np.int32]]) -> frames.Chunk:
        index, ids = part
        span = open_span(rest, index * size, index * size + ids.shape[1])
        return frames.Chunk(index, len(span), codec.prior.encode(ids, span))

    def chunks() -> Iterator[frames.Chunk]:
        # Threads work ahead, where nobody waits for the next second.
        yield from in_order(encode, parts, parallel=codec.prior.parallel and chunk_seconds is None)
        yield end_chunk(codec, parts.count, parts.grid, parts.extent)

    header = make_header(
        codec, parts.grid, parts.extent, chunk_positions=size, quality=quality, **source
    )
    yield from frames.write_frames(header_bytes(header), chunks(), frames.OPEN_ENDED)


class _Parts:
    """Cuts a stream of tokens into the ids of its chunks, and adds up grid and extent.

    Before it is iterated over, these are those of an empty stream.
    """

    def __init__(
        self, tokens: Iterator[Tokens], codec: AnyCodec, chunk_seconds: float | None
    ) -> None:
        first = next(tokens)
        self._tokens = chain([first], tokens)
        self._grows = codec.spec.extent[0]
        self.rest = first.grid[1:]
        self.size = _chunk_size(codec, chunk_seconds, math.prod(self.rest))
        self.extent = {**first.extent, self._grows: 0}
        self.count = self._positions = 0

    @property
    def grid(self) -> tuple[int, ...]:
        return self._positions // math.prod(self.rest), *self.rest

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Yield the number of each chunk and its ids `(K, n)`."""
        waiting: list[NDArray[np.int32]] = []
        ready = 0
        for tokens in self._tokens:
            self.extent[self._grows] += tokens.extent[self._grows]
            waiting.append(tokens.ids)
            ready += len(tokens)
            if ready >= self.size:
                ids = np.concatenate(waiting, 1)
                whole = ready - ready % self.size
                for start in range(0, whole, self.size):
                    yield self._part(ids[:, start : start + self.size])
                waiting, ready = [ids[:, whole:]], ready - whole
        if ready:
            yield self._part(np.concatenate(waiting, 1))

    def _part(self, ids: NDArray[np.int32]) -> tuple[int, NDArray[np.int32]]:
        self.count += 1
        self._positions += ids.shape[1]
        return self.count - 1, ids


def _chunk_size(codec: AnyCodec, seconds: float | None, inner: int) -> int:
    """Return the positions of a chunk: whole steps of `inner` positions, at least one."""
    if seconds is None:
        steps = codec.chunk_positions // inner
    else:
        steps = round(min(seconds / codec.spec.covers["seconds"], frames.MAX_OPEN_CHUNK_POSITIONS))
    return min(max(1, steps), frames.MAX_OPEN_CHUNK_POSITIONS // inner) * inner


class StreamReader:
    """An .omc stream that is decoded while it arrives, in constant memory.

    Iterating yields the media in pieces: their concatenation is what `decompress` returns. The
    first piece comes even where nothing follows, so that it tells rate and channels. An
    error is raised where the pieces before it have been yielded already.

    `positions` counts those that came so far, `missing` those of them that were filled in.
    """

    def __init__(
        self,
        source: bytes | IO[bytes],
        *,
        partial: bool = False,
        live: bool = False,
        device: str = "auto",
        sound: bool = False,
        codec: AnyCodec | None = None,
    ) -> None:
        """Read the header of a stream in bytes or in an open file or pipe.

        `codec` is the one that made it, else the one that it names.

        With `partial`, damage does not end the stream. A `live` stream is not read ahead. Of a
        video with sound, the frames are decoded, or with `sound` only that.
        Raises `CorruptStream`, `FingerprintMismatch`, and `InvalidInput` for a codec that
        does not work in pieces.
        """
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        self._chunks = ChunkReader(file, partial=partial, sound=sound)
        self._partial, self._live = partial, live
        codec = codec or load_named(self.header.codec, device=device)
        codec = codec.with_prior(self.header.prior.hex())
        check_models(self.header, codec)
        self._extent = check_layout(self.header, codec)
        if not isinstance(codec, StreamingCodec):
            raise InvalidInput(f"{codec.spec.name} does not work in pieces")
        self._codec = codec
        self.positions = self.missing = 0

    @property
    def told(self) -> bool:
        """Whether the stream has told its length: one that was cut off never does."""
        return self._chunks.told

    @property
    def header(self) -> StreamHeader:
        """What the stream says of itself; of an open-ended one all of it once it was read."""
        return self._chunks.header

    def __iter__(self) -> Iterator[Media]:
        """Yield the media in pieces.

        Raises `CorruptStream` for damage and for a stream that was cut off.
        """
        decoder = self._codec.open_decoder()
        begun = False
        try:
            for tokens in self._tokens():
                piece = decoder.push(tokens)
                if piece.nbytes or not begun:
                    yield piece
                begun = True
            yield decoder.finish()
        except InvalidInput as e:
            if self._chunks.told or not self._partial:
                raise CorruptStream(f"the stream contradicts itself: {e}") from e
            # Of a stream that was cut off, less is left than makes a piece.

    def _tokens(self) -> Iterator[Tokens]:
        """Yield what the decoder is to be given: whole steps, and the extent when it is known."""
        spec, rest = self._codec.spec, tuple(self.header.grid[1:])
        inner, grows = math.prod(rest), spec.extent[0]
        known = {**self._extent, grows: 0}

        def tokens(ids: NDArray[np.int32], extent: Mapping[str, int]) -> Tokens:
            grid = ids.shape[1] // inner, *rest
            return Tokens(spec.name, spec.fingerprint, ids, grid, extent)

        nothing = waiting = np.zeros((len(spec.codebook_sizes), 0), np.int32)
        yield tokens(nothing, self._extent)
        for ids in self._ids():
            waiting = np.concatenate([waiting, ids], 1)
            whole = waiting.shape[1] // inner * inner
            for start in range(0, whole, _STEPS * inner):
                yield tokens(waiting[:, start : min(start + _STEPS * inner, whole)], known)
            waiting = waiting[:, whole:]
        if not self._chunks.told:
            yield tokens(nothing, self._codec.extent_of(self.positions // inner, known))
        elif self._chunks.open_ended:
            yield tokens(nothing, {**known, grows: self.header.extent[0]})

    def _ids(self) -> Iterator[NDArray[np.int32]]:
        """Yield the ids of one position after the other, those that were lost filled in."""
        parallel = self._codec.prior.parallel and not self._live
        for start, ids in in_order(self._decode, self._chunks, parallel=parallel):
            if ids is not None and start >= self.positions:
                yield from self._lost(start - self.positions)
                self.positions += ids.shape[1]
                yield ids
        if self._chunks.told:
            yield from self._lost(math.prod(self.header.grid) - self.positions)

    def _decode(self, chunk: frames.Chunk) -> tuple[int, NDArray[np.int32] | None]:
        span = self._chunks.span(chunk)
        try:
            return span.start, self._codec.prior.decode(chunk.payload, span)
        except CorruptStream:
            if not self._partial:
                raise
            return span.start, None

    def _lost(self, count: int) -> Iterator[NDArray[np.int32]]:
        check_count(count, MAX_GAP, "lost positions in a row")
        books = len(self._codec.spec.codebook_sizes)
        for start in range(0, count, _STEPS):
            size = min(_STEPS, count - start)
            self.positions += size
            self.missing += size
            yield self._codec.conceal(np.zeros((books, size), np.int32), np.ones(size, np.bool_))


def decompress_pieces(
    source: bytes | IO[bytes],
    *,
    partial: bool = False,
    live: bool = False,
    device: str = "auto",
    codec: AnyCodec | None = None,
) -> Iterator[Media]:
    """Return an iterator over the media of an .omc stream in pieces, as `StreamReader` has it."""
    return iter(StreamReader(source, partial=partial, live=live, device=device, codec=codec))
