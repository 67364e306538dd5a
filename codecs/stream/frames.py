"""The bytes of an .omc stream: a header and independent chunks, each with a CRC-32C.

    stream  = MAGIC  VERSION  uvarint(len(header))  header  crc32c  chunk*
    chunk   = SYNC  uvarint(index)  uvarint(positions)  uvarint(len(payload))  payload  crc32c

A `uvarint` is protobuf's base-128 integer in its shortest form; a `crc32c` is 4 bytes,
little-endian, over everything from MAGIC, or from its chunk's SYNC, up to itself. The
sync bytes let a reader find the next whole chunk behind damage. A stream of version 2 is
open-ended: its header was written before its length was known, and a chunk of 0 positions
closes it. One of version 3 has two streams in one, a video and its sound, whose chunks have sync
bytes of their own. docs/format.md says more.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final, TypeVar

import google_crc32c

from omnicodec.codecs.errors import CorruptStream, FingerprintMismatch

MAGIC: Final = b"\x89OMC"
VERSION: Final = 1
OPEN_ENDED: Final = 2
"""The version of a stream whose length is told at its end."""

WITH_SOUND: Final = 3
"""The version of a video with sound."""

VERSIONS: Final = (VERSION, OPEN_ENDED, WITH_SOUND)

SYNC: Final = b"\xc5K"
SOUND_SYNC: Final = b"\xc5S"

MAX_HEADER_BYTES: Final = 1 << 20
MAX_CHUNK_POSITIONS: Final = 1 << 26
MAX_OPEN_CHUNK_POSITIONS: Final = 1 << 20
"""In an open-ended stream, where no header bounds what the chunks stand for."""

MAX_PAYLOAD_BYTES: Final = 1 << 26

MAX_HEAD_BYTES: Final = len(SYNC) + 3 * 5
"""Bytes of a chunk before its payload: sync, index, positions and length."""


# Behind damage the reader tries every place that looks like a chunk. Each try costs a
# checksum, so a hostile stream of nothing but sync bytes is given up after this many, or when
# checksums went over the stream this often.
_MAX_RESYNC_TRIES: Final = 4096
_MAX_RESYNC_PASSES: Final = 16

_PIECE: Final = 1 << 16

_SYNCS: Final = re.compile(b"|".join(map(re.escape, (SYNC, SOUND_SYNC))))

T = TypeVar("T")


class CutOff(CorruptStream):
    """What is there of a header or chunk may be the beginning of a whole one."""


@dataclass(frozen=True)
class Chunk:
    """`payload` codes `positions` token positions; `index` counts chunks from 0.

    The one that closes an open-ended stream has 0 positions, and tells the stream's layout.
    Those of a video's `sound` are counted on their own.
    """

    index: int
    positions: int
    payload: bytes
    sound: bool = False


def write_frames(header: bytes, chunks: Iterable[Chunk], version: int = VERSION) -> Iterator[bytes]:
    """Yield the header's bytes, then each chunk's, as they become available."""
    yield _sealed(MAGIC + bytes([version]) + _uvarint(len(header)) + header)
    for chunk in chunks:
        fields = (chunk.index, chunk.positions, len(chunk.payload))
        sync = SOUND_SYNC if chunk.sound else SYNC
        yield _sealed(sync + b"".join(map(_uvarint, fields)) + chunk.payload)


def read_header(data: bytes | bytearray) -> tuple[bytes, int]:
    """Return the header's bytes and where the first chunk begins.

    Raises `CorruptStream`; without a header nothing of a stream can be used.
    """
    if not data:
        raise CutOff("the stream is empty")
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise CorruptStream("not an .omc stream")
    at = len(MAGIC) + 1
    if len(data) < at:
        raise CutOff("the stream is cut off in its header")
    version = data[at - 1]
    length, at = _read_uvarint(data, at)
    if length > MAX_HEADER_BYTES:
        raise CorruptStream("the stream's header is damaged")
    end = at + length
    if end + 4 > len(data):
        raise CutOff("the stream is cut off in its header")
    if not _seal_holds(data, 0, end):
        raise CorruptStream("the stream's header is damaged")
    if version not in VERSIONS:
        raise FingerprintMismatch(
            f"the stream has format version {version}, this reads {VERSIONS[0]} to {VERSIONS[-1]}"
        )
    return bytes(data[at:end]), end + 4


def version_of(data: bytes | bytearray) -> int:
    """Return the version of a stream whose header was read."""
    return data[len(MAGIC)]


def read_chunk(data: bytes | bytearray, at: int, offset: int = 0) -> tuple[Chunk, int]:
    """Return the chunk that begins at `at`, and where the next one begins.

    Raises `CorruptStream` when there is no whole, undamaged chunk. `offset` is where in its
    stream `data` begins, for messages.
    """
    index, positions, payload, end = _chunk_bounds(data, at, offset)
    if not _seal_holds(data, at, end):
        raise CorruptStream(f"the chunk at byte {offset + at} is damaged")
    sound = data[at : at + len(SOUND_SYNC)] == SOUND_SYNC
    return Chunk(index, positions, bytes(data[payload:end]), sound), end + 4


def last_chunk(data: bytes, at: int) -> Chunk | None:
    """Return the chunk that ends an undamaged stream; only that one's checksum is checked."""
    last = None
    try:
        while at < len(data):
            last, at = at, _chunk_bounds(data, at, 0)[-1] + 4
        return None if last is None else read_chunk(data, last)[0]
    except CorruptStream:
        return None


