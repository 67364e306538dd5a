"""The bytes of a stream: exact layout, damage, and salvage."""

from __future__ import annotations

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import CorruptStream, FingerprintMismatch
from omnicodec.codecs.stream import frames
from omnicodec.codecs.stream.frames import Chunk

CHUNKS = [Chunk(0, 3, b"abc"), Chunk(1, 300, b"\xc5K" * 200), Chunk(2, 1, b"")]


def stream(chunks: list[Chunk] = CHUNKS, header: bytes = b"head") -> bytes:
    return b"".join(frames.write_frames(header, chunks))


def read(data: bytes) -> tuple[bytes, list[Chunk]]:
    header, at = frames.read_header(data)
    chunks = []
    while at < len(data):
        chunk, at = frames.read_chunk(data, at)
        chunks.append(chunk)
    return header, chunks


def test_exact_bytes() -> None:
    head = b"\x89OMC\x01\x04head"
    chunk = b"\xc5K\x00\x03\x03abc"
    expected = head + google_crc32c.value(head).to_bytes(4, "little")
    expected += chunk + google_crc32c.value(chunk).to_bytes(4, "little")
    assert stream(CHUNKS[:1]) == expected


def test_checksum_is_crc_32c() -> None:
    """Check value of the CRC catalogue for CRC-32/ISCSI."""
    assert google_crc32c.value(b"123456789") == 0xE3069283


def test_read_inverts_write() -> None:
    assert read(stream()) == (b"head", CHUNKS)


@settings(max_examples=400)
@given(st.data())
def test_every_change_of_a_byte_is_noticed(data: st.DataObject) -> None:
    good = stream()
    place = data.draw(st.integers(0, len(good) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda v: v != good[place]))
    bad = good[:place] + bytes([value]) + good[place + 1 :]
    with pytest.raises((CorruptStream, FingerprintMismatch)):
        read(bad)


def test_every_cut_inside_a_frame_is_noticed() -> None:
    good = stream()
    ends = [len(stream(CHUNKS[:n])) for n in range(4)]
    for cut in range(len(good)):
        if cut not in ends:
            with pytest.raises(CorruptStream):
                read(good[:cut])


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_salvage_finds_every_whole_chunk(lost: int) -> None:
    good = stream()
    start, stop = (len(stream(CHUNKS[:n])) for n in (lost, lost + 1))
    first = len(stream([]))
    middle = (start + stop) // 2
    bad = good[:middle] + bytes([good[middle] ^ 0x55]) + good[middle + 1 :]
    found = list(frames.salvage_chunks(bad, first))
    assert found == [c for c in CHUNKS if c.index != lost]
    shorter = good[: start + 1] + good[stop:]
    assert list(frames.salvage_chunks(shorter, first)) == [c for c in CHUNKS if c.index != lost]


def test_salvage_gives_up_on_a_hostile_stream() -> None:
    """Nothing but the beginnings of huge chunks: bounded work, nothing found."""
    hostile = (frames.SYNC + b"\x00\x01\xff\xff\x07") * 20_000
    assert list(frames.salvage_chunks(hostile, 0)) == []


def test_headers_that_lie_are_refused() -> None:
    with pytest.raises(CorruptStream, match="empty"):
        frames.read_header(b"")
    with pytest.raises(CorruptStream, match="not an .omc"):
        frames.read_header(b"RIFF....")
    huge = frames.MAGIC + b"\x01\xff\xff\xff\xff\x0f"
    with pytest.raises(CorruptStream, match="damaged"):
        frames.read_header(huge)
    newer = bytearray(stream([]))
    newer[4] = 4
    newer[-4:] = google_crc32c.value(bytes(newer[:-4])).to_bytes(4, "little")
    with pytest.raises(FingerprintMismatch, match="format version 4"):
        frames.read_header(bytes(newer))


def test_numbers_have_one_form() -> None:
    assert frames._uvarint(300) == b"\xac\x02"
    with pytest.raises(CorruptStream, match="shortest"):
        frames._read_uvarint(b"\x81\x00", 0)
    with pytest.raises(CorruptStream, match="too large"):
        frames._read_uvarint(b"\xff" * 9, 0)
    with pytest.raises(CorruptStream, match="cut off"):
        frames._read_uvarint(b"\xff", 0)
