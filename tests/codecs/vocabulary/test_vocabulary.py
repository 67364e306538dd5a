"""Mixed documents through a vocabulary and back, and what a model may generate instead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import FingerprintMismatch, InvalidInput, Tokens, UnknownCodec, Vocabulary
from omnicodec.codecs.vocabulary import special

from .documents import (
    AUDIO,
    FINE,
    IMAGE,
    SPECS,
    TEXT,
    documents,
    make,
    patches,
    patterns,
    text,
    vocabulary,
)


@settings(deadline=None, max_examples=200)
@given(documents, patterns, patches, st.booleans(), st.booleans())
def test_unpack_inverts_pack(
    document: list[Tokens], pattern: str, patch: int, bos: bool, eos: bool
) -> None:
    ours = vocabulary(pattern, patch)
    ids = ours.pack(document, bos=bos, eos=eos)
    assert ids.dtype == np.int32
    assert ids.flags.c_contiguous
    assert ids.shape[:-1] == (() if ours.rows == 1 else (ours.rows,))
    assert ours.unpack(ids) == document
    assert ours.unpack(ids.astype(np.uint64)) == document


@given(patterns, st.binary(max_size=20), st.booleans(), st.booleans())
def test_a_text_alone_is_packed_as_among_others(
    pattern: str, data: bytes, bos: bool, eos: bool
) -> None:
    """The short way of one text agrees with the long way."""
    ours = vocabulary(pattern)
    alone = ours.pack([text(data)], bos=bos, eos=eos)
    picture = make(IMAGE, (1, 1), {"height": 16, "width": 16})
    among = ours.pack([picture, text(data)], bos=bos, eos=eos)
    before = ours.pack([picture]).shape[-1]
    assert np.array_equal(np.delete(among, slice(int(bos), before + bos), axis=-1), alone)
    assert alone.base is None
    wrong = Tokens(TEXT.name, TEXT.fingerprint, np.full((1, 3), 256, np.int32), (3,))
    with pytest.raises(InvalidInput, match="out of range"):
        ours.pack([wrong])


@settings(deadline=None, max_examples=300)
@given(documents, patterns, st.data())
def test_one_changed_id_is_refused_or_another_document(
    document: list[Tokens], pattern: str, data: st.DataObject
) -> None:
    """Whatever is accepted is the packing of what it is read as: nothing is ambiguous."""
    ours = vocabulary(pattern)
    ids = ours.pack(document, bos=True, eos=True)
    flat = ids.reshape(-1)
    place = data.draw(st.integers(0, flat.size - 1))
    flat[place] = data.draw(st.integers(-1, ours.size) | st.integers(256, 300))
    try:
        read = ours.unpack(ids)
    except InvalidInput as e:
        assert "position" in str(e)
    else:
        columns = ids.reshape(ours.rows, -1)[0]
        bos = columns[:1].tolist() == [256 + special.BOS]
        eos = columns[-1:].tolist() == [256 + special.EOS]
        assert np.array_equal(ours.pack(read, bos=bos, eos=eos), ids)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 300) | st.integers(256, 2200), max_size=30), patterns)
def test_random_ids_never_crash(ids: list[int], pattern: str) -> None:
    ours = vocabulary(pattern)
    array = np.array(ids, np.int32)
    if pattern != "flat":
        array = np.resize(array, (ours.rows, array.size))
    try:
        read = ours.unpack(array)
    except InvalidInput:
        return
    assert isinstance(read, list)


def test_the_error_names_the_first_wrong_position() -> None:
    ours = vocabulary()
    ids = ours.pack([text(b"ab"), make(IMAGE, (2, 2), {"height": 32, "width": 32})])
    # a b <|image|> <|grid:2,2|> code code code code <|/image|>
    ids[5] = 65
    with pytest.raises(InvalidInput, match=r"^position 5 \(text/bytes:65\): no code of codebook 0"):
        ours.unpack(ids)
    with pytest.raises(InvalidInput, match=r"^position 5 \(text/bytes:65\): .* has no end mark"):
        ours.unpack(ids[:-1])
    ids[5] = ours.special_at + special.COUNT
    with pytest.raises(InvalidInput, match=r"^position 2 \(<\|image\|>\): .* has no end mark"):
        ours.unpack(ids[:-1])
    with pytest.raises(InvalidInput, match="position 1: id 99999999"):
        ours.unpack([65, 99999999])
    with pytest.raises(InvalidInput, match="integers"):
        ours.unpack([0.5, 1.5])


def test_layout_of_a_document_is_as_documented() -> None:
    ours = Vocabulary.build([TEXT, IMAGE])
    picture = make(IMAGE, (1, 2), {"height": 16, "width": 32})
    odd = make(IMAGE, (1, 1), {"height": 3, "width": 300})
    odd = Tokens(odd.codec, odd.fingerprint, np.zeros((1, 19), np.int32), (1, 19), odd.extent)
    names = [ours.name_of(i) for i in ours.pack([text(b"A"), picture, odd], bos=True, eos=True)]
    a, b = picture.ids[0]
    assert names[:7] == [
        "<|bos|>", "text/bytes:65", "<|image|>", "<|grid:1,2|>",
        f"image/vq:{a}", f"image/vq:{b}", "<|/image|>",
    ]  # fmt: skip
    assert names[7:18] == [
        "<|image|>", "<|extent|>", "<|#1|>", "<|,|>", "<|#19|>", "<|,|>", "<|#3|>", "<|,|>",
        "<|#1|>", "<|#44|>", "<|extent|>",
    ]  # fmt: skip
    assert names[-2:] == ["<|/image|>", "<|eos|>"]


@given(documents, patterns, patches, st.integers(1, 5))
def test_documents_mean_the_same_after_a_codec_was_added(
    document: list[Tokens], pattern: str, patch: int, books: int
) -> None:
    """Where no codec has more codebooks than before, the ids are the same as well."""
    before = vocabulary(pattern, patch)
    spec = replace(AUDIO, name="audio/new", codebook_sizes=(9,) * books)
    after = before.extend(spec)
    assert after.entries[:-1] == before.entries
    ids = before.pack(document, eos=True)
    assert after.unpack(ids) == document
    if books <= 3:
        assert np.array_equal(after.pack(document, eos=True), ids)
    for token in (0, before.special_at, before.size - 1):
        assert after.name_of(token) == before.name_of(token)


def test_adding_a_codec_moves_no_id() -> None:
    before = Vocabulary.build([IMAGE, AUDIO])
    after = before.extend(FINE)
    for name, book in (("text/bytes", 0), ("image/vq", 0), ("audio/rvq", 0), ("audio/rvq", 2)):
        assert before.id_range(name, book) == after.id_range(name, book)
    used = {k: v for k, v in before.special_tokens.items() if "reserved" not in k}
    assert used.items() <= after.special_tokens.items()
    assert after.special_tokens["<|image/fine|>"] not in used.values()
    assert after.size == before.size + 32


def test_ranges_cover_every_id_once() -> None:
    ours = vocabulary()
    ranges = [
        ours.id_range(spec.name, book)
        for spec in SPECS.values()
        for book in range(len(spec.codebook_sizes))
    ]
    ids = sorted(i for r in ranges for i in r) + sorted(ours.special_tokens.values())
    assert sorted(ids) == list(range(ours.size))
    assert len(ours.special_tokens) == special.COUNT


def test_text_as_a_part_has_a_mark_of_its_own() -> None:
    """`<|text|>` is the mark between two texts, and no codec's."""
    ours = Vocabulary.build([TEXT, replace(TEXT, name="text/other"), IMAGE])
    assert len(ours.special_tokens) == special.COUNT
    assert ours.special_tokens["<|text|>"] == 256 + special.TEXT
    assert ours.special_tokens["<|text/other|>"] == 256 + special.MARKS_AT
    assert ours.special_tokens["<|image|>"] == 256 + special.MARKS_AT + 2


