"""Tokenizers of other people, as they come: made here, with what is odd about real ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

CORPUS = ["the theory of other things, then and there: 12 345", "a b  c\n\n\tdef there():"] * 4


def _byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        special_tokens=["<s>"],
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _llama() -> Tokenizer:
    """Special tokens behind the others, some of them called like ours."""
    tokenizer = _byte_level()
    names = ["<|begin_of_text|>", "<|image|>", "<|pad|>", "<|image/vq:3|>"]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    tokenizer.add_tokens(["the other"])
    return tokenizer


def _with_gaps() -> dict[str, Any]:
    """Ids that stand for nothing, between pieces and behind them."""
    content: dict[str, Any] = json.loads(_byte_level().to_str())
    pieces = content["model"]["vocab"]
    last = max(pieces, key=pieces.get)
    pieces[last] = 310
    pieces["<|unused:305|>"] = 320  # what a gap would be called
    return content


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=80, unk_token="<unk>", special_tokens=["<unk>", "<pad>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=120, special_tokens=["[UNK]", "[CLS]"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer_files() -> dict[str, bytes]:
    """Return files `tokenizer.json` by what is odd about them."""
    return {
        "llama": _llama().to_str().encode(),
        "gaps": json.dumps(_with_gaps()).encode(),
        "unigram": _unigram().to_str().encode(),
        "word piece": _word_piece().to_str().encode(),
    }
