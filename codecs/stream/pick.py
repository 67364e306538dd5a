"""Single chunks of a stream in a file: others are passed over unread."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from typing import IO, Final

from omnicodec.codecs.errors import CorruptStream, InvalidInput
from omnicodec.codecs.stream import frames
from omnicodec.codecs.stream.chunks import chunk_fits
from omnicodec.codecs.stream.header import parse_header

_HEADER_PIECE: Final = 256  # bytes; most headers are shorter

Place = tuple[int, bool]
"""Which chunk: its index, and whether it is of sound."""


class ChunkPicker:
    """Finds chunks in a file that can seek.

    Chunks say how long they are, so from a stream only the header, the few bytes before each
    payload, and the chunks that were asked for are read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        """Read the header.

        Raises `CorruptStream` and `FingerprintMismatch` for one that cannot be read, and
        `InvalidInput` for an open-ended stream, of which only the end tells what stands where.
        """
        self._file, begin = file, file.tell()
        reader = frames.FrameReader(file, piece=_HEADER_PIECE)
        data, version = reader.header()
        self._first = begin + reader.place
        self.header = parse_header(data, version=version)
        if version == frames.OPEN_ENDED:
            raise InvalidInput("of a stream without a length there are no parts to pick")

    def pick(self, places: Collection[Place]) -> dict[Place, frames.Chunk]:
        """Return the chunks of these places, those that are whole.

        Damage to other chunks does no harm. Where it hides what was asked for, all of the
        file is searched.
        """
        found: dict[Place, frames.Chunk] = {}
        for search in (self._along, self._thoroughly):
            wanted = {place for place in places if place not in found}
            if not wanted:
                break
            for chunk in search(wanted):
                place = chunk.index, chunk.sound
                header = self.header.sound if chunk.sound else self.header
                if place in wanted and place not in found and chunk_fits(chunk, header):
                    found[place] = chunk
                if len(found) == len(places):
                    break
        return found

    def _along(self, wanted: Collection[Place]) -> Iterator[frames.Chunk]:
        """Yield chunks as long as each begins where the one before it says that it ends."""
        at = self._first
        while True:
            self._file.seek(at)
            head = self._file.read(frames.MAX_HEAD_BYTES)
            try:
                index, _, _, end = frames.chunk_head(head)
                if (index, head.startswith(frames.SOUND_SYNC)) in wanted:
                    rest = self._file.read(max(0, end + 4 - len(head)))
                    yield frames.read_chunk(head + rest, 0)[0]
            except CorruptStream:
                return
            at += end + 4

    def _thoroughly(self, _: Collection[Place]) -> Iterator[frames.Chunk]:
        """Yield every whole chunk, whatever lies between."""
        self._file.seek(self._first)
        yield from frames.FrameReader(self._file).salvage()


def seekable(file: IO[bytes]) -> IO[bytes]:
    """Return a file that can seek, with the rest of this one: itself, or what is left in it."""
    return file if file.seekable() else io.BytesIO(file.read())