def test_text_alone_has_special_tokens_too() -> None:
    ours = Vocabulary.build([TEXT])
    assert ours.size == 256 + special.COUNT == ours.extend(IMAGE).size - 65536
    ids = ours.pack([text(b"a"), text(b"b")], bos=True, eos=True)
    assert ids.max() < ours.size
    assert ours.unpack(ids) == [text(b"a"), text(b"b")]


def test_names_of_all_ids_differ() -> None:
    ours = vocabulary()
    names = list(ours.names())
    assert len(set(names)) == len(names) == ours.size - ours.special_at
    assert names[ours.id_range("image/fine", 1)[3] - 256] == "<|image/fine.1:3|>"
    assert ours.name_of(ours.id_range("image/fine", 1)[3]) == "image/fine.1:3"
    for token in (-1, ours.size):
        with pytest.raises(InvalidInput, match="is not in 0.."):
            ours.name_of(token)


def test_patches_as_documented() -> None:
    ours = Vocabulary.build([TEXT], patch=3)
    assert ours.rows == 3
    a, b, c, d = b"abcd"
    assert ours.pack([text(b"abcd")]).tolist() == [[a, d], [b, ours.pad], [c, ours.pad]]
    assert ours.pack([]).shape == (3, 0)
    with pytest.raises(InvalidInput, match="has 3 rows"):
        ours.unpack([a, b, c])
    for patch in (0, -1, 1 << 17):
        with pytest.raises(InvalidInput, match="patches are made of"):
            Vocabulary.build([TEXT], patch=patch)


