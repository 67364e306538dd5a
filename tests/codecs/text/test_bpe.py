"""`text/bpe`: any bytes, the same tokens in any batch, golden ids, and a golden stream."""

from __future__ import annotations

import gzip
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    FingerprintMismatch,
    InvalidInput,
    LimitExceeded,
    Text,
    Tokens,
    UnknownCodec,
    Vocabulary,
    compress,
    decompress,
    describe,
    load,
)
from omnicodec.codecs.stream import write_tokens
from omnicodec.codecs.text import bpe
from omnicodec.codecs.text.bpe import BPECodec
from omnicodec.models import weights

CODEC = load("text/bpe")
METHODS = ("bpe", "lbpe")
GOLDEN = Path(__file__).parents[2] / "golden"
ENGLISH = (
    "It is a truth universally acknowledged, that a single man in possession of a good "
    "fortune must be in want of a wife.\n"
)

TEXTS = st.lists(
    st.binary(max_size=30)
    | st.text(max_size=30).map(str.encode)
    | st.text(st.characters(codec=None), max_size=10).map(
        lambda s: s.encode("utf-8", "surrogatepass")
    )
    | st.sampled_from([b"\0" * 100, b" " * 100, b"<|endoftext|>", ENGLISH.encode(), b"\xff" * 9])
).map(b"".join)


@pytest.mark.parametrize("method", METHODS)
def test_any_bytes(method: str) -> None:
    @settings(deadline=None)  # the first of them builds an engine
    @given(TEXTS)
    def check(data: bytes) -> None:
        (tokens,) = CODEC.encode([Text(data)], method=method)
        assert tokens.grid == (len(tokens),)
        assert CODEC.decode([tokens]) == [Text(data)]

    check()


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=8), st.integers(1, 100))
def test_tokens_do_not_depend_on_the_batch(texts: list[bytes], at_once: int) -> None:
    items = [Text(text) for text in texts]
    alone = [CODEC.encode([item])[0] for item in items]
    assert CODEC.encode(items) == alone
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "_AT_ONCE", at_once)
        assert CODEC.encode(items) == alone


def spelled(text: str, method: str) -> list[str]:
    (tokens,) = CODEC.encode([Text(text)], method=method)
    parts = [Tokens("text/bpe", tokens.fingerprint, [[i]], (1,)) for i in tokens.ids[0]]
    return [item.data.decode() for item in CODEC.decode(parts)]


def test_where_a_text_is_cut() -> None:
    assert spelled("Don't cut 12345 words", "bpe") == [
        "Don", "'t", " cut", " ", "123", "45", " words",
    ]  # fmt: skip
    assert spelled("    if x:\n        return", "bpe") == [
        "   ", " if", " x", ":\n", "       ", " return",
    ]  # fmt: skip


def test_the_longest_token_goes_first() -> None:
    for word in (" unbelievably", " theretofore", " reorganization"):
        by_rank, by_length = (spelled(word, method) for method in METHODS)
        assert "".join(by_rank) == "".join(by_length) == word
        lengths = [sorted(map(len, cut), reverse=True) for cut in (by_rank, by_length)]
        assert lengths[1] >= lengths[0]
    text = Text(ENGLISH * 20)
    by_rank, by_length = (CODEC.encode([text], method=method)[0] for method in METHODS)
    assert len(by_length) <= len(by_rank)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Every modality as tokens.", [10454, 1218, 3122, 343, 11072, 46]),
        (
            "\u0434\u043e\u0431\u0440\u0438\u0439 \u0434\u0435\u043d\u044c",
            [893, 2344, 1883, 1732, 1419, 12716],
        ),
        (
            "def f(x):\n    return x + 10000",
            [1274, 278, 3021, 523, 297, 684, 963, 934, 32, 2891, 700],
        ),
    ],
)
def test_golden_ids(text: str, ids: list[int]) -> None:
    """A failure means that texts have other tokens than before: a new version, or a mistake."""
    (tokens,) = CODEC.encode([Text(text)])
    assert tokens.ids.tolist() == [ids]


def test_bytes_are_their_own_tokens() -> None:
    (tokens,) = CODEC.encode([Text(b"\xff\x80\xc3")])
    assert tokens.ids.tolist() == [[0xFF, 0x80, 0xC3]]
    every = Tokens("text/bpe", CODEC.spec.fingerprint, np.arange(256)[None], (256,))
    assert CODEC.decode([every]) == [Text(bytes(range(256)))]


