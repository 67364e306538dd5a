"""What is found in documents that a language model, or an accident, has spoiled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput, Tokens, Vocabulary
from omnicodec.codecs.vocabulary import Recovered, special

from .documents import (
    AUDIO,
    IMAGE,
    TEXT,
    documents,
    make,
    patches,
    patterns,
    text,
    vocabulary,
)

# Ids of all kinds, those of text and special tokens more often than by their number.
any_id = st.integers(-2, 67000) | st.integers(0, 300) | st.integers(256, 1824)
PICTURE = make(IMAGE, (2, 2), {"height": 32, "width": 32})
SOUND = make(AUDIO, (3,), {"samples": 1440, "rate": 24000}, seed=1)


def tiles(found: Recovered, columns: int, ours: Vocabulary, first: np.ndarray) -> bool:
    """Return whether parts and problems, bos and eos are all of a document, each once."""
    spans = sorted((each.start, each.stop) for each in (*found.parts, *found.problems))
    at = 0
    if columns and first[0] == ours.special_at + special.BOS and (not spans or spans[0][0] == 1):
        at = 1
    for start, stop in spans:
        if start != at or stop <= start:
            return False
        at = stop
    return at == columns or (at == columns - 1 and first[-1] == ours.special_at + special.EOS)


def consistent(ours: Vocabulary, ids: np.ndarray) -> Recovered:
    """Return what is recovered, after comparing it with `unpack` and with itself."""
    found = ours.recover(ids)
    columns = ours._document(ids)
    assert tiles(found, columns.shape[1], ours, columns[0])
    for problem in found.problems:
        assert problem.start <= problem.position <= max(problem.stop, columns.shape[1])
    try:
        assert ours.unpack(ids) == found.tokens
    except InvalidInput as e:
        assert str(e) == str(found.problems[0])
    else:
        assert not found.problems
    for part in found.parts:  # each is well-formed by itself
        again = Vocabulary(ours.entries, ours.pattern).pack([part.tokens])
        piece = columns[:, part.start : part.stop]
        if np.atleast_2d(again).shape[1] == piece.shape[1] - 1:  # behind another text
            assert piece[0, 0] == ours.special_at + special.TEXT
            piece = piece[:, 1:]
        assert np.array_equal(np.atleast_2d(again), piece)
    return found


@settings(max_examples=300)
@given(st.lists(any_id, max_size=40), patterns, patches, st.integers(1, 4))
def test_any_ids(ids: list[int], pattern: str, patch: int, repeats: int) -> None:
    ours = vocabulary(pattern, patch)
    array = np.array(ids * repeats, np.int64)
    if ours.rows > 1:
        array = np.resize(array, (ours.rows, array.size))
        if pattern != "flat" and patch == 1 and repeats > 1:
            array[1:] = ours.hole
    consistent(ours, array)


@settings(max_examples=200)
@given(documents, patterns, patches, st.booleans(), st.booleans())
def test_whole_documents_have_no_problem(
    document: list[Tokens], pattern: str, patch: int, bos: bool, eos: bool
) -> None:
    ours = vocabulary(pattern, patch)
    found = consistent(ours, ours.pack(document, bos=bos, eos=eos))
    assert found.tokens == document
    assert found.problems == ()


@settings(max_examples=400)
@given(documents, patterns, st.lists(st.tuples(st.integers(0), st.integers(0), any_id), max_size=3))
def test_parts_that_are_not_touched_are_all_found(
    document: list[Tokens], pattern: str, changes: list[tuple[int, int, int]]
) -> None:
    ours = vocabulary(pattern)
    ids = ours.pack(document, bos=True, eos=True)
    whole = ours.recover(ids).parts
    spoiled = ids.astype(np.int64)
    lanes = spoiled.reshape(ours.rows, -1)
    places = []
    for step, row, token in changes:
        places.append(step % lanes.shape[1])
        lanes[row % ours.rows, places[-1]] = token
    found = consistent(ours, spoiled)
    spans = {(part.start, part.stop): part.tokens for part in found.parts}
    for part in whole:
        # What is put beside a text may become a part of it.
        if not any(part.start - 1 <= place <= part.stop for place in places):
            assert spans[part.start, part.stop] == part.tokens


@settings(max_examples=200)
@given(documents, patterns, st.data())
def test_parts_before_a_cut_and_behind_it(
    document: list[Tokens], pattern: str, data: st.DataObject
) -> None:
    """A document that ends too early, or is missing its beginning: packing cuts them so."""
    ours = vocabulary(pattern)
    ids = ours.pack(document)
    whole = ours.recover(ids).parts
    cut = data.draw(st.integers(0, ids.shape[-1]))
    before, behind = consistent(ours, ids[..., :cut]), consistent(ours, ids[..., cut:])
    for part in whole:
        if part.stop < cut:
            assert part in before.parts
        if part.start > cut:
            assert part.tokens in behind.tokens


def test_a_broken_picture_between_texts() -> None:
    ours = vocabulary()
    ids = ours.pack([text(b"ab"), PICTURE, text(b"cd")])
    # a b <|image|> <|grid:2,2|> code code code code <|/image|> c d
    ids[5] = 65
    found = ours.recover(ids)
    assert found.tokens == [text(b"ab"), text(b"cd")]
    [problem] = found.problems
    assert (problem.start, problem.position, problem.stop) == (2, 5, 9)
    assert str(problem) == "position 5 (text/bytes:65): no code of codebook 0 of image/vq"


def test_a_picture_that_never_ends() -> None:
    """The text behind it is found, and so is the next picture."""
    ours = vocabulary()
    ids = np.delete(ours.pack([PICTURE, text(b"cd"), PICTURE]), 6)
    found = ours.recover(ids)
    assert found.tokens == [text(b"cd"), PICTURE]
    assert [(p.start, p.stop, p.position) for p in found.problems] == [(0, 6, 6)]
    assert "no end mark" in found.problems[0].reason
    found = ours.recover(ids[:5])
    assert [(p.start, p.stop, p.position) for p in found.problems] == [(0, 5, 0)]


@pytest.mark.parametrize(
    ("change", "position", "reason"),
    [
        ({1: "<|grid:2,3|>"}, 6, "a grid of (2, 3) needs 6 codes, not 4"),
        ({1: "<|grid:1,2|>"}, 4, "a grid of (1, 2) needs 2 codes, not 4"),
        ({1: "<|bos|>"}, 1, "the size of a part of image/vq should stand here"),
        ({0: "<|/image|>"}, 0, "no part can begin here"),
        ({6: "<|/audio|>"}, 6, "this part of image/vq has no end mark"),
        ({3: 10**9}, 3, "id 1000000000 is not in 0..67406"),
        ({3: -5}, 3, "id -5 is not in 0..67406"),
    ],
)
def test_exact_positions(change: dict[int, str | int], position: int, reason: str) -> None:
    ours = vocabulary()
    ids = ours.pack([PICTURE, text(b"after")]).astype(np.int64)
    for place, token in change.items():
        ids[place] = ours.special_tokens[token] if isinstance(token, str) else token
    found = consistent(ours, ids)
    assert (found.problems[0].position, found.problems[0].reason) == (position, reason)
    assert found.tokens == [text(b"after")]


@pytest.mark.parametrize("pattern", ["parallel", "delay"])
def test_exact_positions_below_the_first_row(pattern: str) -> None:
    ours = vocabulary(pattern)
    ids = ours.pack([text(b"ab"), SOUND, text(b"cd")])
    ids[1, 1] = 77  # below the b
    found = consistent(ours, ids)
    assert found.tokens == [text(b"a"), SOUND, text(b"cd")]
    [problem] = found.problems
    assert str(problem) == "position 1 (text/bytes:98): only codes stand below the first row"
    ids = ours.pack([text(b"ab"), SOUND, text(b"cd")])
    first = int(np.flatnonzero(ids[0] >= ours.special_at + special.COUNT)[0])
    ids[2, first + 2] = ours.id_range("audio/rvq", 1)[0]  # of another codebook
    found = consistent(ours, ids)
    assert found.tokens == [text(b"ab"), text(b"cd")]
    assert found.problems[0].position == first + 2
    assert found.problems[0].reason == "no code of codebook 2 of audio/rvq"
    if pattern == "delay":  # the first row has ended, and the third has not begun
        ids = ours.pack([SOUND])
        ids[2, first - 2] = ours.id_range("audio/rvq", 2)[0]
        [problem] = consistent(ours, ids).problems
        assert problem.position == first - 2
        assert problem.reason == "the codes are not laid out in the delay pattern"


def test_a_mark_that_is_not_needed() -> None:
    ours = vocabulary()
    mark = ours.special_tokens["<|text|>"]
    found = consistent(ours, np.array([mark, 97, mark, 98]))
    assert found.tokens == [text(b"a"), text(b"b")]
    assert [str(p) for p in found.problems] == ["position 0 (<|text|>): this text needs no mark"]


def test_what_is_no_document_at_all() -> None:
    ours = vocabulary("delay")
    for bad in ([0.5], [[1], [2], [3], [4]], "text", [[[1]]], None, [2**80], np.zeros((0, 3))):
        with pytest.raises(InvalidInput):
            ours.recover(bad)
    assert ours.recover(np.zeros((3, 0))) == Recovered((), ())


def test_long_and_hostile_documents_take_linear_time() -> None:
    """Each mark is looked at once, however far away the end mark is that it asks for."""
    ours = Vocabulary.build([TEXT, IMAGE])
    begin, end = ours.special_tokens["<|image|>"], ours.special_tokens["<|/image|>"]
    grid = ours.special_tokens["<|grid:1,1|>"]
    code = ours.id_range("image/vq")[7]
    many = 20_000
    for row in ([begin] * many + [end], [begin, grid] * many + [end], [code] * many):
        found = ours.recover(row)
        assert found.parts == ()
    found = ours.recover([begin, grid, code, end] * many)
    assert len(found.parts) == many
