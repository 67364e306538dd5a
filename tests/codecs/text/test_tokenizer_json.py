"""Files `tokenizer.json` of other tokenizers: what is lossless, what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from omnicodec.codecs import InvalidInput, OmnicodecError, Text, Tokens
from omnicodec.codecs.text import _tokenizer_json as tokenizer_json
from omnicodec.codecs.text.bpe import BPECodec

CORPUS = ["the theory of other things, then and there: 12 345", "a b  c\n\n\tdef there():"] * 4
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
Change = Callable[[Tokenizer], None]


def byte_level(*changes: Change, model: str = "bpe") -> Tokenizer:
    if model == "bpe":
        tokenizer = Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=320, initial_alphabet=BYTES, show_progress=False, special_tokens=["<s>"]
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=320, initial_alphabet=BYTES, show_progress=False, special_tokens=["<s>"]
        )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(CORPUS, trainer)
    for change in changes:
        change(tokenizer)
    return tokenizer


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=120, special_tokens=["[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentence_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=80, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def opened(tokenizer: Tokenizer, **options: Any) -> BPECodec:
    return BPECodec.from_file(tokenizer.to_str().encode(), **options)


def set_part(name: str, value: object) -> Change:
    return lambda tokenizer: setattr(tokenizer, name, value)


def cutting_first(*parts: Any) -> Change:
    last = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return set_part("pre_tokenizer", pre_tokenizers.Sequence([*parts, last]))


LOSSLESS = {
    "GPT-2": byte_level(),
    "unigram": byte_level(model="unigram"),
    "cut first": byte_level(
        cutting_first(pre_tokenizers.Digits(True), pre_tokenizers.Split(Regex(r"\s"), "isolated"))
    ),
    "added token": byte_level(lambda t: t.add_tokens(["the o", "\u4e2d", "  "])),
    "marks around": byte_level(
        set_part("post_processor", processors.TemplateProcessing("<s> $A", None, [("<s>", 0)]))
    ),
    "truncated": byte_level(lambda t: t.enable_truncation(3), lambda t: t.enable_padding(length=9)),
    "dropout": byte_level(lambda t: setattr(t.model, "dropout", 0.5)),
}

LOSSY = {
    "WordPiece": word_piece(),
    "SentencePiece": sentence_piece(),
    "normalizer": byte_level(set_part("normalizer", normalizers.NFKC())),
    "space before": byte_level(
        set_part("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True))
    ),
    "cut away": byte_level(cutting_first(pre_tokenizers.Split(" ", "removed"))),
    "white space goes": byte_level(cutting_first(pre_tokenizers.WhitespaceSplit())),
    "no decoder": byte_level(set_part("decoder", None)),
    # It is the character of byte 0xE9 too, and has that one's id.
    "added byte": byte_level(lambda t: t.add_tokens(["\u00e9"])),
    "strips": byte_level(lambda t: t.add_tokens([AddedToken("then", lstrip=True)])),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_files_give_back_any_bytes(name: str) -> None:
    codec = opened(LOSSLESS[name])
    assert codec.spec.lossless

    @settings(deadline=None)
    @given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode) | st.sampled_from(TEXTS))
    def check(data: bytes) -> None:
        for method in codec.spec.methods or (None,):
            tokens = codec.encode([Text(data)], method=method)
            assert codec.decode(tokens) == [Text(data)]

    check()


TEXTS = [
    b"<s>",
    b"a <s> then the other\xe9 \xc3\xa9  ",
    "\u0120the \ufb01 e\u0301".encode(),
    b" a b ",
]


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_files_say_so(name: str) -> None:
    codec = opened(LOSSY[name])
    assert not codec.spec.lossless
    items = [Text(text) for text in TEXTS]
    assert codec.decode(codec.encode(items)) != items  # and no other error


@pytest.mark.parametrize("name", ["GPT-2", "unigram", "cut first", "added token"])
def test_ids_are_those_of_the_library(name: str) -> None:
    tokenizer = LOSSLESS[name]
    for text in [*CORPUS, "the other  \u00e9\U0001f600"]:
        (tokens,) = opened(tokenizer).encode([Text(text)])
        assert tokens.ids[0].tolist() == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY])
def test_special_tokens_in_a_text_are_text(name: str) -> None:
    tokenizer = (LOSSLESS | LOSSY)[name]
    codec = opened(tokenizer)
    special = tokenizer.token_to_id("<s>")
    for method in codec.spec.methods or (None,):
        (tokens,) = codec.encode([Text("a<s>b <s>")], method=method)
        assert special is None or special not in tokens.ids[0]


@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY])
def test_any_ids_decode(name: str) -> None:
    codec = opened((LOSSLESS | LOSSY)[name])
    size = codec.spec.codebook_sizes[0]
    ids = np.random.default_rng(0).integers(0, size, (20, 1, 30), np.int32)
    for row in ids:
        (text,) = codec.decode([Tokens("text/bpe", codec.spec.fingerprint, row, (30,))])
        assert isinstance(text.data, bytes)


def test_ids_that_stand_for_nothing_are_refused_with_their_position() -> None:
    content = json.loads(byte_level().to_str())
    moved = content["model"]["vocab"].pop("Ġthe")
    content["model"]["merges"] = [
        pair for pair in content["model"]["merges"] if "Ġthe" not in ("".join(pair), *pair)
    ]
    codec = BPECodec.from_file(json.dumps(content).encode())
    ids = np.array([[5, 6, moved, moved]], np.int32)
    with pytest.raises(InvalidInput, match=f"^token {moved} at position 2 stands for nothing"):
        codec.decode([Tokens("text/bpe", codec.spec.fingerprint, ids, (4,))])
    for method in ("bpe", "lbpe"):
        texts = [Text(text) for text in CORPUS]
        assert codec.decode(codec.encode(texts, method=method)) == texts


def test_fingerprint_is_of_what_decides_about_tokens() -> None:
    plain = opened(LOSSLESS["GPT-2"]).spec.fingerprint
    assert {opened(LOSSLESS[n]).spec.fingerprint for n in ("marks around", "truncated")} == {plain}
    others = [opened(t).spec.fingerprint for t in (LOSSLESS | LOSSY).values()]
    assert len(set(others)) == len(others) - 3  # dropout is no difference either


def test_fingerprint_does_not_depend_on_how_a_file_is_written() -> None:
    content = json.loads(byte_level().to_str())
    expected = BPECodec.from_file(json.dumps(content).encode()).spec.fingerprint
    older = copy.deepcopy(content)
    older["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    for name in ("dropout", "fuse_unk", "byte_fallback", "ignore_merges"):
        del older["model"][name]
    del older["pre_tokenizer"]["use_regex"]
    older["vocab_order"] = list(reversed(content["model"]["vocab"]))
    older["model"]["vocab"] = dict(reversed(content["model"]["vocab"].items()))
    assert BPECodec.from_file(json.dumps(older, indent=1).encode()).spec.fingerprint == expected
    content["model"]["merges"].reverse()
    try:
        changed = tokenizer_json.fingerprint(tokenizer_json.parse(json.dumps(content).encode()))
    except OmnicodecError:
        return
    assert changed != expected


def damaged(content: dict[str, Any]) -> Iterator[bytes]:
    yield b""
    yield b"\xff\xfe"
    yield b"[" * 100_000
    yield b"{}"
    yield b'{"model": 3}'
    yield b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}'
    for path, value in (
        (("model", "type"), "Other"),
        (("model", "merges"), [["a"]]),
        (("model", "merges"), [["nowhere", "either"]]),
        (("model", "vocab"), {"a": -1}),
        (("model", "vocab"), {"a": 2**31 - 1}),
        (("model", "vocab"), {"a": "b"}),
        (("pre_tokenizer",), {"type": "Split", "pattern": {"Regex": "("}}),
        (("added_tokens",), [{"id": 1}]),
        (("added_tokens",), [{"id": 1, "content": 7}]),
        (("decoder",), 5),
        (("normalizer",), []),
        (("decoder",), ["ByteLevel", True, True, True]),
        (("model", "continuing_subword_prefix"), "longer than any piece"),
    ):
        changed = copy.deepcopy(content)
        part = changed
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value
        yield json.dumps(changed).encode()


@pytest.mark.parametrize("data", list(damaged(json.loads(byte_level().to_str()))))
def test_what_is_no_tokenizer_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        BPECodec.from_file(data)


def test_long_tokens_first_needs_byte_level_bpe() -> None:
    for name in ("WordPiece", "SentencePiece", "no decoder"):
        with pytest.raises(InvalidInput, match="byte-level BPE only"):
            opened(LOSSY[name], lbpe=True)
        assert opened(LOSSY[name]).spec.methods == ()
    codec = opened(LOSSLESS["GPT-2"], lbpe=True)
    assert codec.spec.methods == ("lbpe", "bpe")
    assert codec.spec.fingerprint == opened(LOSSLESS["GPT-2"]).spec.fingerprint
    texts = [Text(text) for text in CORPUS]
    assert codec.encode(texts) == codec.encode(texts, method="lbpe")


@settings(deadline=None)
@given(st.text("theor cofn", max_size=14))
def test_long_tokens_first_finds_the_longest(word: str) -> None:
    """Of all ways to cut a word, the one with the largest sum of fourth powers of lengths."""
    codec = LONG
    vocabulary = {
        piece for piece, token in codec._vocabulary.items() if token < 320 and piece != "<s>"
    }

    def best(piece: str) -> int:
        scores = [0]
        for end in range(1, len(piece) + 1):
            cuts = [(s, piece[s:end]) for s in range(end) if piece[s:end] in vocabulary]
            scores.append(max(scores[start] + len(token) ** 4 for start, token in cuts))
        return scores[-1]

    (tokens,) = codec.encode([Text(word)])
    lengths = [len(codec._bytes[token]) for token in tokens.ids[0]]
    words = [piece for piece, _ in codec._engine.pre_tokenizer.pre_tokenize_str(word)]
    assert sum(n**4 for n in lengths) == sum(map(best, words))


LONG = opened(LOSSLESS["GPT-2"], lbpe=True)
