"""Variants of texts: what they add, and that a seed decides them."""

from __future__ import annotations

import numpy as np
import pytest

from omnicodec.service.train.variety import made_up_values, varied

BOOK = b'The old well-kept house, he said, "was hers"; it stood alone.\n\nNobody came (ever). ' * 40


def test_variants_have_what_books_lack() -> None:
    both = {b" @-@ " in v: v for v in (varied(BOOK, np.random.default_rng(i)) for i in range(12))}
    plain, tokenized = both[False], both[True]
    assert b"house, he" in plain
    assert b" , " in tokenized
    assert b"  " not in tokenized
    for variant in (plain, tokenized):
        assert b"<unk>" in variant
        assert any(48 <= c < 58 for c in variant)
        assert len(variant) == pytest.approx(len(BOOK), rel=0.4)
        kept = set(variant.split()) & set(BOOK.split())
        assert len(kept) > 5


def test_a_seed_decides() -> None:
    one, other = (varied(BOOK, np.random.default_rng(7)) for _ in range(2))
    assert one == other
    assert varied(b"", np.random.default_rng(0)) == b""


def test_made_up_values_cut_at_words_and_elsewhere() -> None:
    values = made_up_values(BOOK, 500, np.random.default_rng(0))
    assert values.dtype == np.int32
    row = np.frombuffer(BOOK, np.uint8)
    word = np.flatnonzero(row[:-1] == ord(" ")) + 1
    assert (values[word] > 500).mean() == pytest.approx(0.7, abs=0.1)
    rest = np.setdiff1d(np.arange(1, row.size), word)
    assert (values[rest] > 500).mean() == pytest.approx(0.1, abs=0.05)
