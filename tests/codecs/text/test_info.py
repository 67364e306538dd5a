"""`text/info`: any bytes come back, any tokens are some text, through every door."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    CorruptStream,
    FingerprintMismatch,
    InvalidInput,
    LimitExceeded,
    Text,
    Tokens,
    Vocabulary,
    compress,
    decompress,
    load,
)
from omnicodec.codecs.limits import MAX_TEXT_BYTES
from omnicodec.codecs.prior.mixer import byte_model
from omnicodec.codecs.stream import frames, read_tokens, write_tokens
from omnicodec.codecs.text.info import InfoCodec

CODEC = load("text/info")
SPEC = CODEC.spec
GOLDEN = Path(__file__).parents[2] / "golden"
ENGLISH = (
    "The harbour master wrote down every ship that came in before noon, and beside each name "
    "the colour of its flag. Nobody had asked him to, and nobody thanked him for it either.\n"
)
DATA = st.one_of(
    st.binary(max_size=200),
    st.text(st.characters(codec=None), max_size=60).map(
        lambda s: s.encode("utf-8", "surrogatepass")
    ),
)
IDS = st.lists(st.integers(0, 2**16 - 1), max_size=20)


def tokens_of(ids: list[int]) -> Tokens:
    return Tokens("text/info", SPEC.fingerprint, np.array([ids], np.int32), (len(ids),))


@settings(deadline=None)
@given(DATA)
@example(b"")
@example(b"\0")
@example(b"\0" * 3000)
@example(b"\xff\xfe\xc0\x80" * 20)
@example("\ud800 \udfff".encode("utf-8", "surrogatepass"))
@example(bytes(range(256)) * 2)
def test_any_bytes_come_back(data: bytes) -> None:
    (tokens,) = CODEC.encode([Text(data)])
    assert tokens.grid == (len(tokens),)
    assert tokens.extent == {}
    assert CODEC.decode([tokens]) == [Text(data)]


@settings(deadline=None)
@given(IDS)
@example([])
@example([5])
@example([65535, 65535])
@example([0, 0, 0])
@example([1, 2, 65535])
def test_made_up_tokens_are_some_text(ids: list[int]) -> None:
    (text,) = CODEC.decode([tokens_of(ids)])
    assert (text.data == b"") or len(ids) > 1
    # What they mean has tokens of its own, which mean the same.
    assert CODEC.decode(CODEC.encode([text])) == [text]


@settings(deadline=None)
@given(IDS, st.integers(0, 19))
def test_tokens_are_read_from_the_left(ids: list[int], at: int) -> None:
    """A later token does not change what was read: a model may write them one by one."""
    whole, part = CODEC.decode([tokens_of([*ids, 65535]), tokens_of([*ids[:at], 0])])
    assert whole.data.startswith(part.data)


def test_english_is_known() -> None:
    (tokens,) = CODEC.encode([Text(ENGLISH)])
    assert len(ENGLISH) / len(tokens) > 4.5


def test_tokens_are_used_evenly() -> None:
    """As information should be: about as many small ids as large ones."""
    (tokens,) = CODEC.encode([Text(ENGLISH * 2 + str(list(range(900))))])
    windows = tokens.ids[0, :-1]
    assert windows.size > 200
    assert 0.4 < (windows < 1 << 15).mean() < 0.6


def test_wrong_ids_are_named() -> None:
    for wrong in (-1, 1 << 16):
        with pytest.raises(InvalidInput, match=f"token {wrong} at position 2 is not in 0..65535"):
            CODEC.decode([tokens_of([1, 2, wrong])])
    with pytest.raises(FingerprintMismatch):
        CODEC.decode([Tokens("text/info", "0" * 16, np.zeros((1, 2), np.int32), (2,))])


def test_batches_are_their_items() -> None:
    texts = [Text(ENGLISH[i : i * 17]) for i in range(9)]
    alone = [CODEC.encode([text])[0] for text in texts]
    assert CODEC.encode(texts) == alone
    assert CODEC.decode(alone) == texts


def test_what_stands_before_a_lost_token_is_whole() -> None:
    (tokens,) = CODEC.encode([Text(ENGLISH)])
    for at in range(len(tokens)):
        missing = np.arange(len(tokens)) == at
        (text,) = CODEC.decode([tokens], missing=[missing])
        before = CODEC.decode([tokens_of([*tokens.ids[0, :at].tolist(), 0])])[0]
        assert text.data.startswith(before.data)
        assert ENGLISH.encode().startswith(before.data)
        if at < len(tokens) - 1:
            # All its windows are whole ones.
            assert ENGLISH.encode().startswith(text.data)
            assert len(text.data) >= 2 * (at - 1)
    nothing_lost = np.zeros(len(tokens), np.bool_)
    assert CODEC.decode([tokens], missing=[nothing_lost]) == [Text(ENGLISH)]


def test_limits() -> None:
    assert CODEC.expected_grid({}, MAX_TEXT_BYTES) == (MAX_TEXT_BYTES,)
    with pytest.raises(LimitExceeded):
        CODEC.expected_grid({}, MAX_TEXT_BYTES + 1)


@settings(deadline=None, max_examples=30)
@given(DATA)
def test_streams(data: bytes) -> None:
    assert decompress(compress(Text(data), "text/info")) == Text(data)


def test_windows_cost_two_bytes_in_a_stream() -> None:
    (tokens,) = CODEC.encode([Text(ENGLISH * 3)])
    size = len(write_tokens(tokens, CODEC)) - len(compress(Text(""), "text/info"))
    assert size < 2 * len(tokens) + 30


def test_damaged_streams() -> None:
    # Digits that nothing tells: some five of them in a token.
    pick = random.Random(3)
    whole = Text(" ".join(str(pick.randrange(10**6)) for _ in range(80)))
    (tokens,) = CODEC.encode([whole])
    stream = write_tokens(tokens, CODEC, chunk_positions=10)
    with pytest.raises(CorruptStream):
        decompress(stream[:-12])
    cut = decompress(stream[:-12], partial=True)
    assert isinstance(cut, Text)
    assert whole.data.startswith(cut.data)
    assert len(cut.data) > 0.75 * len(whole.data)
    # A chunk in the middle: the text ends there.
    at = frames.read_header(stream)[1]
    for _ in range(2):
        _, at = frames.read_chunk(stream, at)
    broken = bytearray(stream)
    broken[at + 8] ^= 1
    contents = read_tokens(bytes(broken), partial=True)
    assert contents.missing is not None
    assert np.flatnonzero(contents.missing).tolist() == list(range(20, 30))
    (text,) = CODEC.decode([contents.tokens], missing=[contents.missing])
    assert isinstance(text, Text)
    assert 60 < len(text.data) < 160
    assert whole.data.startswith(text.data)


@pytest.mark.parametrize("pattern", ["flat", "parallel", "delay"])
def test_text_of_a_vocabulary(pattern: str) -> None:
    vocabulary = Vocabulary.build(["text/info", "image/vq"], pattern)
    spec = load("image/vq").spec
    picture = Tokens(
        "image/vq",
        spec.fingerprint,
        np.arange(6, dtype=np.int32)[None] * np.ones((len(spec.codebook_sizes), 1), np.int32),
        (2, 3),
        {"height": 30, "width": 47},
    )
    before, behind = CODEC.encode([Text(ENGLISH), Text("\0 and \udcff".encode("utf-8", "replace"))])
    parts = [before, picture, behind]
    sequence = vocabulary.pack(parts)
    assert vocabulary.unpack(sequence) == parts
    assert sequence.reshape(-1).max() < vocabulary.size
    assert CODEC.decode(vocabulary.unpack(sequence)[::2])[0] == Text(ENGLISH)


def test_media_part_of_a_vocabulary() -> None:
    vocabulary = Vocabulary.build(["text/bytes", "text/info"])
    parts = [*load("text/bytes").encode([Text("see: ")]), *CODEC.encode([Text(ENGLISH)])]
    assert vocabulary.unpack(vocabulary.pack(parts)) == parts


def test_spec() -> None:
    assert InfoCodec.describe() == SPEC
    assert (SPEC.codebook_sizes, SPEC.extent, SPEC.grid_rank) == ((1 << 16,), (), 1)
    assert SPEC.lossless
    assert SPEC.prior == CODEC.prior.fingerprint
    assert 3 < SPEC.covers["bytes"] < 16


def test_tokens_belong_to_the_byte_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another byte model makes other tokens, so it has another fingerprint."""
    monkeypatch.setattr(byte_model(), "fingerprint", "0123456789abcdef")
    assert InfoCodec.describe().fingerprint != SPEC.fingerprint


def test_golden_stream_opens() -> None:
    """Made by scripts/make_golden.py; a failure means that old streams no longer open."""
    stream = (GOLDEN / "text-info-1.omc").read_bytes()
    expected = gzip.decompress((GOLDEN / "text-info-1.txt.gz").read_bytes())
    assert decompress(stream) == Text(expected)
    again = write_tokens(CODEC.encode([Text(expected)])[0], CODEC, chunk_positions=50)
    assert again == stream
