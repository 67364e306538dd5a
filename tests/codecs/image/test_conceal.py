"""Filling in lost tokens: what is known stays, and holes close from their edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs.image import _conceal
from omnicodec.codecs.image._conceal import Concealer, code_vectors, spread
from omnicodec.models.image.masked import MaskedTokens, MaskedTokensConfig

LEVELS = (4, 4, 3)
MASKED = MaskedTokensConfig(levels=LEVELS, channels=8, blocks=2, expansion=1, heads=2, window=4)


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.integers(0, 2**31))
def test_means_of_neighbours(height: int, width: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.uniform(-1, 1, (2, height, width)).astype(np.float32)
    missing = rng.random((height, width)) < share
    filled = spread(vectors, missing)
    np.testing.assert_array_equal(filled[:, ~missing], vectors[:, ~missing])
    known = vectors[:, ~missing]
    if known.size:
        assert (filled.max((1, 2)) <= known.max(1) + 1e-6).all()
        assert (filled.min((1, 2)) >= known.min(1) - 1e-6).all()
    else:
        assert not filled.any()


def test_a_flat_picture_stays_flat() -> None:
    missing = np.zeros((9, 40), np.bool_)
    missing[2:8, 5:35] = True
    filled = spread(np.full((1, 9, 40), 0.5, np.float32), missing)
    np.testing.assert_allclose(filled, 0.5, rtol=1e-6)


def test_a_hole_has_no_seam() -> None:
    """Between two edges values go over into one another."""
    missing = np.zeros((12, 12), np.bool_)
    missing[3:9] = True
    vectors = np.where(np.arange(12)[:, None] < 6, -1, 1)[None] * np.ones((1, 12, 12), np.float32)
    filled = spread(vectors.astype(np.float32), missing)[0]
    assert (np.diff(filled, axis=0) > -1e-3).all()
    assert np.abs(np.diff(filled, axis=0)).max() < 0.6


def test_an_endless_hole_is_given_up() -> None:
    missing = np.ones((1, 4000), np.bool_)
    missing[0, 0] = False
    filled = spread(np.ones((1, 1, 4000), np.float32), missing)
    assert filled[0, 0, :65].all()
    assert not filled[0, 0, 65:].any()


@pytest.fixture(scope="module")
def network() -> MaskedTokens:
    import torch

    torch.manual_seed(1)
    network = MaskedTokens(MASKED).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return network.requires_grad_(False)


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_network_leaves_what_is_known(network: MaskedTokens, smooth_tokens, times: int) -> None:
    ids = smooth_tokens(13, 9, 0)
    missing = np.random.default_rng(0).random(ids.shape) < 0.4
    filled = Concealer(network, "cpu").fill(ids, missing, times=times)
    known = code_vectors(ids, LEVELS)
    np.testing.assert_array_equal(filled[:, ~missing], known[:, ~missing])
    assert (np.abs(filled) <= 1).all()
    assert (filled != known)[:, missing].any(0).all()


def test_later_passes_build_on_earlier_ones(network: MaskedTokens, smooth_tokens) -> None:
    ids = smooth_tokens(16, 16, 1)
    missing = np.random.default_rng(1).random(ids.shape) < 0.7
    concealer = Concealer(network, "cpu")
    once = concealer.fill(ids, missing, times=1)
    twice = concealer.fill(ids, missing, times=2)
    changed = (once != twice).any(0)
    # The surest share keeps what the first pass said; the others know more now.
    total = int(missing.sum())
    assert 0 < changed.sum() <= int(total * np.cos(np.pi / 4))


def test_tiles_without_holes_are_left_alone(
    network: MaskedTokens, smooth_tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_conceal, "CORE", 8)
    monkeypatch.setattr(_conceal, "MARGIN", 16)
    ids = smooth_tokens(60, 12, 2)
    missing = np.zeros(ids.shape, np.bool_)
    missing[50, 5] = missing[3, 3] = True
    tiled = Concealer(network, "cpu").fill(ids, missing)
    monkeypatch.setattr(_conceal, "CORE", 1000)
    whole = Concealer(network, "cpu").fill(ids, missing)
    known = code_vectors(ids, LEVELS)
    for filled in (tiled, whole):
        np.testing.assert_array_equal(filled[:, ~missing], known[:, ~missing])
        assert (filled != known)[:, missing].any(0).all()
