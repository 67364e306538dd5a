"""The two ends of `audio/rvq` are inverses of each other, and the envelope is the spectrum's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from omnicodec.models.audio.spectrum import MDCT, Envelope, band_edges, overlap_add, split

HOP = 48


def test_what_is_analysed_comes_back() -> None:
    torch.manual_seed(0)
    samples = torch.randn(2, 20 * HOP) * torch.logspace(-2, 0, 20 * HOP)
    mdct = MDCT(HOP)
    spectrum = mdct(split(torch.nn.functional.pad(samples, (HOP, HOP)), 2, HOP))
    assert spectrum.shape == (2, 21, HOP)
    back = overlap_add(mdct.inverse(spectrum))
    assert torch.allclose(back, samples, atol=1e-5)


def test_the_transform_is_the_one_of_the_book() -> None:
    """Against the definition, summed in float64."""
    frame = np.random.default_rng(0).standard_normal(2 * HOP)
    n, k = np.arange(2 * HOP), np.arange(HOP)[:, None]
    window = np.sin(np.pi * (n + 0.5) / (2 * HOP))
    waves = np.cos(np.pi / HOP * (n + 0.5 + HOP / 2) * (k + 0.5))
    expected = (2 / HOP) ** 0.5 * (waves * window * frame).sum(1)
    found = MDCT(HOP)(torch.from_numpy(frame).float()).numpy()
    assert np.allclose(found, expected, atol=1e-5)


def test_rows_overlap_by_all_but_a_hop() -> None:
    rows = split(torch.arange(5.0 * HOP)[None], 3, HOP)
    assert rows.shape == (1, 3, 3 * HOP)
    assert torch.equal(rows[0, 1], torch.arange(1.0 * HOP, 4.0 * HOP))


@pytest.mark.parametrize(("rate", "hop", "bands"), [(24_000, 480, 28), (2400, 24, 5)])
def test_bands_cover_every_bin_once(rate: int, hop: int, bands: int) -> None:
    edges = band_edges(rate, hop, bands)
    assert (edges[0], edges[-1]) == (0, hop)
    assert all(a < b for a, b in pairwise(edges))
    members = Envelope(rate, hop, bands).members
    assert ((members > 0).sum(1) == 1).all()
    assert torch.allclose(members.sum(0), torch.ones(len(edges) - 1))


def test_the_envelope_of_noise_is_its_loudness() -> None:
    torch.manual_seed(0)
    envelope = Envelope(24_000, 480, 28)
    spectrum = 0.1 * torch.randn(400, 480)
    levels = envelope(spectrum)
    assert float((levels.exp() ** 2).mean() ** 0.5) == pytest.approx(0.1, rel=0.02)
    curve = envelope.curve(levels)
    assert curve.shape == spectrum.shape
    # A line through the centres of bands: no louder than the loudest, as quiet as the quietest.
    assert (curve.amax(1) <= levels.exp().amax(1) * 1.0001).all()
    assert (curve.amin(1) >= levels.exp().amin(1) * 0.9999).all()


def test_silence_has_a_level() -> None:
    assert torch.isfinite(Envelope(24_000, 480, 28)(torch.zeros(480))).all()
