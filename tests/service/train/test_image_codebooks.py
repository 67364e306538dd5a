"""Reduced codebooks: nearer to what occurs than chance is, and the same every time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from omnicodec.codecs.image._reduced import ReducedCodebook, points
from omnicodec.service.train.image_codebooks import decoder_metric, reduce_codebook

LEVELS = (5, 4, 4, 3)
SIZE = math.prod(LEVELS)


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.pareto(1.0, SIZE) * 5).astype(np.int64) + 1


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(20, 4)) * [3, 1, 1, 0.2]


def test_the_metric_is_that_of_the_first_layer(matrix: np.ndarray) -> None:
    metric = decoder_metric(matrix, LEVELS)
    ids = np.arange(SIZE)
    digits = np.stack(np.unravel_index(ids, LEVELS[::-1]))[::-1].T  # first digit moves fastest
    vectors = digits * 2 / (np.array(LEVELS) - 1) - 1
    seen, found = vectors @ matrix.T, points(ids, LEVELS, metric)
    pairs = np.random.default_rng(2).integers(0, SIZE, (2, 500))
    true = np.linalg.norm(seen[pairs[0]] - seen[pairs[1]], axis=1)
    ours = np.linalg.norm(found[pairs[0]] - found[pairs[1]], axis=1)
    ratio = ours[true > 0] / true[true > 0]
    assert ratio.std() < 0.01 * ratio.mean()


def test_it_loses_less_than_the_commonest_entries(counts: np.ndarray, matrix: np.ndarray) -> None:
    metric = decoder_metric(matrix, LEVELS)
    ids = np.arange(SIZE, dtype=np.int32)

    def lost(entries: np.ndarray) -> float:
        chosen = ReducedCodebook(entries, LEVELS, metric).nearest(ids)
        apart = points(ids, LEVELS, metric) - points(chosen, LEVELS, metric)
        return float((counts * np.square(apart).sum(1)).sum())

    losses = []
    for size in (8, 24, 100):
        entries = reduce_codebook(counts, size, LEVELS, metric)
        assert entries.size == size
        np.testing.assert_array_equal(entries, reduce_codebook(counts, size, LEVELS, metric))
        common = np.argsort(-counts, kind="stable")[:size].astype(np.int32)
        drawn = np.random.default_rng(0).choice(SIZE, size, replace=False).astype(np.int32)
        losses.append(lost(entries))
        assert losses[-1] < 0.9 * min(lost(common), lost(drawn))
    assert losses == sorted(losses, reverse=True)


def test_entries_that_never_occur_are_not_chosen(matrix: np.ndarray) -> None:
    counts = np.zeros(SIZE, np.int64)
    counts[50:70] = 3
    metric = decoder_metric(matrix, LEVELS)
    entries = reduce_codebook(counts, 12, LEVELS, metric)
    assert ((entries >= 50) & (entries < 70)).all()
    assert entries.size == np.unique(entries).size == 12
    with pytest.raises(ValueError, match="20 entries occur"):
        reduce_codebook(counts, 20, LEVELS, metric)
