"""Streams of a streaming codec piece by piece, pushed: what a call in progress can wait with.

`codecs.stream` pulls pieces from an iterator, which would keep a thread waiting for each client.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import IO, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import CorruptStream, InvalidInput, StreamingCodec, Tokens
from omnicodec.codecs.stream import frames
from omnicodec.codecs.stream.chunks import ChunkReader, open_span
from omnicodec.codecs.stream.header import (
    check_layout,
    check_models,
    end_chunk,
    header_bytes,
    make_header,
)
from omnicodec.v1.stream_pb2 import StreamHeader

_LIVE_SECONDS: Final = 1.0  # of a chunk, where nobody says

STEPS: Final = 1 << 9
"""Steps along the first axis of the grid that are decoded at once."""


class LiveWriter:
    """One open-ended .omc stream of tokens that come in pieces.

    The bytes are those of `codecs.stream.compress_pieces`, and come chunk by chunk.
    """

    def __init__(
        self, codec: StreamingCodec[Any], *, quality: int | None, chunk_seconds: float | None
    ) -> None:
        if chunk_seconds is not None and not 0 < chunk_seconds < math.inf:
            raise InvalidInput(f"a chunk cannot last {chunk_seconds} seconds")
        self._codec, self._quality = codec, quality
        self._seconds = _LIVE_SECONDS if chunk_seconds is None else chunk_seconds
        self._grows = codec.spec.extent[0]
        self._chunks: deque[frames.Chunk] = deque()
        self._frames: Iterator[bytes] | None = None
        self._waiting: list[NDArray[np.int32]] = []
        self._ready = self._index = self._positions = 0

    def push(self, tokens: Tokens) -> bytes:
        """Return the bytes that became final with these tokens."""
        out = []
        if self._frames is None:
            out.append(self._begin(tokens))
        self._extent[self._grows] += tokens.extent[self._grows]
        self._waiting.append(tokens.ids)
        self._ready += len(tokens)
        if self._ready >= self._size:
            ids = np.concatenate(self._waiting, 1)
            while ids.shape[1] >= self._size:
                out.append(self._chunk(ids[:, : self._size]))
                ids = ids[:, self._size :]
            self._waiting, self._ready = [ids], ids.shape[1]
        return b"".join(out)

    def finish(self, tokens: Tokens) -> bytes:
        """Return the bytes that are left, with the last tokens among them."""
        out = [self.push(tokens)]
        if self._ready:
            out.append(self._chunk(np.concatenate(self._waiting, 1)))
        grid = (self._positions // math.prod(self._rest), *self._rest)
        out.append(self._frame(end_chunk(self._codec, self._index, grid, self._extent)))
        return b"".join(out)

    def _begin(self, tokens: Tokens) -> bytes:
        self._rest = tokens.grid[1:]
        self._size = self._chunk_size(math.prod(self._rest))
        self._extent = {**tokens.extent, self._grows: 0}
        header = make_header(
            self._codec,
            (0, *self._rest),
            self._extent,
            chunk_positions=self._size,
            quality=self._quality,
        )
        chunks = iter(self._chunks.popleft, None)
        self._frames = frames.write_frames(header_bytes(header), chunks, frames.OPEN_ENDED)
        return next(self._frames)

    def _chunk_size(self, inner: int) -> int:
        """Return the positions of a chunk: whole steps of `inner` positions, at least one."""
        most = frames.MAX_OPEN_CHUNK_POSITIONS // inner
        if "seconds" in self._codec.spec.covers:
            steps = round(min(self._seconds / self._codec.spec.covers["seconds"], most))
        else:
            steps = self._codec.chunk_positions // inner
        return min(max(1, steps), most) * inner

    def _chunk(self, ids: NDArray[np.int32]) -> bytes:
        start = self._index * self._size
        span = open_span(self._rest, start, start + ids.shape[1])
        chunk = frames.Chunk(self._index, len(span), self._codec.prior.encode(ids, span))
        self._index += 1
        self._positions += ids.shape[1]
        return self._frame(chunk)

    def _frame(self, chunk: frames.Chunk) -> bytes:
        assert self._frames is not None
        self._chunks.append(chunk)
        return next(self._frames)


class LiveReader:
    """The tokens of one .omc stream whose bytes come in pieces, undamaged.

    `begin` takes bytes until the header is there, `open` the codec that it names, then `push`
    gives the tokens of each chunk once all of it is there, as a decoder takes them.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0
        self._file = _Fed()
        self._ended = False

    @property
    def nbytes(self) -> int:
        """Bytes that are kept: what came of a chunk that is not whole yet."""
        return len(self._data)

    def begin(self, data: bytes) -> StreamHeader | None:
        """Take the first bytes; return the header once all of it is there.

        Raises `CorruptStream` for what is no stream and `FingerprintMismatch` for a newer version.
        """
        self._data += data
        try:
            _, at = frames.read_header(self._data)
        except frames.CutOff:
            return None
        self._feed(at)
        self._chunks = ChunkReader(cast("IO[bytes]", self._file))
        self._next = iter(self._chunks)
        return self._chunks.header

    def open(self, codec: StreamingCodec[Any]) -> Tokens:
        """Return what a decoder is to be given first: no positions, and the extent as it is known.

        Raises `CorruptStream` and `FingerprintMismatch` for what this codec has not written.
        """
        check_models(self._chunks.header, codec)
        self._codec = codec
        self._extent = check_layout(self._chunks.header, codec)
        self._rest = tuple(self._chunks.header.grid[1:])
        self._waiting = np.zeros((len(codec.spec.codebook_sizes), 0), np.int32)
        return self._tokens(self._waiting, self._extent)

    def push(self, data: bytes) -> Iterator[Tokens]:
        """Yield the tokens that these bytes made final; raises `CorruptStream` for damage."""
        self._data += data
        while self._data:
            try:
                _, end = frames.read_chunk(self._data, 0)
            except frames.CutOff:
                return
            except CorruptStream:
                end = len(self._data)  # the reader says what is wrong
            self._feed(end)
            yield from self._read()

    def finish(self) -> Iterator[Tokens]:
        """Yield the last; raises `CorruptStream` for a stream that is cut off."""
        if self._data or not self._ended:
            self._feed(len(self._data))
            yield from self._read()
        if self._chunks.open_ended:
            grows = self._codec.spec.extent[0]
            known = {**self._extent, grows: self._chunks.header.extent[0]}
            yield self._tokens(self._waiting[:, :0], known)

    def _feed(self, end: int) -> None:
        self._file.data += self._data[:end]
        del self._data[:end]

    def _read(self) -> Iterator[Tokens]:
        """Yield the tokens of the next chunk, of whole steps."""
        if self._ended:
            raise CorruptStream("the stream is followed by something else")
        chunk = next(self._next, None)
        if chunk is None:
            self._ended = True
            return
        span = self._chunks.span(chunk)
        ids = np.concatenate([self._waiting, self._codec.prior.decode(chunk.payload, span)], 1)
        inner = math.prod(self._rest)
        whole = ids.shape[1] // inner * inner
        known = {**self._extent, self._codec.spec.extent[0]: 0}
        for start in range(0, whole, STEPS * inner):
            yield self._tokens(ids[:, start : min(start + STEPS * inner, whole)], known)
        self._waiting = ids[:, whole:]

    def _tokens(self, ids: NDArray[np.int32], extent: Mapping[str, int]) -> Tokens:
        spec = self._codec.spec
        grid = (ids.shape[1] // math.prod(self._rest), *self._rest)
        return Tokens(spec.name, spec.fingerprint, ids, grid, extent)


class _Fed:
    """A file that has just what it is fed, gives it whole, and ends there until it is fed more."""

    def __init__(self) -> None:
        self.data = b""

    def read(self, size: int) -> bytes:
        data, self.data = self.data, b""
        return data
