"""Mixed documents through a vocabulary and back, and what a model may generate instead."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    CodecSpec,
    FingerprintMismatch,
    InvalidInput,
    Tokens,
    UnknownCodec,
    Vocabulary,
)
from omnicodec.codecs.vocabulary import special

TEXT = CodecSpec(
    name="text/bytes", version=1, modality="text", summary="", fingerprint="0" * 16,
    codebook_sizes=(256,), covers={"bytes": 1},
)  # fmt: skip
IMAGE = CodecSpec(
    name="image/vq", version=1, modality="image", summary="", fingerprint="1" * 16,
    codebook_sizes=(65536,), covers={"height": 16, "width": 16}, extent=("height", "width"),
    grid_rank=2,
)  # fmt: skip
AUDIO = CodecSpec(
    name="audio/rvq", version=1, modality="audio", summary="", fingerprint="2" * 16,
    codebook_sizes=(7, 5, 3), covers={"seconds": 0.02}, extent=("samples", "rate"),
)  # fmt: skip
FINE = CodecSpec(
    name="image/fine", version=1, modality="image", summary="", fingerprint="3" * 16,
    codebook_sizes=(16, 16), covers={"height": 8, "width": 8}, extent=("height", "width"),
    grid_rank=2,
)  # fmt: skip
SPECS = {spec.name: spec for spec in (TEXT, IMAGE, AUDIO, FINE)}


def make(spec: CodecSpec, grid: tuple[int, ...], extent: dict[str, int], seed: int = 0) -> Tokens:
    rng = np.random.default_rng(seed)
    n = int(np.prod(grid))
    ids = np.stack([rng.integers(0, size, n) for size in spec.codebook_sizes]).astype(np.int32)
    return Tokens(spec.name, spec.fingerprint, ids, grid, extent)


def text(data: bytes) -> Tokens:
    ids = np.frombuffer(data, np.uint8).astype(np.int32)[None]
    return Tokens(TEXT.name, TEXT.fingerprint, ids, (len(data),))


@st.composite
def parts(draw: st.DrawFn) -> Tokens:
    kind = draw(st.sampled_from(sorted(SPECS)))
    seed = draw(st.integers(0, 2**32 - 1))
    if kind == "text/bytes":
        return text(draw(st.binary(max_size=12)))
    if kind == "audio/rvq":
        t = draw(st.integers(0, 9))
        return make(AUDIO, (t,), {"samples": draw(st.integers(0, 10**12)), "rate": 24000}, seed)
    spec = SPECS[kind]
    h, w = draw(st.integers(0, 40)), draw(st.integers(0, 3))
    cell = int(spec.covers["height"])
    cut = draw(st.sampled_from([0, 0, 5]))
    extent = {"height": max(0, h * cell - cut), "width": w * cell}
    return make(spec, (h, w), extent, seed)


documents = st.lists(parts(), max_size=6)
patterns = st.sampled_from(["flat", "parallel", "delay"])


def vocabulary(pattern: str = "flat") -> Vocabulary:
    return Vocabulary.build([IMAGE, AUDIO, TEXT, FINE], pattern)


@settings(deadline=None, max_examples=200)
@given(documents, patterns, st.booleans(), st.booleans())
def test_unpack_inverts_pack(document: list[Tokens], pattern: str, bos: bool, eos: bool) -> None:
    ours = vocabulary(pattern)
    ids = ours.pack(document, bos=bos, eos=eos)
    assert ids.dtype == np.int32
    assert ids.ndim == (1 if pattern == "flat" else 2)
    assert ours.unpack(ids) == document


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


def test_save_and_load(tmp_path) -> None:
    ours = vocabulary("delay")
    ours.save(tmp_path)
    assert Vocabulary.load(tmp_path) == ours
    assert Vocabulary.load(tmp_path / "vocabulary.json") == ours
    (tmp_path / "vocabulary.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is not a vocabulary"):
        Vocabulary.load(tmp_path)


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
