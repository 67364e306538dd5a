"""The two ends of `audio/rvq` are inverses of each other, and within bounds."""

from __future__ import annotations

import torch

from omnicodec.models.audio.spectrum import Analysis, Synthesis, overlap_add, split

HOP = 48


def test_what_is_analysed_comes_back() -> None:
    torch.manual_seed(0)
    samples = torch.randn(2, 20 * HOP) * torch.logspace(-2, 0, 20 * HOP)
    padded = torch.nn.functional.pad(samples, (HOP, HOP))
    features = Analysis(HOP)(split(padded, 2, HOP))
    assert features.shape == (2, 21, 2 * (HOP + 1))
    back = overlap_add(Synthesis(HOP)(features))
    assert back.shape == samples.shape
    # The floor under magnitudes costs a little; features near the bound would cost much.
    assert (back - samples).abs().max() < 0.01 * samples.abs().max()


def test_rows_overlap_by_all_but_a_hop() -> None:
    rows = split(torch.arange(5.0 * HOP)[None], 3, HOP)
    assert rows.shape == (1, 3, 3 * HOP)
    assert torch.equal(rows[0, 1], torch.arange(1.0 * HOP, 4.0 * HOP))


def test_loudness_is_compressed() -> None:
    frame = torch.sin(torch.arange(2 * HOP) * 0.7)[None]
    loud, quiet = Analysis(HOP)(frame).norm(), Analysis(HOP)(frame / 100).norm()
    assert 3 < loud / quiet < 100**0.5


def test_wild_features_stay_finite() -> None:
    features = torch.full((1, 2, 2 * (HOP + 1)), 1e4)
    assert torch.isfinite(Synthesis(HOP)(features)).all()


def test_silence_has_gradients() -> None:
    frames = torch.zeros(1, 2, 2 * HOP, requires_grad=True)
    Synthesis(HOP)(Analysis(HOP)(frames)).square().sum().backward()
    assert frames.grad is not None
    assert torch.isfinite(frames.grad).all()
