"""Streams of real-valued tokens: round trips, damage, and values that no codec makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    CorruptStream,
    FingerprintMismatch,
    Image,
    InvalidInput,
    Tokens,
    compress,
    decompress,
    load,
)
from omnicodec.codecs.codec import SOFT_CHUNK
from omnicodec.codecs.prior import Span
from omnicodec.codecs.prior.soft import to_patterns
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import frames, inspect, read_tokens, write_tokens
from omnicodec.v1.stream_pb2 import StreamHeader


@pytest.fixture
def codec(soft_codec: str) -> AnyCodec:
    return load(soft_codec)


@pytest.fixture
def tokens(codec: AnyCodec, photo: Image) -> Tokens:
    return codec.encode([photo])[0]


@pytest.fixture
def photo() -> Image:
    pixels = np.random.default_rng(3).integers(0, 256, (25, 41, 3))
    return Image(pixels.astype(np.uint8))


def changed(tokens: Tokens, **fields: object) -> Tokens:
    own = {name: getattr(tokens, name) for name in Tokens.__dataclass_fields__}
    return Tokens(**{**own, **fields})


@pytest.mark.parametrize("quality", [None, 16, 32])
@pytest.mark.parametrize("size", [None, 1, 50])
def test_streams_give_every_bit_back(
    codec: AnyCodec, photo: Image, quality: int | None, size: int | None
) -> None:
    (tokens,) = codec.encode([photo], quality=quality)
    stream = write_tokens(tokens, codec, chunk_positions=size, quality=quality)
    contents = read_tokens(stream)
    assert contents.tokens == tokens
    assert contents.missing is None
    assert tokens.soft.itemsize == (quality or 32) // 8
    assert dict(zip(codec.spec.extent, inspect(stream).extent, strict=True)) == tokens.extent


def test_items_come_back(codec: AnyCodec, photo: Image) -> None:
    again = decompress(compress(photo, codec.spec.name, quality=32))
    assert again == codec.decode(codec.encode([photo]))[0]
    empty = Image(np.zeros((0, 0, 3), np.uint8))
    assert decompress(compress(empty, codec.spec.name)) == empty


def test_bits_of_tokens(codec: AnyCodec, photo: Image) -> None:
    for quality in codec.spec.qualities:
        (tokens,) = codec.encode([photo], quality=quality)
        assert codec.token_bits(tokens) == len(tokens) * 3 * quality


def test_wide_positions_have_smaller_chunks(codec: AnyCodec) -> None:
    assert codec.chunk_size((9, 9)) == codec.chunk_positions
    codec.spec = replace(codec.spec, soft_width=SOFT_CHUNK // 8)
    assert codec.chunk_size((9, 9)) == 8
    codec.spec = replace(codec.spec, soft_width=SOFT_CHUNK * 2)
    assert codec.chunk_size((9, 9)) == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("soft", None, "real-valued tokens, and none were given"),
        ("soft", np.zeros((273, 4), np.float32), "3 real values at a position, not 4"),
        ("soft", np.zeros((273, 3), np.float16), "32 bits, the tokens are float16"),
        ("soft", np.full((273, 3), np.nan, np.float32), "finite"),
        ("soft", np.full((273, 3), -np.inf, np.float32), "finite"),
        ("extent", {"height": 25, "width": 41, "bits": 64}, "16 or 32 bits, not 64"),
        ("extent", {"height": 25, "width": 41}, "extent"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(
    codec: AnyCodec, tokens: Tokens, field: str, value: object, message: str
) -> None:
    bad = changed(tokens, **{field: value})
    with pytest.raises(InvalidInput, match=message):
        codec.decode([bad])
    with pytest.raises(InvalidInput, match=message):
        write_tokens(bad, codec)


def test_codes_and_real_values_are_not_taken_for_each_other(
    codec: AnyCodec, tokens: Tokens
) -> None:
    with pytest.raises(InvalidInput, match="has 0 codebooks, not 1"):
        codec.decode([changed(tokens, ids=np.zeros((1, len(tokens)), np.int32), soft=None)])
    text = load("text/bytes")
    spec = text.spec
    soft = np.zeros((2, 3), np.float32)
    ids = np.zeros((0, 2), np.int32)
    with pytest.raises(InvalidInput, match="1 codebooks, not 0"):
        text.decode([Tokens(spec.name, spec.fingerprint, ids, (2,), {}, soft)])


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_or_cut_is_an_error(
    codec: AnyCodec, tokens: Tokens, data: st.DataObject
) -> None:
    stream = write_tokens(tokens, codec, chunk_positions=100)
    place = data.draw(st.integers(0, len(stream) - 1))
    flip = data.draw(st.integers(1, 255))
    bad = stream[:place] + bytes([stream[place] ^ flip]) + stream[place + 1 :]
    with pytest.raises((CorruptStream, FingerprintMismatch)):
        read_tokens(bad)
    with pytest.raises(CorruptStream):
        read_tokens(stream[:place])


def test_lost_chunks_are_zeros_and_marked(codec: AnyCodec, tokens: Tokens) -> None:
    stream = bytearray(write_tokens(tokens, codec, chunk_positions=100))
    at = frames.read_header(bytes(stream))[1]
    _, middle = frames.read_chunk(bytes(stream), at)
    stream[middle + 40] ^= 1
    contents = read_tokens(bytes(stream), partial=True)
    assert contents.missing is not None
    assert np.flatnonzero(contents.missing).tolist() == list(range(100, 200))
    whole = tokens.soft.copy()
    whole[100:200] = 0
    assert contents.tokens == changed(tokens, soft=whole)
    again = decompress(bytes(stream), partial=True)
    assert again == codec.decode([contents.tokens])[0]


def made_up(tokens: Tokens, codec: AnyCodec, rows: np.ndarray, **fields: object) -> bytes:
    """Return a well-sealed stream with rows that the codec would not write."""
    size = 100
    header, _ = frames.read_header(write_tokens(tokens, codec, chunk_positions=size))
    message = StreamHeader.FromString(header)
    for name, value in fields.items():
        message.ClearField(name)
        message.MergeFrom(StreamHeader(**{name: value}))
    chunks = []
    for index, start in enumerate(range(0, len(tokens), size)):
        span = Span(tokens.grid, start, min(start + size, len(tokens)))
        payload = codec.prior.encode(rows[:, span.start : span.stop], span)
        chunks.append(frames.Chunk(index, len(span), payload))
    return b"".join(frames.write_frames(message.SerializeToString(), chunks))


def test_values_that_no_codec_makes_are_damage(codec: AnyCodec, tokens: Tokens) -> None:
    rows = to_patterns(tokens.soft)
    assert read_tokens(made_up(tokens, codec, rows)).tokens == tokens
    rows[1, 7] = np.float32(np.nan).view(np.int32)
    stream = made_up(tokens, codec, rows)
    with pytest.raises(CorruptStream, match="no codec makes"):
        decompress(stream)
    contents = read_tokens(stream, partial=True)
    assert np.flatnonzero(contents.missing).tolist() == [7]
    assert not contents.tokens.soft[7].any()
    # 32 bits under a header that says 16.
    stream = made_up(tokens, codec, to_patterns(tokens.soft), extent=[25, 41, 16])
    with pytest.raises(CorruptStream, match="no codec makes"):
        decompress(stream)


def test_headers_that_lie(codec: AnyCodec, tokens: Tokens) -> None:
    rows = to_patterns(tokens.soft)
    for fields in ({"extent": [25, 41, 64]}, {"extent": [25, 41]}, {"extent": [25, 2**40, 32]}):
        with pytest.raises(CorruptStream):
            read_tokens(made_up(tokens, codec, rows, **fields))
    with pytest.raises(FingerprintMismatch, match="another prior"):
        read_tokens(made_up(tokens, codec, rows, prior=bytes(8)))


def test_a_chunk_that_no_reader_would_take_is_not_written(
    codec: AnyCodec, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_PAYLOAD_BYTES", 1000)
    with pytest.raises(InvalidInput, match="chunks of 273 positions are too large"):
        write_tokens(tokens, codec, chunk_positions=273)
    assert read_tokens(write_tokens(tokens, codec, chunk_positions=50)).tokens == tokens