def test_only_padding_that_belongs_there_is_taken_off() -> None:
    ours = Vocabulary.build([TEXT], patch=3)
    ids = ours.pack([text(b"ab")])
    assert ours.unpack(ids) == [text(b"ab")]
    with pytest.raises(InvalidInput, match=r"position 2 \(<\|pad\|>\): no part can begin here"):
        ours.unpack(np.concatenate([ids, np.full((3, 1), ours.pad)], axis=1))


def test_what_the_vocabulary_does_not_hold_is_refused() -> None:
    ours = Vocabulary.build([IMAGE])
    with pytest.raises(UnknownCodec):
        ours.pack([make(AUDIO, (1,), {"samples": 1, "rate": 1})])
    other = Tokens(
        IMAGE.name, "f" * 16, np.zeros((1, 1), np.int32), (1, 1), {"height": 1, "width": 1}
    )
    with pytest.raises(FingerprintMismatch):
        ours.pack([other])
    high = Tokens(
        IMAGE.name, IMAGE.fingerprint, np.full((1, 1), 65536, np.int32), (1, 1),
        {"height": 1, "width": 1},
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="out of range"):
        ours.pack([high])
    with pytest.raises(InvalidInput, match="pattern"):
        Vocabulary.build([IMAGE], "spiral")
    with pytest.raises(InvalidInput, match="each once"):
        Vocabulary.build([IMAGE, IMAGE])
    with pytest.raises(InvalidInput, match="is over"):
        Vocabulary.build([replace(IMAGE, codebook_sizes=(1 << 30, 1 << 30))])
    with pytest.raises(InvalidInput, match="1 or more codes"):
        Vocabulary.build([replace(IMAGE, codebook_sizes=())])


def test_sizes_that_cannot_be_written_are_refused() -> None:
    """What `pack` writes, `unpack` reads: no integer has more than 7 digits of 8 bits."""
    ours = vocabulary()
    largest = make(AUDIO, (1,), {"samples": (1 << 56) - 1, "rate": 0})
    assert ours.unpack(ours.pack([largest])) == [largest]
    for samples in (1 << 56, -1):
        with pytest.raises(InvalidInput, match="sizes are 0 to"):
            ours.pack([make(AUDIO, (1,), {"samples": samples, "rate": 0})])
    with pytest.raises(InvalidInput, match="sizes are 0 to"):
        ours.pack([make(IMAGE, (1 << 56, 0), {"height": 0, "width": 0})])
    with pytest.raises(InvalidInput, match="another layout"):
        ours.pack([make(AUDIO, (1,), {"samples": 1, "frames": 0})])


def test_integers_that_are_as_usual_need_no_tokens() -> None:
    tiled = replace(IMAGE, name="image/tiled", extent=(*IMAGE.extent, "tile"), usual={"tile": 128})
    ours = Vocabulary.build([TEXT, tiled])
    size = {"height": 32, "width": 48}
    usual, other = (make(tiled, (2, 3), {**size, "tile": tile}) for tile in (128, 64))
    plain = vocabulary("flat").pack([make(IMAGE, (2, 3), size)])
    assert ours.pack([usual]).size == plain.size
    assert ours.pack([other]).size > plain.size
    for parts in ([usual], [other], [usual, other]):
        assert ours.unpack(ours.pack(parts)) == parts
    spelled = ours.pack([other])
    at = int(np.flatnonzero(spelled == ours.special_tokens["<|#0|>"] + 64)[-1])
    spelled[at] += 64
    with pytest.raises(InvalidInput, match="this size has a token of its own"):
        ours.unpack(spelled)


def test_a_vocabulary_names_published_text_and_opens_none() -> None:
    ours = Vocabulary.build([replace(TEXT, name="hf:some/words"), IMAGE])
    with pytest.raises(UnknownCodec, match="hf:some/words is a published codec that is not open"):
        ours.text_codec()


def test_real_valued_tokens_have_no_ids() -> None:
    spec = replace(IMAGE, name="image/soft", codebook_sizes=(), soft_width=4)
    line = "the tokens of image/soft are real values, which have no ids: keep them in Parquet, "
    with pytest.raises(InvalidInput, match=line):
        Vocabulary.build([TEXT, spec])
    with pytest.raises(InvalidInput, match=line):
        vocabulary("flat").extend(spec)
    soft = np.zeros((6, 4), np.float32)
    part = Tokens("image/soft", "0" * 16, np.empty((0, 6), np.int32), (2, 3), {}, soft)
    for parts in ([part], [text(b"a"), part]):
        with pytest.raises(InvalidInput, match=line):
            vocabulary("flat").pack(parts)
    with pytest.raises(InvalidInput, match="real values"):  # whatever codec they claim
        vocabulary("flat").pack([replace(part, codec=IMAGE.name, fingerprint=IMAGE.fingerprint)])
