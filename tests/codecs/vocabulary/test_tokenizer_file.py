"""Vocabularies whose text ids are those of any `tokenizer.json`."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import FingerprintMismatch, InvalidInput, Text, Tokens, Vocabulary, load
from omnicodec.codecs.text.bpe import BPECodec
from omnicodec.codecs.vocabulary.tokenizer_file import _gaps

from .documents import AUDIO, IMAGE, make

KINDS = ["llama", "gaps", "unigram", "word piece"]
PICTURE = make(IMAGE, (1, 2), {"height": 16, "width": 32})


@pytest.fixture
def file(request: pytest.FixtureRequest, tmp_path: Path, tokenizer_files) -> Path:
    path = tmp_path / "given" / "tokenizer.json"
    path.parent.mkdir()
    path.write_bytes(tokenizer_files[request.param])
    return path


@pytest.mark.parametrize("file", KINDS, indirect=True)
def test_documents_over_any_tokenizer(file: Path, tmp_path: Path) -> None:
    ours = Vocabulary.build([IMAGE, file], "flat")
    codec = load(file)
    assert ours.special_at == codec.spec.codebook_sizes[0]
    words = codec.encode([Text("the other theory 12")])[0]
    document = [words, PICTURE, words]
    ids = ours.pack(document, eos=True)
    assert ids[: len(words)].tolist() == words.ids[0].tolist()
    # Read by one that has only the two files.
    ours.save(tmp_path)
    file.unlink()
    again = Vocabulary.load(tmp_path)
    assert again == ours
    assert again.unpack(ids) == document
    assert again.text_codec().decode([words]) == codec.decode([words])
    # Or only one of them.
    (tmp_path / "vocabulary.tokenizer.json").unlink()
    alone = Vocabulary.load(tmp_path)
    assert alone == ours
    assert alone.unpack(ids) == document
    assert np.array_equal(alone.pack(document, eos=True), ids)
    assert list(alone.files()) == ["vocabulary.json"]
    with pytest.raises(InvalidInput, match="is not beside it"):
        alone.text_codec()


@pytest.mark.parametrize("file", ["llama"], indirect=True)
def test_its_own_special_tokens_keep_their_ids_and_names(file: Path) -> None:
    ours = Vocabulary.build([file, IMAGE, AUDIO])
    own = load(file).pieces
    assert ours.tokenizer is not None
    assert ours.tokenizer.added_tokens == {
        name: own[name]
        for name in (
            "<s>", "<|begin_of_text|>", "<|image|>", "<|pad|>", "<|image/vq:3|>", "the other",
        )
    }  # fmt: skip
    assert ours.name_of(own["<|image|>"]) == "<|image|>"
    assert ours.special_tokens["<|omni:image|>"] == ours.special_at + 1312
    assert ours.special_tokens["<|omni:pad|>"] == ours.pad
    assert "<|image|>" not in ours.special_tokens
    assert ours.special_tokens["<|audio|>"] == ours.special_at + 1314
    names = [*own, *ours.names()]
    assert len(set(names)) == len(names) == ours.size
    assert "<|omni:image/vq:3|>" in names
    # A model may write them: they are text.
    ids = [own["<|begin_of_text|>"], own["<|image|>"]]
    [words] = ours.unpack(ids)
    assert ours.text_codec().decode([words]) == [Text("<|begin_of_text|><|image|>")]


@pytest.mark.parametrize("file", ["gaps"], indirect=True)
def test_ids_that_stand_for_nothing(file: Path) -> None:
    ours = Vocabulary.build([file, IMAGE])
    assert ours.tokenizer is not None
    assert ours.tokenizer.gaps == ((289, 310), (311, 320))
    assert ours.tokenizer.taken == ("<|unused:305|>",)
    fine = ours.pack([ours.text_codec().encode([Text("then")])[0], PICTURE])
    spoiled = np.concatenate([[7, 305, 8], fine])
    found = ours.recover(spoiled)
    assert [part.start for part in found.parts] == [0, 2, spoiled.size - 5]
    [problem] = found.problems
    assert str(problem) == "position 1 (text/bpe:305): this id stands for nothing in text/bpe"
    with pytest.raises(InvalidInput, match="^position 1 .text/bpe:305.: this id stands for"):
        ours.unpack(spoiled)
    row = np.array([[7, 305]], np.int32)
    entry = ours.entries[0]
    with pytest.raises(InvalidInput, match="token 305 at position 1 is no piece of text/bpe"):
        ours.pack([Tokens(entry.name, entry.fingerprint, row, (2,))])


@given(st.sets(st.integers(0, 30), min_size=1))
def test_gaps(used: set[int]) -> None:
    size = max(used) + 1
    gaps = _gaps(np.array(sorted(used)), size)
    free = [i for start, stop in gaps for i in range(start, stop)]
    assert free == sorted(set(range(size)) - used)
    assert all(a[1] < b[0] for a, b in pairwise(gaps))


@pytest.mark.parametrize("file", ["llama"], indirect=True)
def test_the_copy_is_the_file_itself_and_is_compared(file: Path, tmp_path: Path) -> None:
    ours = Vocabulary.build([file])
    ours.save(tmp_path)
    copy = tmp_path / "vocabulary.tokenizer.json"
    assert copy.read_bytes() == file.read_bytes()
    assert set(ours.files("mine.json")) == {"mine.json", "mine.tokenizer.json"}
    copy.write_bytes(copy.read_bytes() + b" ")
    with pytest.raises(InvalidInput, match="is not the tokenizer of this vocabulary"):
        Vocabulary.load(tmp_path).text_codec()


@pytest.mark.parametrize("file", ["llama"], indirect=True)
def test_codecs_and_folders_do_as_well(file: Path) -> None:
    by_path = Vocabulary.build([file, IMAGE])
    assert Vocabulary.build([file.parent, IMAGE]) == by_path
    by_codec = Vocabulary.build([BPECodec.from_file(file), IMAGE])
    assert by_codec.entries == by_path.entries
    assert by_codec.text_codec().spec == by_path.text_codec().spec
    shipped = Vocabulary.build([load("text/bpe"), IMAGE])
    assert shipped == Vocabulary.build(["text/bpe", IMAGE])
    assert shipped.tokenizer is None


def test_a_shipped_codec_of_another_version_is_refused() -> None:
    ours = Vocabulary.build(["text/bytes"])
    changed = replace(ours, entries=(replace(ours.entries[0], fingerprint="f" * 16),))
    with pytest.raises(FingerprintMismatch, match="this vocabulary holds ffffffffffffffff"):
        changed.text_codec()


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot read"):
        Vocabulary.build([tmp_path / "none.json"])
    (tmp_path / "tokenizer.json").write_text("[]")
    with pytest.raises(InvalidInput, match="not a tokenizer.json"):
        Vocabulary.build([tmp_path / "tokenizer.json"])
