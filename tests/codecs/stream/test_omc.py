"""Whole .omc streams: round trips, headers that lie, damage, and partial recovery."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    CorruptStream,
    FingerprintMismatch,
    InvalidInput,
    LimitExceeded,
    OmnicodecError,
    Text,
    compress,
    decompress,
    load,
)
from omnicodec.codecs.stream import frames, inspect, read_tokens, write_tokens
from omnicodec.v1.stream_pb2 import StreamHeader

CODEC = load("text/bytes")

# A text that zstd makes much smaller as a whole than the prior does in parts gets one large chunk.
# This one does not.
PROSE = b"""\
The harbour master wrote down every ship that came in before noon, and beside each name the colour
of its flag. Nobody had asked him to. When the storm took the eastern pier in the winter of that
year, it was his book that told them which boats were still at sea, and how many lamps to light on
the hill. Later a teacher copied the pages for her pupils, who learned from them to count, to spell
and to draw small flags; some of them grew up to be sailors, and one became a painter. His pictures
hang in the town hall, and visitors wonder why a man would paint so many ships without any people.
"""


def chunked(data: bytes, size: int) -> bytes:
    return write_tokens(CODEC.encode([Text(data)])[0], CODEC, chunk_positions=size)


def with_header(stream: bytes, **fields: object) -> bytes:
    """Return the stream under a changed but well-sealed header."""
    data, at = frames.read_header(stream)
    header = StreamHeader.FromString(data)
    for name, value in fields.items():
        header.ClearField(name)
        header.MergeFrom(StreamHeader(**{name: value}))
    return b"".join(frames.write_frames(header.SerializeToString(), [])) + stream[at:]


@given(st.binary(max_size=2000), st.integers(1, 700))
def test_decompress_inverts_compress(data: bytes, size: int) -> None:
    assert decompress(compress(Text(data), "text/bytes")) == Text(data)
    assert decompress(chunked(data, size)) == Text(data)


def test_header_says_what_is_inside() -> None:
    stream = compress(Text(b"abc"), "text/bytes", source_name="a.txt", source_size=3)
    header = inspect(stream)
    assert (header.codec, list(header.grid)) == ("text/bytes", [3])
    assert header.fingerprint.hex() == CODEC.spec.fingerprint
    assert header.prior.hex() == CODEC.prior.fingerprint
    assert (header.source.name, header.source.size) == ("a.txt", 3)
    assert not inspect(compress(Text(b"abc"), "text/bytes")).HasField("source")


def test_overhead_is_small() -> None:
    assert len(compress(Text(b""), "text/bytes")) < 60


@settings(max_examples=300)
@given(st.data())
def test_any_changed_byte_or_cut_is_an_error(data: st.DataObject) -> None:
    stream = chunked(b"any bytes at all " * 20, 100)
    place = data.draw(st.integers(0, len(stream) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = stream[:place] + bytes([stream[place] ^ flip]) + stream[place + 1 :]
    with pytest.raises((CorruptStream, FingerprintMismatch)):
        decompress(changed)
    with pytest.raises(CorruptStream):
        decompress(stream[:place])
    with pytest.raises(CorruptStream):
        decompress(stream + bytes([flip]))


@settings(max_examples=200)
@given(st.lists(st.integers(0, 9), unique=True, max_size=9))
def test_partial_gives_back_every_whole_chunk(lost: list[int]) -> None:
    pieces = [PROSE[50 * i : 50 * (i + 1)] for i in range(10)]
    stream = bytearray(chunked(b"".join(pieces), 50))
    at = frames.read_header(bytes(stream))[1]
    for index in range(10):
        _, end = frames.read_chunk(bytes(stream), at)
        if index in lost:
            stream[(at + end) // 2] ^= 0x10
        at = end
    kept = b"".join(p for i, p in enumerate(pieces) if i not in lost)
    assert decompress(bytes(stream), partial=True) == Text(kept)
    if lost:
        with pytest.raises(CorruptStream):
            decompress(bytes(stream))


def test_partial_of_a_cut_off_stream() -> None:
    stream = chunked(bytes(range(256)) * 4, 100)
    for cut in range(frames.read_header(stream)[1], len(stream), 7):
        got = decompress(stream[:cut], partial=True)
        assert isinstance(got, Text)
        assert (bytes(range(256)) * 4).startswith(got.data)
        assert len(got.data) % 100 == 0 or len(got.data) == 1024


def test_another_model_is_refused() -> None:
    stream = chunked(b"abc", 10)
    with pytest.raises(FingerprintMismatch, match="another codec of text/bytes"):
        decompress(with_header(stream, fingerprint=bytes(8)))
    with pytest.raises(FingerprintMismatch, match="another prior of text/bytes"):
        decompress(with_header(stream, prior=bytes(8)))


def test_headers_that_lie_allocate_nothing() -> None:
    stream = chunked(b"abc", 10)
    for fields in (
        {"grid": [2**62]},
        {"grid": [2**40]},
        {"grid": [4]},
        {"grid": [2]},
        {"grid": []},
        {"grid": [1, 3]},
        {"extent": [3]},
        {"chunk_positions": 0},
        {"chunk_positions": 2**31},
        {"chunk_positions": 2},
    ):
        with pytest.raises((CorruptStream, LimitExceeded)):
            decompress(with_header(stream, **fields))
    # A length that only the header vouches for is not allocated in partial mode either.
    for length in (10 + 3, 2**30):
        assert decompress(with_header(stream, grid=[length]), partial=True) == Text(b"abc")


def test_chunks_out_of_order_or_twice_are_refused() -> None:
    stream = chunked(b"a" * 20 + b"b" * 20, 20)
    at = frames.read_header(stream)[1]
    _, middle = frames.read_chunk(stream, at)
    first, second = stream[at:middle], stream[middle:]
    for body in (second + first, first + first, first + second + second):
        with pytest.raises(CorruptStream):
            decompress(stream[:at] + body)


def test_only_a_codecs_own_tokens_are_written() -> None:
    (tokens,) = CODEC.encode([Text(b"abc")])
    with pytest.raises(InvalidInput, match="chunks hold"):
        write_tokens(tokens, CODEC, chunk_positions=0)
    with pytest.raises(InvalidInput, match="quality"):
        compress(Text(b"abc"), "text/bytes", quality=50)


def test_missing_positions_are_marked() -> None:
    stream = bytearray(chunked(b"x" * 30, 10))
    assert read_tokens(bytes(stream)).missing is None
    at = frames.read_header(bytes(stream))[1]
    stream[at + 6] ^= 1
    missing = read_tokens(bytes(stream), partial=True).missing
    assert missing is not None
    assert np.flatnonzero(missing).tolist() == list(range(10))


def test_ten_thousand_mutated_streams() -> None:
    """Nothing but omnicodec's own errors, with checksums wrong and with them repaired."""
    rng = np.random.default_rng(20261121)
    sources = [chunked(b"", 5), chunked(b"hello", 5), chunked(bytes(range(256)) * 3, 64)]
    outcomes = {"decoded": 0, "refused": 0}
    for round_ in range(10_000):
        stream = bytearray(sources[round_ % len(sources)])
        for _ in range(int(rng.integers(1, 4))):
            kind, place = int(rng.integers(4)), int(rng.integers(len(stream) or 1))
            if kind == 0:
                stream[place : place + 1] = bytes([int(rng.integers(256))])
            elif kind == 1:
                del stream[place : place + int(rng.integers(1, 20))]
            elif kind == 2:
                stream[place:place] = rng.bytes(int(rng.integers(1, 20)))
            else:
                stream += stream[place : place + 30]
        data = _resealed(bytes(stream)) if round_ % 2 else bytes(stream)
        try:
            decompress(data, partial=bool(round_ % 3 == 0))
            outcomes["decoded"] += 1
        except OmnicodecError as e:
            assert "\n" not in str(e)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 100, outcomes


def _resealed(stream: bytes) -> bytes:
    """Repair every checksum that stands where the frames' lengths say, so that parsing goes on."""
    out = b""
    try:
        length, at = frames._read_uvarint(stream, 5)
        out = frames._sealed(stream[: at + length])
        at += length + 4
        while at < len(stream):
            start = at
            at += 2
            for _ in range(3):
                length, at = frames._read_uvarint(stream, at)
            out += frames._sealed(stream[start : at + length])
            at += length + 4
    except CorruptStream:
        pass
    return out
