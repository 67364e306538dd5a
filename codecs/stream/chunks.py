"""The chunks of a stream one after the other, checked against its header as they come."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import IO

from omnicodec.codecs.errors import CorruptStream, InvalidInput
from omnicodec.codecs.prior import Span
from omnicodec.codecs.stream import frames
from omnicodec.codecs.stream.header import complete, parse_header
from omnicodec.v1.stream_pb2 import StreamHeader


def open_span(rest: tuple[int, ...], start: int, stop: int) -> Span:
    """Return where a chunk of an open-ended stream lies: in a grid that ends with it.

    `rest` are the axes of the grid that do not grow.
    """
    return Span((-(-stop // math.prod(rest)), *rest), start, stop)


def chunk_fits(chunk: frames.Chunk, header: StreamHeader) -> bool:
    """Return whether a chunk, of a stream of known length, has as many positions as it should."""
    left = math.prod(header.grid) - chunk.index * header.chunk_positions
    return 0 < chunk.positions == min(header.chunk_positions, left)


class ChunkReader:
    """Reads a stream from a file or pipe: its header at once, then chunk by chunk.

    `header` is completed when the end of an open-ended stream has come; `told` says whether
    it tells the stream's length. Of a video with sound, it is about one of both.
    """

    def __init__(self, file: IO[bytes], *, partial: bool = False, sound: bool = False) -> None:
        """Raise `CorruptStream` or `FingerprintMismatch` for a header that cannot be read.

        With `partial`, iterating skips damage, and what follows it, instead of raising. With
        `sound`, it is the sound of a video that is read; `InvalidInput` is raised where there
        is none.
        """
        self._frames = frames.FrameReader(file)
        data, version = self._frames.header()
        self.header = parse_header(data, version=version)
        if sound and not self.header.HasField("sound"):
            raise InvalidInput("the stream has no sound beside it")
        if sound:
            self.header = self.header.sound
        self.open_ended = version == frames.OPEN_ENDED
        self.told = not self.open_ended
        self._partial, self._sound = partial, sound
        self._two = version == frames.WITH_SOUND

    def __iter__(self) -> Iterator[frames.Chunk]:
        """Yield the chunks that have positions, each where its index says that it is.

        Raises `CorruptStream` unless all of them are there, in order, with nothing behind.
        With `partial`, they may come in any order, and several times.
        """
        return self._salvaged() if self._partial else self._checked()

    def span(self, chunk: frames.Chunk) -> Span:
        """Return the positions of a chunk; the grid of an open-ended stream ends with it."""
        start = chunk.index * self.header.chunk_positions
        stop = start + chunk.positions
        grid = tuple(self.header.grid)
        return open_span(grid[1:], start, stop) if self.open_ended else Span(grid, start, stop)

    def _checked(self) -> Iterator[frames.Chunk]:
        index = positions = 0
        while self.open_ended or positions < math.prod(self.header.grid):
            chunk = self._next()
            if chunk is None:
                raise CorruptStream(f"the stream is cut off: chunk {index} is not there")
            whole = positions == index * self.header.chunk_positions
            if chunk.index != index or (chunk.positions and not (whole and self._fits(chunk))):
                raise CorruptStream(f"chunk {chunk.index} stands where chunk {index} should be")
            if not chunk.positions:
                self._complete(chunk)
                if positions != math.prod(self.header.grid):
                    raise CorruptStream("the end of the stream contradicts its chunks")
                break
            yield chunk
            index += 1
            positions += chunk.positions
        if self._two and self._next() is not None:
            raise CorruptStream("a chunk stands behind the last one")
        self._frames.end()

    def _next(self) -> frames.Chunk | None:
        """Return the next chunk of what is read; the others have to be whole, and no more."""
        while (chunk := self._frames.chunk()) is not None and chunk.sound != self._sound:
            if not self._two:
                raise CorruptStream("there is a chunk of sound in a stream that has none")
        return chunk

    def _salvaged(self) -> Iterator[frames.Chunk]:
        for chunk in self._frames.salvage():
            if chunk.sound != self._sound:
                continue
            if self._fits(chunk):
                yield chunk
            elif self.open_ended and not chunk.positions:
                self._complete(chunk)

    def _fits(self, chunk: frames.Chunk) -> bool:
        if not self.told:
            return 0 < chunk.positions <= self.header.chunk_positions
        return chunk_fits(chunk, self.header)

    def _complete(self, chunk: frames.Chunk) -> None:
        complete(self.header, chunk)
        self.told = True
