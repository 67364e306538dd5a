"""The disturbance: as PESQ ranks, and with PESQ's asymmetry."""

from __future__ import annotations

import pytest
import torch

from omnicodec.service.train.loudness_loss import LoudnessLoss

RATE = 24_000
LOSS = LoudnessLoss(RATE)
TIME = torch.arange(RATE) / RATE


@pytest.fixture
def voice() -> torch.Tensor:
    """Harmonics of a gliding pitch under a formant-like envelope, in syllables."""
    phase = 2 * torch.pi * torch.cumsum(120 + 30 * torch.sin(2 * torch.pi * TIME), 0) / RATE
    tones = [torch.sin(k * phase) / (1 + (k - 5) ** 2 / 20) for k in range(1, 30)]
    return (0.05 * torch.stack(tones).sum(0) * (1 + torch.sin(8 * torch.pi * TIME)))[None]


def test_nothing_is_between_a_sound_and_itself(voice: torch.Tensor) -> None:
    assert LOSS(voice, voice) < 0.03  # the root's floor


def test_more_noise_is_worse(voice: torch.Tensor) -> None:
    torch.manual_seed(0)
    noise = torch.randn_like(voice)
    found = [float(LOSS(voice + level * noise, voice)) for level in (1e-4, 1e-3, 1e-2, 1e-1)]
    assert found == sorted(found)
    assert found[-1] > 4 * found[0]


def test_what_is_added_is_worse_than_what_is_missing(voice: torch.Tensor) -> None:
    spectrum = torch.fft.rfft(voice)
    band = slice(1500, 3000)
    missing, added = spectrum.clone(), spectrum.clone()
    missing[:, band] *= 0.1
    added[:, band] *= 10
    lost, extra = (torch.fft.irfft(each, voice.shape[1]) for each in (missing, added))
    assert LOSS(extra, voice) > 1.5 * LOSS(lost, voice)


def test_the_level_of_the_recording_does_not_count(voice: torch.Tensor) -> None:
    other = voice + 0.01 * torch.sin(2 * torch.pi * 3000 * TIME)
    assert float(LOSS(0.1 * other, 0.1 * voice)) == pytest.approx(
        float(LOSS(other, voice)), rel=0.02
    )


def test_it_ranks_as_pesq_does(voice: torch.Tensor) -> None:
    pesq = pytest.importorskip("pesq")
    torch.manual_seed(0)
    low = torch.nn.functional.avg_pool1d(voice, 9, 1, 4)
    changed = [
        voice + 0.002 * torch.randn_like(voice), voice + 0.02 * torch.randn_like(voice),
        voice + 0.1 * torch.randn_like(voice), 0.3 * voice + 0.7 * low, low,
    ]  # fmt: skip

    def sixteen(x: torch.Tensor) -> object:
        whole = torch.fft.rfft(x[0])[: 16_000 // 2 + 1]
        return (torch.fft.irfft(whole, 16_000) * 16_000 / RATE).numpy()

    judged = [pesq.pesq(16_000, sixteen(voice), sixteen(x), "wb") for x in changed]
    ours = [float(LOSS(x, voice)) for x in changed]
    ranks = torch.stack(
        [
            torch.tensor(judged).argsort().argsort(),
            torch.tensor(ours).argsort(descending=True).argsort(),
        ]
    ).float()
    assert float(torch.corrcoef(ranks)[0, 1]) > 0.8


def test_silence_has_gradients() -> None:
    samples = torch.zeros(1, RATE, requires_grad=True)
    LOSS(samples, torch.zeros(1, RATE)).backward()
    assert samples.grad is not None
    assert torch.isfinite(samples.grad).all()
