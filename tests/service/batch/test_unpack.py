from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch import unpack
from omnicodec.service.batch.layout import Layout
from omnicodec.service.batch.sinks.base import PackedRow, Row

from .rows import FLAT, PARALLEL, PATCHED, Parts, items, layout_of, picture, rows_of, text

VOCABULARIES = [FLAT, PARALLEL, PATCHED]


@pytest.mark.parametrize("layout", ["raw", "document"])
@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=["flat", "parallel", "patched"])
def test_rows_give_their_items(layout: str, vocabulary: Vocabulary) -> None:
    @given(items(vocabulary, 6))
    @settings(max_examples=25)
    def check(parts: list[Parts]) -> None:
        rows = rows_of(layout_of(vocabulary, layout), parts)
        for i, (item, row) in enumerate(zip(parts, rows, strict=True)):
            (document,) = unpack.documents(row, vocabulary)
            assert document.parts == item
            assert (document.key, document.source) == (f"item/{i}.x", f"tar é#{i}")
            assert document.whole
            assert document.problems == ()
        assert [d.parts for d in unpack.joined(rows, vocabulary)] == parts

    check()


def shape(parts: Parts) -> str:
    return repr([(p.codec, p.grid, dict(p.extent), p.ids.tolist()) for p in parts])


@pytest.mark.parametrize("packing", ["best-fit", "concatenate"])
@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=["flat", "parallel", "patched"])
@pytest.mark.parametrize("eos", [True, False])
def test_packing_is_undone(packing: str, vocabulary: Vocabulary, eos: bool) -> None:
    @given(st.lists(items(vocabulary), min_size=1, max_size=3), st.integers(1, 60))
    @settings(max_examples=50)
    def check(shards: list[list[Parts]], length: int) -> None:
        rows: list[Row] = []
        for shard in shards:
            layout = Layout(vocabulary, "packed", length=length, packing=packing, eos=eos)
            rows += rows_of(layout, shard)
        found = list(unpack.joined(rows, vocabulary))
        assert all(document.whole and not document.problems for document in found)
        # A document without a single id has no place in a sequence.
        wanted = [item for shard in shards for item in shard if item or eos]
        if packing == "concatenate":
            assert [d.parts for d in found] == wanted
        assert sorted(shape(d.parts) for d in found) == sorted(map(shape, wanted))

    check()


def test_many_documents_that_are_just_one_sequence_long() -> None:
    # 15 ids and an end. They might all go on in the next sequence, for all that one knows.
    layout = layout_of(FLAT, "packed", length=16)
    parts = [(text(15, i),) for i in range(9)]
    rows = rows_of(layout, parts)
    assert [d.parts for d in unpack.joined(rows, FLAT)] == parts
    assert all(unpack.documents(row, FLAT)[0].whole for row in rows)


def test_no_more_is_held_than_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "WINDOW_BYTES", 4 * 16 * 3)
    layout = layout_of(FLAT, "packed", length=16)
    rows = rows_of(layout, [(text(15, i),) for i in range(9)])
    pending = unpack._Pending()
    given = [list(pending.take(row, FLAT.pad)) for row in rows if isinstance(row, PackedRow)]
    # Three more than the largest one are held.
    assert [len(documents) for documents in given] == [0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_pieces_of_one_row_are_given_as_far_as_they_go() -> None:
    layout = Layout(FLAT, "packed", length=30, packing="concatenate")
    rows = rows_of(layout, [(text(3),), (picture(2, 4), text(2), picture(3, 3), text(8))])
    first, second = (unpack.documents(row, FLAT) for row in rows)
    assert [d.whole for d in first] == [True, False]
    assert first[0].parts == (text(3),)
    # The picture is whole in the first sequence, the second one is cut.
    assert first[1].parts[0] == picture(2, 4)
    assert len(first[1].problems) == 1
    assert not second[0].whole
    assert second[0].problems


def test_rows_from_the_middle() -> None:
    layout = Layout(FLAT, "packed", length=20, packing="concatenate")
    rows = rows_of(layout, [(text(30),), (text(4, 1),), (text(31, 2),), (text(5, 3),)])
    found = list(unpack.joined(rows[1:], FLAT))
    assert [d.whole for d in found] == [False, True, True, True]
    assert found[0].parts[0].ids.tolist() == text(30).ids[:, 20:].tolist()
    assert [d.parts for d in found[1:]] == [(text(4, 1),), (text(31, 2),), (text(5, 3),)]
    # And with one missing in between: both ends of what was in it.
    found = list(unpack.joined([rows[0], *rows[2:]], FLAT))
    assert [d.parts for d in found if d.whole][-1] == (text(5, 3),)
    assert sum(not d.whole for d in found) == 1


@given(st.lists(st.integers(0, FLAT.size - 1), min_size=1, max_size=30), st.data())
@settings(max_examples=50)
def test_whatever_a_row_holds_is_no_error(ids: list[int], data: st.DataObject) -> None:
    length = len(ids)
    starts = sorted({0, *data.draw(st.lists(st.integers(0, length - 1), max_size=4))})
    positions = data.draw(st.lists(st.integers(0, 50), min_size=length, max_size=length))
    arrays = [np.array(values, np.int32) for values in (positions, starts)]
    row = PackedRow(np.array([ids], np.int32), *arrays)
    found = unpack.documents(row, FLAT)
    assert len(found) in (len(starts), len(starts) - 1)
    assert len(list(unpack.joined([row, row], FLAT))) >= 1 or not found
