"""`text/bytes`: any bytes, no text that is larger for it, and golden streams."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    FingerprintMismatch,
    Text,
    compress,
    compress_many,
    decompress,
    decompress_many,
    load,
)
from omnicodec.codecs.prior.mixer import byte_model
from omnicodec.codecs.stream import frames, inspect, read_tokens, write_tokens
from omnicodec.codecs.text.bytes import ByteCodec

CODEC = load("text/bytes")
GOLDEN = Path(__file__).parents[2] / "golden"
ENGLISH = (
    "The harbour master wrote down every ship that came in before noon, and beside each name "
    "the colour of its flag. Nobody had asked him to, and nobody thanked him for it either.\n"
)


@settings(deadline=None)
@given(st.binary() | st.text(st.characters()).map(lambda s: s.encode("utf-8", "surrogatepass")))
def test_any_bytes(data: bytes) -> None:
    (tokens,) = CODEC.encode([Text(data)])
    assert tokens.ids.tolist() == [list(data)]
    assert tokens.grid == (len(data),)
    assert CODEC.decode([tokens]) == [Text(data)]
    assert decompress(compress(Text(data), "text/bytes")) == Text(data)


def payloads(text: Text) -> int:
    """Return the bytes of a stream beside those of the stream of no text."""
    return len(compress(text, "text/bytes")) - len(compress(Text(""), "text/bytes"))


def test_english_is_known() -> None:
    assert payloads(Text(ENGLISH)) < 0.5 * len(ENGLISH)
    assert payloads(Text(ENGLISH)) < 0.75 * len(zstandard.compress(ENGLISH.encode(), 19))


def test_noise_and_repeats_do_not_grow() -> None:
    noise = np.random.default_rng(0).bytes(5000)
    assert payloads(Text(noise)) < 5000 + 30
    repeat = noise[:1000] * 100
    assert payloads(Text(repeat)) < len(zstandard.compress(repeat, 19)) + 30


def test_a_repeat_farther_back_than_a_chunk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks do not know of each other: a text that repeats itself late is one large chunk."""
    monkeypatch.setattr(ByteCodec, "chunk_positions", 20_000)
    block = np.random.default_rng(1).bytes(21_000)
    data = block * 2
    stream = compress(Text(data), "text/bytes")
    assert len(stream) < 1.01 * len(block)
    assert inspect(stream).chunk_positions == len(data)
    assert decompress(stream) == Text(data)


def test_what_has_no_far_repeats_stays_in_chunks() -> None:
    (tokens,) = CODEC.encode([Text(ENGLISH * 2)])
    stream = write_tokens(tokens, CODEC, chunk_positions=len(ENGLISH))
    assert read_tokens(stream).header.chunk_positions in (len(ENGLISH), 2 * len(ENGLISH))
    damaged = bytearray(write_tokens(tokens, CODEC, chunk_positions=100))
    damaged[-20] ^= 1
    text = decompress(bytes(damaged), partial=True)
    assert isinstance(text, Text)
    assert (ENGLISH * 2).encode().startswith(text.data[:100])


def test_threads_change_nothing() -> None:
    pick = random.Random(2)
    words = ENGLISH.split()
    texts = [Text(" ".join(pick.choices(words, k=60))) for _ in range(20)]
    alone = [compress(text, "text/bytes") for text in texts]
    assert list(compress_many(texts, "text/bytes", threads=4)) == alone
    assert list(decompress_many(alone, threads=4)) == texts
    (tokens,) = CODEC.encode([Text(ENGLISH * 9)])
    one, four = (write_tokens(tokens, CODEC, chunk_positions=90, threads=n) for n in (1, 4))
    assert one == four
    assert read_tokens(one, threads=4).tokens == tokens


def test_lost_bytes_are_left_out() -> None:
    (tokens,) = CODEC.encode([Text("abcdef")])
    missing = np.array([False, True, True, False, False, True])
    assert CODEC.decode([tokens], missing=[missing]) == [Text("ade")]


def test_spec() -> None:
    assert ByteCodec.describe() == CODEC.spec
    assert CODEC.spec.prior == byte_model().fingerprint == CODEC.prior.fingerprint
    assert (CODEC.spec.version, CODEC.spec.codebook_sizes) == (2, (256,))
    assert CODEC.spec.lossless


def test_golden_stream_opens() -> None:
    """Made by scripts/make_golden.py; a failure means that old streams no longer open."""
    stream = (GOLDEN / "text-bytes-2.omc").read_bytes()
    expected = gzip.decompress((GOLDEN / "text-bytes-2.txt.gz").read_bytes())
    assert decompress(stream) == Text(expected)
    again = write_tokens(CODEC.encode([Text(expected)])[0], CODEC, chunk_positions=50)
    assert again == stream
    # Chunks of both kinds: what Zstandard stores begins with 0.
    firsts = {chunk.payload[0] == 0 for chunk in frames.salvage_chunks(stream, 0)}
    assert firsts == {True, False}


def test_streams_of_version_1_are_refused_by_name() -> None:
    """Its prior was a histogram, which is gone: the stream says so, and nothing is guessed."""
    stream = (GOLDEN / "text-bytes-1.omc").read_bytes()
    with pytest.raises(FingerprintMismatch, match=r"version 1\), this has .* \(version 2\)"):
        decompress(stream)
