"""The bytes of an .omc stream: a header and independent chunks, each with a CRC-32C.

    stream  = MAGIC  VERSION  uvarint(len(header))  header  crc32c  chunk*
    chunk   = SYNC  uvarint(index)  uvarint(positions)  uvarint(len(payload))  payload  crc32c

A `uvarint` is protobuf's base-128 integer in its shortest form; a `crc32c` is 4 bytes,
little-endian, over everything from MAGIC, or from its chunk's SYNC, up to itself. The
sync bytes let a reader find the next whole chunk behind damage; docs/format.md says more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import google_crc32c

from omnicodec.codecs.errors import CorruptStream, FingerprintMismatch

MAGIC: Final = b"\x89OMC"
VERSION: Final = 1
SYNC: Final = b"\xc5K"

MAX_HEADER_BYTES: Final = 1 << 20
MAX_CHUNK_POSITIONS: Final = 1 << 26
MAX_PAYLOAD_BYTES: Final = 1 << 26

# Behind damage the reader tries every place that looks like a chunk. Each try costs a
# checksum, so a hostile stream of nothing but sync bytes is given up after this many, or when
# checksums went over the stream this often.
_MAX_RESYNC_TRIES: Final = 4096
_MAX_RESYNC_PASSES: Final = 16


@dataclass(frozen=True)
class Chunk:
    """`payload` codes `positions` token positions; `index` counts chunks from 0."""

    index: int
    positions: int
    payload: bytes


def write_frames(header: bytes, chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Yield the header's bytes, then each chunk's, as they become available."""
    yield _sealed(MAGIC + bytes([VERSION]) + _uvarint(len(header)) + header)
    for chunk in chunks:
        fields = (chunk.index, chunk.positions, len(chunk.payload))
        yield _sealed(SYNC + b"".join(map(_uvarint, fields)) + chunk.payload)


def read_header(data: bytes) -> tuple[bytes, int]:
    """Return the header's bytes and where the first chunk begins.

    Raises `CorruptStream`; without a header nothing of a stream can be used.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise CorruptStream("not an .omc stream" if data else "the stream is empty")
    at = len(MAGIC) + 1
    if len(data) < at:
        raise CorruptStream("the stream is cut off in its header")
    version = data[at - 1]
    length, at = _read_uvarint(data, at)
    if length > MAX_HEADER_BYTES:
        raise CorruptStream("the stream's header is damaged")
    end = at + length
    if end + 4 > len(data):
        raise CorruptStream("the stream is cut off in its header")
    if not _seal_holds(data, 0, end):
        raise CorruptStream("the stream's header is damaged")
    if version != VERSION:
        raise FingerprintMismatch(f"the stream has format version {version}, this reads {VERSION}")
    return data[at:end], end + 4


def read_chunk(data: bytes, at: int) -> tuple[Chunk, int]:
    """Return the chunk that begins at `at`, and where the next one begins.

    Raises `CorruptStream` when there is no whole, undamaged chunk.
    """
    index, positions, payload, end = _chunk_bounds(data, at)
    if not _seal_holds(data, at, end):
        raise CorruptStream(f"the chunk at byte {at} is damaged")
    return Chunk(index, positions, data[payload:end]), end + 4


def salvage_chunks(data: bytes, at: int) -> Iterator[Chunk]:
    """Yield every whole chunk from byte `at` on, skipping whatever lies between."""
    tries, checked = 0, 0
    while (at := data.find(SYNC, at)) >= 0:
        if tries >= _MAX_RESYNC_TRIES or checked > _MAX_RESYNC_PASSES * len(data):
            return
        try:
            end = _chunk_bounds(data, at)[-1]
            checked += end - at
            chunk, at = read_chunk(data, at)
        except CorruptStream:
            tries += 1
            at += 1
        else:
            yield chunk


def _chunk_bounds(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Return index, positions, and where payload and checksum begin, of what looks like a chunk."""
    start = at
    if data[at : at + len(SYNC)] != SYNC:
        raise CorruptStream(f"no chunk at byte {at}")
    index, at = _read_uvarint(data, at + len(SYNC))
    positions, at = _read_uvarint(data, at)
    length, at = _read_uvarint(data, at)
    if not 0 < positions <= MAX_CHUNK_POSITIONS or length > MAX_PAYLOAD_BYTES:
        raise CorruptStream(f"the chunk at byte {start} is damaged")
    end = at + length
    if end + 4 > len(data):
        raise CorruptStream(f"the stream is cut off in the chunk at byte {start}")
    return index, positions, at, end


def _sealed(data: bytes) -> bytes:
    return data + _seal(data)


def _seal(data: bytes) -> bytes:
    checksum: int = google_crc32c.value(data)
    return checksum.to_bytes(4, "little")


def _seal_holds(data: bytes, start: int, end: int) -> bool:
    return _seal(data[start:end]) == data[end : end + 4]


def _uvarint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_uvarint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            raise CorruptStream("the stream is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise CorruptStream("a number in the stream is not in its shortest form")
            return value, at
    raise CorruptStream("a number in the stream is too large")
