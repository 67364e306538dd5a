"""Text tokenizers: ids are the library's, any bytes come back, and what loses text is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import (
    FingerprintMismatch,
    InvalidInput,
    Text,
    Tokens,
    compress,
    decompress,
    describe,
    load,
)

tokenizers = pytest.importorskip("tokenizers")

TEXTS = ["", "lorem ipsum dolor sit amet", "Grüße, 世界! \n\n  <s> lorem", "a" * 5000]
BYTES = b"lorem \xff\xfe ipsum\x00\xc3"


def trained() -> Any:
    """Return a byte-level tokenizer as language models have it, with special tokens around."""
    engine = tokenizers.Tokenizer(tokenizers.models.BPE())
    engine.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    engine.train_from_iterator(TEXTS * 5, trainer)
    engine.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a language model, of which only the tokenizer is there."""
    folder = tmp_path / "small-words"
    folder.mkdir()
    trained().save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "vocab_size": 300}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Words\n")
    return folder


def test_ids_are_those_of_the_library(folder: Path) -> None:
    codec = load(f"hf:{folder}", device="cpu")
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.encode_special_tokens = True
    items = [Text(text.encode()) for text in TEXTS]
    found = codec.encode(items)
    for text, tokens in zip(TEXTS, found, strict=True):
        assert tokens.ids[0].tolist() == library.encode(text, add_special_tokens=False).ids
        assert (tokens.codec, tokens.fingerprint) == ("hf:small-words", codec.spec.fingerprint)
    assert codec.decode(found) == items
    assert [codec.encode([item])[0] for item in items] == found


def test_spec(folder: Path) -> None:
    spec = describe(f"hf:{folder}")
    assert spec == load(f"hf:{folder}").spec
    assert (spec.name, spec.modality, spec.licence) == ("hf:small-words", "text", "mit")
    assert spec.lossless
    assert spec.methods == ("bpe", "lbpe")
    size = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    assert spec.codebook_sizes == (size,)
    assert describe(folder).name == "text/bpe"  # as before: a path is that of a tokenizer.json


@pytest.mark.parametrize("method", ["bpe", "lbpe"])
def test_any_bytes_and_streams(folder: Path, method: str) -> None:
    codec = load(f"hf:{folder}")
    (tokens,) = codec.encode([Text(BYTES)], method=method)
    assert codec.decode([tokens]) == [Text(BYTES)]
    stream = compress(Text(BYTES), codec=f"hf:{folder}")
    assert decompress(stream) == Text(BYTES)
    lost = np.zeros(len(tokens), np.bool_)
    lost[0] = True
    (rest,) = codec.decode([tokens], missing=[lost])
    assert BYTES.endswith(rest.data)
    assert len(rest.data) < len(BYTES)


def test_fingerprint_is_that_of_the_tokenizer(folder: Path) -> None:
    before = load(f"hf:{folder}")
    (tokens,) = before.encode([Text(b"lorem")])
    (folder / "config.json").unlink()
    assert describe(f"hf:{folder}").fingerprint == before.spec.fingerprint
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["merges"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(FingerprintMismatch):
        load(f"hf:{folder}").decode([tokens])


def test_ids_that_stand_for_nothing(folder: Path) -> None:
    codec = load(f"hf:{folder}")
    size = codec.spec.codebook_sizes[0]
    with pytest.raises(InvalidInput, match=f"token {size} "):
        codec.decode([Tokens(codec.spec.name, codec.spec.fingerprint, [[size]], (1,))])


def normalized(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "NFC"}


def spaced(content: dict[str, Any]) -> None:
    content["pre_tokenizer"]["add_prefix_space"] = True


def dropping(content: dict[str, Any]) -> None:
    cut = {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False}
    content["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [cut, content["pre_tokenizer"]],
    }


def wordy(content: dict[str, Any]) -> None:
    content["decoder"] = None


def stripping(content: dict[str, Any]) -> None:
    content["added_tokens"][1].update(special=False, lstrip=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (normalized, "NFC changes texts"),
        (spaced, "a space is put before texts"),
        (dropping, "Split changes texts"),
        (wordy, "not every byte is a token"),
        (stripping, "the added token '</s>'"),
    ],
)
def test_what_loses_text_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match="does not give every text back") as caught:
        describe(f"hf:{folder}")
    assert said in str(caught.value)
    assert not load(file).spec.lossless  # which is how it can be had


def test_a_file_that_is_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InvalidInput, match="not a tokenizer.json"):
        load(f"hf:{folder}")
