"""How far a sound is from another, as hearing has it: several spectra, and loudness in bands."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Of full scale: what lies lower is taken for silence.
FLOOR = 2e-5


@dataclass(frozen=True, kw_only=True)
class Distance:
    """The parts of a loss; all are means, so that their weights do not depend on sizes."""

    mel: Tensor
    compressed: Tensor
    phase: Tensor


class SpectralLoss(nn.Module):
    """Distances over short-time spectra with several window lengths.

    `mel` compares logarithmic mel spectra (as DAC does, Kumar et al. 2023,
    arXiv:2306.06546), `compressed` magnitudes raised to a power of 0.3, `phase` the complex
    spectra whose magnitudes were compressed so. In these two each bin counts by how much of
    the mel scale it covers, so that the low ones, whose harmonics and phase are heard, have
    most of the weight.
    """

    def __init__(self, rate: int, windows: tuple[int, ...], bands: tuple[int, ...]) -> None:
        super().__init__()
        self.windows = windows
        for n, count in zip(windows, bands, strict=True):
            self.register_buffer(f"window{n}", torch.hann_window(n))
            self.register_buffer(f"mel{n}", mel_filters(rate, n, count))
            self.register_buffer(f"density{n}", mel_density(rate, n))

    def forward(
        self, samples: Tensor, target: Tensor, windows: tuple[int, ...] | None = None
    ) -> Distance:
        """Return the distance of float32 samples `(B, T)` from the target.

        `windows` may name some of the windows, so that each step of a training can do with
        a part of the work.
        """
        windows = windows or self.windows
        mel = compressed = phase = torch.zeros((), device=samples.device)
        for n in windows:
            x, power, mels = self._spectra(samples, n)
            with torch.no_grad():
                wanted, wanted_power, wanted_mels = self._spectra(target, n)
            mel = mel + (mels - wanted_mels).abs().mean()
            density = self.get_buffer(f"density{n}")
            off = (power**0.15 - wanted_power**0.15).abs()
            compressed = compressed + (off * density).mean()
            turned = x * (power**-0.35)[..., None] - wanted * (wanted_power**-0.35)[..., None]
            phase = phase + (turned.square().sum(-1).add(1e-6).sqrt() * density).mean()
        k = len(windows)
        return Distance(mel=mel / k, compressed=compressed / k, phase=phase / k)

    def _spectra(self, samples: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the complex spectrum `(B, F, T, 2)`, its power, and the log mel spectrum."""
        window = self.get_buffer(f"window{n}")
        spectrum = torch.stft(samples, n, n // 4, window=window, return_complex=True)
        x = torch.view_as_real(spectrum) * (2 / n)
        power = x.square().sum(-1) + FLOOR**2
        mels = torch.log(self.get_buffer(f"mel{n}") @ power.sqrt())
        return x, power, mels


def mel_filters(rate: int, window: int, count: int) -> Tensor:
    """Return triangular filters `(count, window // 2 + 1)` that are evenly spaced in mel.

    Each sums to 1; a filter narrower than a bin takes what is nearest to its centre.
    """
    top = _mel(torch.tensor(rate / 2))
    edges = _hertz(torch.linspace(0, float(top), count + 2)) * window / rate
    bins = torch.arange(window // 2 + 1)[None]
    low, centre, high = (edges[i : i + count, None] for i in range(3))
    rising = (bins - low) / (centre - low).clamp(min=1)
    falling = (high - bins) / (high - centre).clamp(min=1)
    filters = torch.minimum(rising, falling).clamp(min=0)
    empty = filters.sum(1) == 0
    filters[empty, centre[empty, 0].round().long()] = 1.0
    return filters / filters.sum(1, keepdim=True)


def mel_density(rate: int, window: int) -> Tensor:
    """Return how much of the mel scale each bin covers, `(window // 2 + 1, 1)`, 1 on average."""
    slope = 1 / (700 + torch.arange(window // 2 + 1) * rate / window)
    return (slope / slope.mean())[:, None]


def _mel(hertz: Tensor) -> Tensor:
    return 2595 * torch.log10(1 + hertz / 700)


def _hertz(mel: Tensor) -> Tensor:
    return 700 * (10 ** (mel / 2595) - 1)