def salvage_chunks(data: bytes, at: int) -> Iterator[Chunk]:
    """Yield every whole chunk from byte `at` on, skipping whatever lies between."""
    yield from FrameReader(io.BytesIO(data[at:])).salvage()


class FrameReader:
    """Reads a stream from a file or pipe, taking no more of it at once than there is.

    It takes at most `piece` bytes at once.
    """

    def __init__(self, file: IO[bytes], *, piece: int = _PIECE) -> None:
        self._file, self._piece = file, piece
        self._data = bytearray()
        self._at = self._offset = 0

    def header(self) -> tuple[bytes, int]:
        """Return the header's bytes and the version of the stream."""
        (header, at), version = self._whole(
            lambda: (read_header(self._data), version_of(self._data))
        )
        self._at = at
        return header, version

    def chunk(self) -> Chunk | None:
        """Return the next chunk, or None at the end; raises `CorruptStream` for damage."""
        if self._at == len(self._data) and not self._more():
            return None
        chunk, self._at = self._whole(lambda: read_chunk(self._data, self._at, self._offset))
        return chunk

    def end(self) -> None:
        """Raise `CorruptStream` unless the file ends here."""
        if self._at < len(self._data) or self._more():
            raise CorruptStream("the stream is followed by something else")

    def salvage(self) -> Iterator[Chunk]:
        """Yield every whole chunk from here on, skipping whatever lies between."""
        tries, checked = 0, 0
        while self._find_sync():
            if tries >= _MAX_RESYNC_TRIES or checked > _MAX_RESYNC_PASSES * self._seen:
                return
            try:
                bounds = self._whole(lambda: _chunk_bounds(self._data, self._at, self._offset))
                checked += bounds[-1] - self._at
                chunk, self._at = read_chunk(self._data, self._at, self._offset)
            except CorruptStream:
                tries += 1
                self._at += 1
            else:
                yield chunk

    @property
    def place(self) -> int:
        """Where in the stream what was returned last ends, in bytes."""
        return self._offset + self._at

    @property
    def _seen(self) -> int:
        return self._offset + len(self._data)

    def _find_sync(self) -> bool:
        while not (found := _SYNCS.search(self._data, self._at)):
            self._at = max(self._at, len(self._data) - len(SYNC) + 1)
            if not self._more():
                return False
        self._at = found.start()
        return True

    def _whole(self, parse: Callable[[], T]) -> T:
        """Return what `parse` finds, as soon as enough of the stream is there."""
        while True:
            try:
                return parse()
            except CutOff:
                if not self._more():
                    raise

    def _more(self) -> bool:
        """Read on, and forget what was returned; False at the end."""
        piece = getattr(self._file, "read1", self._file.read)(self._piece)
        del self._data[: self._at]
        self._offset += self._at
        self._at = 0
        self._data += piece
        return bool(piece)


def chunk_head(data: bytes | bytearray, at: int = 0, offset: int = 0) -> tuple[int, int, int, int]:
    """Return index, positions, and where payload and checksum begin, of what looks like a chunk.

    No more of it has to be there than stands before the payload, which is at most
    `MAX_HEAD_BYTES`. Raises `CorruptStream` where there is no chunk.
    """
    start = at
    sync = bytes(data[at : at + len(SYNC)])
    if not SYNC.startswith(sync) and not SOUND_SYNC.startswith(sync):
        raise CorruptStream(f"no chunk at byte {offset + at}")
    index, at = _read_uvarint(data, at + len(SYNC))
    positions, at = _read_uvarint(data, at)
    length, at = _read_uvarint(data, at)
    if positions > MAX_CHUNK_POSITIONS or length > MAX_PAYLOAD_BYTES:
        raise CorruptStream(f"the chunk at byte {offset + start} is damaged")
    return index, positions, at, at + length


def _chunk_bounds(data: bytes | bytearray, at: int, offset: int) -> tuple[int, int, int, int]:
    """Return what `chunk_head` does of a chunk that is all there."""
    bounds = chunk_head(data, at, offset)
    if bounds[-1] + 4 > len(data):
        raise CutOff(f"the stream is cut off in the chunk at byte {offset + at}")
    return bounds


def _sealed(data: bytes) -> bytes:
    return data + _seal(data)


def _seal(data: bytes | bytearray) -> bytes:
    checksum: int = google_crc32c.value(bytes(data))
    return checksum.to_bytes(4, "little")


def _seal_holds(data: bytes | bytearray, start: int, end: int) -> bool:
    return _seal(data[start:end]) == data[end : end + 4]


def _uvarint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_uvarint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            raise CutOff("the stream is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise CorruptStream("a number in the stream is not in its shortest form")
            return value, at
    raise CorruptStream("a number in the stream is too large")
