"""The class of some integers is that of their sizes, and its bits are their information."""

from __future__ import annotations

import math

import numpy as np
import pytest

from omnicodec.models.inr.arm_kernels import CLASSES, LEAST, RATIO
from omnicodec.models.inr.classes import class_of


def test_the_class_is_that_of_the_sizes() -> None:
    rng = np.random.default_rng(0)
    drawn = [np.round(rng.laplace(0, scale, 5000)) for scale in (0.3, 1, 3, 10, 30)]
    found = [class_of(values.astype(np.int32)) for values in drawn]
    indices = [which for which, _ in found]
    assert indices == sorted(set(indices))
    # Entropy of a Laplace distribution with steps of 1.
    assert found[-1][1] / 5000 == pytest.approx(math.log2(2 * math.e * 30), abs=0.05)
    assert class_of(np.zeros(1000, np.int32))[1] < 2


def test_no_other_class_costs_less() -> None:
    values = np.round(np.random.default_rng(1).laplace(0, 2.5, 400)).astype(np.int32)
    costs = []
    for scale in LEAST * RATIO ** np.arange(CLASSES):
        edges = np.array([-0.5, 0.5]) + values[:, None]
        below = np.where(edges < 0, 0.5 * np.exp(edges / scale), 1 - 0.5 * np.exp(-edges / scale))
        costs.append(-np.log2(np.maximum(np.diff(below, axis=1), 2.0**-24)).sum())
    which, bits = class_of(values)
    assert which == np.argmin(costs)
    assert bits == pytest.approx(min(costs), rel=1e-9)
