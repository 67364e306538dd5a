"""Vocabularies as tokenizers of the transformers library."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import InvalidInput, Text, Vocabulary, load

from .documents import AUDIO, IMAGE, make

transformers = pytest.importorskip("transformers")

SENTENCE = "The theory:\n\tund dann \u6f22\u5b57, na\u00efve \u200d 12345   \U0001f600 there"


def opened(ours: Vocabulary, folder: Path) -> Any:
    ours.to_hf(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(("base", "codes"), [("text/bytes", 5000), ("text/bpe", 100)])
def test_ids_and_texts_are_ours(base: str, codes: int, tmp_path: Path) -> None:
    image = replace(IMAGE, codebook_sizes=(codes,))
    ours = Vocabulary.build([base, image, AUDIO])
    theirs = opened(ours, tmp_path / "new" / "folder")
    codec = load(base)
    words = codec.encode([Text(SENTENCE)])[0]
    assert theirs(SENTENCE)["input_ids"] == words.ids[0].tolist()
    assert theirs.decode(words.ids[0]) == SENTENCE
    assert len(theirs) == ours.size
    assert theirs.pad_token_id == ours.pad
    names = list(ours.names())
    picked = [0, 1, 40, 1311, 1312, 1568, 1567 + codes, -1]
    assert theirs.convert_tokens_to_ids([names[i] for i in picked]) == [
        range(ours.special_at, ours.size)[i] for i in picked
    ]
    # A whole document as a string, and back.
    picture = make(image, (1, 2), {"height": 16, "width": 32})
    ids = ours.pack([words, picture, words], bos=True, eos=True)
    drawn = theirs.decode(ids)
    assert drawn.startswith("<|bos|>The theory")
    assert f"<|image|><|grid:1,2|><|image/vq:{picture.ids[0, 0]}|>" in drawn
    assert theirs(drawn)["input_ids"] == ids.tolist()
    assert theirs.decode(ids, skip_special_tokens=True) == 2 * SENTENCE
    # A text from anywhere cannot bring special tokens in, where it is asked to.
    inside = theirs("<|image|>", split_special_tokens=True)["input_ids"]
    assert inside == codec.encode([Text("<|image|>")])[0].ids[0].tolist()
    assert Vocabulary.load(tmp_path / "new" / "folder") == ours


@pytest.mark.parametrize("kind", ["llama", "gaps", "unigram", "word piece"])
def test_any_tokenizer(kind: str, tmp_path: Path, tokenizer_files: dict[str, bytes]) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(tokenizer_files[kind])
    before = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file))
    ours = Vocabulary.build([file, AUDIO])
    theirs = opened(ours, tmp_path / "hf")
    text = "the other theory, then and there: 12"
    ids = theirs(text)["input_ids"]
    assert ids == before(text)["input_ids"] == load(file).encode([Text(text)])[0].ids[0].tolist()
    assert theirs.decode(ids) == before.decode(ids)
    assert len(theirs) == ours.size
    for piece, token in load(file).pieces.items():
        assert theirs.convert_tokens_to_ids(piece) == token
    for name, token in zip(ours.names(), range(ours.special_at, ours.size), strict=True):
        assert theirs.convert_tokens_to_ids(name) == token
    if kind == "gaps":
        assert theirs.convert_ids_to_tokens(304) == "<|unused:304|>"
        assert theirs.convert_ids_to_tokens(305) == "<|omni:unused:305|>"
    assert (tmp_path / "hf" / "vocabulary.tokenizer.json").read_bytes() == tokenizer_files[kind]
    again = Vocabulary.load(tmp_path / "hf")
    again.to_hf(tmp_path / "again")  # what was written is enough to write it again
    assert {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "hf").iterdir()
    }


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="text/info are not those of a tokenizer"):
        Vocabulary.build(["text/info"]).to_hf(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_of_another_tokenizer_writes_nothing(
    tmp_path: Path, tokenizer_files: dict[str, bytes]
) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(tokenizer_files["llama"])
    Vocabulary.build([file]).save(tmp_path)
    saved = tmp_path / "vocabulary.json"
    content = json.loads(saved.read_text())
    content["tokenizer"]["added_tokens"]["<|image|>"] += 1
    saved.write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match="cannot give these ids"):
        Vocabulary.load(saved).to_hf(tmp_path / "hf")
    assert not (tmp_path / "hf").exists()