def test_spec() -> None:
    spec = CODEC.spec
    assert spec == describe("text/bpe")
    assert spec.codebook_sizes == (32_768,)
    assert (spec.lossless, spec.methods, spec.extent) == (True, METHODS, ())


def test_what_no_one_encoded_decodes_or_is_refused() -> None:
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 32_768, (1, 5000), np.int32)
    (text,) = CODEC.decode([Tokens("text/bpe", CODEC.spec.fingerprint, ids, (5000,))])
    parts = [Tokens("text/bpe", CODEC.spec.fingerprint, [[i]], (1,)) for i in ids[0]]
    assert text.data == b"".join(item.data for item in CODEC.decode(parts))
    ids[0, [70, 90]] = 32_768, 40_000
    with pytest.raises(InvalidInput, match=r"^token 32768 at position 70 is not in 0..32767"):
        CODEC.decode([Tokens("text/bpe", CODEC.spec.fingerprint, ids, (5000,))])


def test_lost_tokens_are_left_out() -> None:
    (tokens,) = CODEC.encode([Text("one two three")])
    missing = np.array([False, True, False])
    assert CODEC.decode([tokens], missing=[missing]) == [Text("one three")]


def test_too_much_text_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "MAX_TEXT_BYTES", 20)
    tokens = CODEC.encode([Text(b" the" * 6)])
    with pytest.raises(LimitExceeded, match="24 bytes of text"):
        CODEC.decode(tokens)


@pytest.mark.parametrize("data", [b"", b"\xff", ENGLISH.encode() * 300, bytes(range(256)) * 100])
def test_streams(data: bytes) -> None:
    for method in METHODS:
        stream = compress(Text(data), "text/bpe", method=method)
        assert decompress(stream) == Text(data)
    if len(data) > 30_000:
        assert len(stream) < 0.35 * len(data)


def test_golden_stream_opens() -> None:
    """Made by scripts/make_golden.py; a failure means that old streams no longer open."""
    stream = (GOLDEN / "text-bpe-1.omc").read_bytes()
    expected = gzip.decompress((GOLDEN / "text-bpe-1.txt.gz").read_bytes())
    assert decompress(stream) == Text(expected)
    again = write_tokens(CODEC.encode([Text(expected)])[0], CODEC, chunk_positions=50)
    assert again == stream


def test_base_of_a_vocabulary() -> None:
    vocabulary = Vocabulary.build(["image/vq", "text/bpe"])
    assert vocabulary.special_at == 32_768
    parts = CODEC.encode([Text(ENGLISH), Text(b"\xff")])
    assert vocabulary.unpack(vocabulary.pack(parts, bos=True)) == parts


def test_its_own_tokenizer_json_is_the_same_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    CODEC.save(path)
    for opened in (load(path), load(tmp_path), BPECodec.from_file(path, lbpe=True)):
        assert opened.spec.fingerprint == CODEC.spec.fingerprint
        for method in METHODS:
            items = [Text(ENGLISH), Text(b"a\xffb")]
            assert opened.encode(items, method=method) == CODEC.encode(items, method=method)
    assert load(path) is load(path)
    assert load(weights.folder("text/bpe")).spec == CODEC.spec


def test_paths_are_opened_only_as_paths(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    for name in (str(path), str(tmp_path), "../text/bpe", "text/../text/bpe"):
        with pytest.raises(UnknownCodec):
            load(name)
    for wrong in (path, tmp_path / "nowhere", Path(os.devnull)):
        with pytest.raises(InvalidInput):
            load(wrong)
        with pytest.raises(InvalidInput):
            describe(wrong)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    CODEC.save(path)
    first = load(path)
    content = path.read_text().replace('"ignore_merges":false', '"ignore_merges":true')
    path.write_text(content)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 1))
    assert load(path).spec.fingerprint != first.spec.fingerprint


def test_other_vocabularies_do_not_read_its_tokens() -> None:
    content = CODEC.to_json().replace(b'"ignore_merges":false', b'"ignore_merges":true')
    other = BPECodec.from_file(content)
    tokens = other.encode([Text("words")])
    with pytest.raises(FingerprintMismatch):
        CODEC.decode(tokens)
    with pytest.raises(FingerprintMismatch, match="another codec of text/bpe"):
        decompress(write_tokens(tokens[0], other))


def test_torch_is_not_imported() -> None:
    import subprocess

    code = (
        "import sys; from omnicodec.codecs import Text, load; "
        "load('text/bpe').encode([Text('a')]); print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout == "False\n"
