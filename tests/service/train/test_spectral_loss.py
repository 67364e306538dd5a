"""The spectral distances: zero for the same, larger for worse, blind to nothing that is heard."""

from __future__ import annotations

import pytest
import torch

from omnicodec.service.train.spectral_loss import SpectralLoss, mel_density, mel_filters

LOSS = SpectralLoss(24_000, (256, 1024), (24, 80))
TIME = torch.arange(9600) / 24_000


@pytest.fixture
def tone() -> torch.Tensor:
    return (0.3 * torch.sin(2 * torch.pi * 440 * TIME))[None]


def test_nothing_is_between_a_sound_and_itself(tone: torch.Tensor) -> None:
    same = LOSS(tone, tone)
    assert same.mel == 0
    assert same.compressed == 0
    assert same.phase < 2e-3  # the root's floor


def test_more_noise_is_further(tone: torch.Tensor) -> None:
    torch.manual_seed(0)
    noise = torch.randn_like(tone)
    near, far = LOSS(tone + 0.001 * noise, tone), LOSS(tone + 0.1 * noise, tone)
    assert near.mel < far.mel
    assert near.compressed < far.compressed
    assert near.phase < far.phase


def test_only_the_phase_hears_a_sign(tone: torch.Tensor) -> None:
    turned = LOSS(-tone, tone)
    assert turned.mel < 1e-5
    assert turned.compressed < 1e-6
    assert turned.phase > 0.01


def test_a_part_of_the_windows(tone: torch.Tensor) -> None:
    other = tone * 0.5
    parts = [LOSS(other, tone, (n,)).mel for n in (256, 1024)]
    assert LOSS(other, tone).mel == pytest.approx(float(sum(parts)) / 2)


def test_silence_has_gradients() -> None:
    samples = torch.zeros(1, 4096, requires_grad=True)
    parts = LOSS(samples, torch.zeros(1, 4096))
    (parts.mel + parts.compressed + parts.phase).backward()
    assert samples.grad is not None
    assert torch.isfinite(samples.grad).all()


@pytest.mark.parametrize("window", [256, 2048])
def test_filters_cover_every_frequency(window: int) -> None:
    filters = mel_filters(24_000, window, 40)
    assert torch.allclose(filters.sum(1), torch.ones(40))
    assert (filters.sum(0)[2 : window // 2 - 1] > 0).all()
    density = mel_density(24_000, window)
    assert float(density.mean()) == pytest.approx(1)
    assert density[0] > 5 * density[-1]
