from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.packing import PACKINGS, BestFit, Packer, best_fit, open_packer
from omnicodec.service.batch.sinks.base import Ids, PackedRow

PAD = 999

sizes = st.lists(st.integers(0, 40), max_size=30)


def documents(sizes: list[int], rows: int = 1) -> list[Ids]:
    """Return documents whose ids tell which they are, and what comes where."""
    return [
        np.array([[1000 * (i + 1) + 100 * row + at for at in range(size)] for row in range(rows)])
        .reshape(rows, size)
        .astype(np.int32)
        for i, size in enumerate(sizes)
    ]


def pack(packer: Packer, found: list[Ids]) -> list[PackedRow]:
    return [row for document in found for row in packer.add(document)] + packer.flush()


@pytest.mark.parametrize("packing", PACKINGS)
@given(sizes, st.integers(1, 12), st.integers(1, 3))
@settings(max_examples=60)
def test_every_id_is_somewhere_once(packing: str, sizes: list[int], length: int, rows: int) -> None:
    packer = open_packer(packing, length, rows, PAD)
    out = pack(packer, documents(sizes, rows))
    seen: list[int] = []
    pieces = 0
    for row in out:
        assert row.ids.shape == (rows, length)
        assert row.positions.shape == (length,)
        assert (row.ids.dtype, row.positions.dtype, row.starts.dtype) == (np.int32,) * 3
        assert row.starts[0] == 0
        bounds = [*row.starts.tolist(), length]
        for start, stop in pairwise(bounds):
            assert start < stop
            ids, positions = row.ids[:, start:stop], row.positions[start:stop]
            if (ids == PAD).all():
                assert stop == length
                np.testing.assert_array_equal(positions, np.arange(stop - start))
                continue
            pieces += 1
            # One document, whose positions go on in it.
            assert len({i // 1000 for i in ids[0].tolist()}) == 1
            np.testing.assert_array_equal(ids[0] % 100, positions)
            seen += ids.T.reshape(-1).tolist()
    assert sorted(seen) == sorted(i for d in documents(sizes, rows) for i in d.reshape(-1).tolist())
    figures = packer.figures
    assert figures.documents == len(sizes)
    assert (figures.sequences, figures.pieces) == (len(out), pieces)
    assert figures.tokens == sum(sizes)
    assert figures.tokens + figures.padding == length * len(out)
    assert figures.cut == pieces - len([s for s in sizes if s]) - sum(
        max(0, count - 2) for count in pieces_of(out)
    )


def pieces_of(out: list[PackedRow]) -> list[int]:
    """Return in how many pieces each document is."""
    counts: dict[int, int] = {}
    for row in out:
        for start in row.starts.tolist():
            if row.ids[0, start] != PAD:
                document = int(row.ids[0, start]) // 1000
                counts[document] = counts.get(document, 0) + 1
    return list(counts.values())


def test_concatenated() -> None:
    packer = open_packer("concatenate", 4, 1, PAD)
    out = pack(packer, documents([3, 6, 1]))
    assert [row.ids[0].tolist() for row in out] == [
        [1000, 1001, 1002, 2000],
        [2001, 2002, 2003, 2004],
        [2005, 3000, PAD, PAD],
    ]
    assert [row.starts.tolist() for row in out] == [[0, 3], [0], [0, 1, 2]]
    assert out[2].positions.tolist() == [5, 0, 0, 1]
    assert packer.figures.to_json() == {
        "documents": 3,
        "sequences": 3,
        "pieces": 5,
        "tokens": 10,
        "padding": 2,
        "cut": 1,
    }


def test_best_fit_cuts_only_what_is_too_long() -> None:
    packer = open_packer("best-fit", 4, 1, PAD)
    out = pack(packer, documents([3, 6, 1, 2, 4]))
    # Of document 2, four come first; the other two fit best with document 4.
    assert [row.ids[0].tolist() for row in out] == [
        [1000, 1001, 1002, 3000],
        [2000, 2001, 2002, 2003],
        [2004, 2005, 4000, 4001],
        [5000, 5001, 5002, 5003],
    ]
    assert [row.positions.tolist() for row in out][2] == [4, 5, 0, 1]
    assert (packer.figures.cut, packer.figures.padding) == (1, 0)


@given(st.lists(st.integers(1, 50), max_size=60))
@settings(max_examples=100)
def test_bins_are_those_of_best_fit_decreasing(sizes: list[int]) -> None:
    bins = best_fit(sizes, 50)
    assert sorted(i for members in bins for i in members) == list(range(len(sizes)))
    # The same by looking at every bin each time.
    rooms: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [room for room in rooms if room >= size]
        if fitting:
            rooms[rooms.index(min(fitting))] -= size
        else:
            rooms.append(50 - size)
    assert sorted(50 - sum(sizes[i] for i in members) for members in bins) == sorted(rooms)


def test_a_window_is_packed_when_it_is_full() -> None:
    packer = BestFit(2, 1, PAD, window=0)
    added = [packer.add(document) for document in documents([1] * 1300)]
    # 256 sequences of 2 at a time.
    assert [i for i, rows in enumerate(added) if rows] == [511, 1023]
    assert len(packer.flush()) == (1300 - 1024) // 2


def test_arguments_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidInput, match="length of 1 or more"):
        open_packer("best-fit", 0, 1, PAD)
    with pytest.raises(InvalidInput, match="unknown packing 'tight'"):
        open_packer("tight", 4, 1, PAD)
