"""`text/patch`: any bytes come back, prefixes are cut alike, made-up tokens do no harm."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from omnicodec.codecs import (
    InvalidInput,
    Text,
    Tokens,
    Vocabulary,
    compress,
    decompress,
    load,
)
from omnicodec.codecs.prior.mixer import byte_model
from omnicodec.codecs.stream import write_tokens
from omnicodec.codecs.text._patch_tokens import NONE, codebook_sizes
from omnicodec.codecs.text.patch import PatchCodec
from omnicodec.models import weights

GOLDEN = Path(__file__).parents[2] / "golden"
CODEC = load("text/patch")
assert isinstance(CODEC, PatchCodec)
CODEC.warm()

SPEC = CODEC.spec
BOOKS = len(SPEC.codebook_sizes)
LEARNED = SPEC.codebook_sizes[0] - 256
LONGEST = CODEC.segmentation.longest
METHODS = pytest.mark.parametrize("method", SPEC.methods)

ENGLISH = (
    "The old house stood at the end of the lane, behind three tall trees. Nobody had lived "
    "there for many years, and the children of the village believed that it was haunted. "
) * 3
DATA = (
    st.binary(max_size=60)
    | st.text(max_size=30).map(lambda s: s.encode("utf-8", "surrogatepass"))
    | st.tuples(st.integers(0, 400), st.integers(0, 60)).map(
        lambda at: ENGLISH[at[0] : sum(at)].encode()
    )
)


def tokens_of(ids: object) -> Tokens:
    array = np.asarray(ids, np.int32)
    return Tokens("text/patch", SPEC.fingerprint, array, (array.shape[1],))


@METHODS
@settings(deadline=None)
@given(data=DATA)
@example(data=b"")
@example(data=b"\0" * 50)
@example(data="\ud800 \udfff".encode("utf-8", "surrogatepass"))
@example(data=bytes(range(256)))
def test_any_bytes_come_back(method: str, data: bytes) -> None:
    (tokens,) = CODEC.encode([Text(data)], method=method)
    assert CODEC.decode([tokens]) == [Text(data)]
    lengths = CODEC.patches(data, method)
    assert lengths.dtype == np.int32
    assert lengths.sum() == len(data)
    assert ((lengths >= 1) & (lengths <= LONGEST)).all()
    assert len(tokens) >= lengths.size


@METHODS
@settings(deadline=None)
@given(data=DATA, at=st.integers(0, 60))
def test_patches_of_a_prefix_are_a_prefix(method: str, data: bytes, at: int) -> None:
    whole, part = CODEC.patches(data, method), CODEC.patches(data[:at], method)
    if part.size:
        assert part[:-1].tolist() == whole[: part.size - 1].tolist()
        assert part[-1] <= whole[part.size - 1]


def test_the_default_method_and_kinds_of_text() -> None:
    by_default = CODEC.patches(ENGLISH)
    assert by_default.tolist() == CODEC.patches(ENGLISH.encode(), "entropy").tolist()
    assert by_default.tolist() == CODEC.patches(Text(ENGLISH), None).tolist()
    assert CODEC.encode([Text(ENGLISH)]) == CODEC.encode([Text(ENGLISH)], method="entropy")
    with pytest.raises(InvalidInput, match="words"):
        CODEC.patches(ENGLISH, "words")
    with pytest.raises(InvalidInput, match="no method words"):
        CODEC.encode([Text(ENGLISH)], method="words")


@METHODS
def test_batches_are_their_items(method: str) -> None:
    texts = [Text(ENGLISH[i * 11 : i * 40]) for i in range(7)]
    batch = CODEC.encode(texts, method=method)
    assert batch == [CODEC.encode([text], method=method)[0] for text in texts]
    assert CODEC.decode(batch) == texts
    lengths = CODEC.patches_of(texts, method)
    assert [n.tolist() for n in lengths] == [CODEC.patches(t, method).tolist() for t in texts]


def test_english_is_mostly_codes() -> None:
    (tokens,) = CODEC.encode([Text(ENGLISH)])
    assert (tokens.ids[0] >= LEARNED).mean() < 0.05
    assert len(ENGLISH) / len(tokens) > 3.5


IDS = (
    st.integers(0, 12)
    .flatmap(
        lambda n: st.tuples(
            *(
                arrays.arrays(np.int32, n, elements=st.integers(0, s - 1))
                for s in SPEC.codebook_sizes
            )
        )
    )
    .map(np.stack)
)
SPELLED = st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=BOOKS), max_size=5).map(
    lambda rows: np.array(
        [[LEARNED + r[0], *r[1:], *[NONE] * (BOOKS - len(r))] for r in rows], np.int32
    ).reshape(-1, BOOKS).T
)  # fmt: skip


@settings(deadline=None)
@given(ids=st.tuples(IDS, SPELLED, IDS).map(lambda parts: np.concatenate(parts, axis=1)))
def test_made_up_tokens_decode_or_are_refused(ids: np.ndarray) -> None:
    """The first wrong position is named: all before it decodes, and nothing with it."""
    try:
        (text,) = CODEC.decode([tokens_of(ids)])
    except InvalidInput as e:
        at = int(str(e).split(" at position ")[1].split()[0])
        CODEC.decode([tokens_of(ids[:, :at])])
        with pytest.raises(InvalidInput, match=f"at position {at} "):
            CODEC.decode([tokens_of(ids[:, : at + 1])])
    else:
        assert ids.shape[1] <= text.nbytes <= ids.shape[1] * max(LONGEST, BOOKS)


@given(
    arrays.arrays(
        np.int32, st.tuples(st.just(BOOKS), st.integers(0, 9)), elements=st.integers(0, 1023)
    )
)
@settings(deadline=None)
def test_all_codes_decode(ids: np.ndarray) -> None:
    CODEC.decode([tokens_of(ids % LEARNED)])


def test_wrong_tokens_are_refused_by_place() -> None:
    fine = [3] * BOOKS
    spelled = [LEARNED + 65, 66, *[NONE] * (BOOKS - 2)]
    (text,) = CODEC.decode([tokens_of(np.array([spelled, spelled]).T)])
    assert text == Text("ABAB")
    gap = [LEARNED + 65, NONE, 66, *[NONE] * (BOOKS - 3)]
    with pytest.raises(InvalidInput, match="token 66 at position 1 cannot stand in codebook 2"):
        CODEC.decode([tokens_of(np.array([spelled, gap]).T)])
    big = [LEARNED + 65, 257, *[NONE] * (BOOKS - 2)]
    with pytest.raises(InvalidInput, match="token 257 at position 2 .* that spells bytes"):
        CODEC.decode([tokens_of(np.array([fine, spelled, big, big]).T)])
    assert codebook_sizes(3, 5) == (32 + 256, 257, 257)
    beyond = np.array([[SPEC.codebook_sizes[0], *fine[1:]]]).T
    with pytest.raises(InvalidInput, match="position 0 is not in"):
        CODEC.decode([tokens_of(beyond)])


def test_lost_positions_are_left_out() -> None:
    (tokens,) = CODEC.encode([Text(b"\xfe\xff" * 40)])
    mask = np.zeros(len(tokens), np.bool_)
    mask[len(tokens) // 2 :] = True
    (text,) = CODEC.decode([tokens], missing=[mask])
    assert (b"\xfe\xff" * 40).startswith(text.data)
    assert 0 < text.nbytes < 80


def test_streams() -> None:
    text = Text(ENGLISH + "\0\xff")
    assert decompress(compress(text, "text/patch")) == text
    assert decompress(compress(text, "text/patch", method="stride")) == text


def test_vocabulary() -> None:
    """`text/bytes` comes first, as the text of a vocabulary has one codebook."""
    texts = [Text("bytes, then "), Text("patches of the same document")]
    for pattern in ("flat", "delay", "parallel"):
        vocabulary = Vocabulary.build(["text/bytes", "text/patch"], pattern)
        parts = [*load("text/bytes").encode(texts[:1]), *CODEC.encode(texts[1:])]
        assert vocabulary.unpack(vocabulary.pack(parts)) == parts


def test_spec() -> None:
    assert SPEC.methods[0] == "entropy"
    assert SPEC.codebook_sizes[0] == LEARNED + 256
    assert SPEC.covers == {"bytes": CODEC.segmentation.average / 1000}
    assert PatchCodec.describe() == SPEC
    assert SPEC.details["longest patch"] == f"{LONGEST} bytes"


def test_thresholds_belong_to_the_byte_model() -> None:
    """A new byte model needs new thresholds: run the recipe again on the finished run."""
    assert weights.read("text/patch").config["byte_model"] == byte_model().fingerprint


def test_golden_stream_opens() -> None:
    """Made by scripts/make_golden.py; a failure means that old streams no longer open."""
    stream = (GOLDEN / "text-patch-1.omc").read_bytes()
    expected = gzip.decompress((GOLDEN / "text-patch-1.txt.gz").read_bytes())
    assert decompress(stream) == Text(expected)
    again = write_tokens(CODEC.encode([Text(expected)])[0], CODEC, chunk_positions=50)
    assert again == stream
