"""How much louder or softer than the original a sound is heard to be, band by band."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HEARD_AT = 1e7
"""Mean power of a clip, in units of about the quietest tone that is heard: 70 dB."""


class LoudnessLoss(nn.Module):
    """The disturbance that PESQ computes, for signals that are aligned already.

    After ITU-T P.862 (2001) and P.862.2 (2007): power spectra of 32 ms in bands of a third
    of a Bark up to 8 kHz, Zwicker's loudness, differences beyond what masks them, and once more
    those that add something, since noise is worse than what is missing. Left out is what
    cannot be had from a short crop: alignment in time, equalization, and filters of
    telephones. Differentiable.
    """

    widths: Tensor
    threshold: Tensor
    exponent: Tensor
    window: Tensor
    scale: float

    def __init__(self, rate: int) -> None:
        super().__init__()
        n = rate * 32 // 1000
        hertz = torch.arange(n // 2 + 1) * rate / n
        bark = 26.81 * hertz / (1960 + hertz) - 0.53  # Traunmüller 1990
        bands = int(26.81 * 8000 / (1960 + 8000) * 3)
        centre = (torch.arange(bands) + 0.5) / 3
        members = (bark[None] * 3).floor() == torch.arange(bands)[:, None]
        members = members.float()
        filled = members.sum(1) > 0
        members, centre = members[filled], centre[filled]
        at = (1960 * (centre + 0.53) / (26.28 - centre) / 1000).clamp(min=0.05)
        # The threshold in quiet, in dB (Terhardt 1979).
        quiet = 3.64 * at**-0.8 - 6.5 * torch.exp(-0.6 * (at - 3.3) ** 2) + 1e-3 * at**4
        steep = (6 / (centre + 2)).clamp(1, 2) ** 0.15
        self.n = n
        self.register_buffer("members", members)
        self.register_buffer("threshold", 10 ** (quiet.clamp(max=40) / 10)[:, None])
        self.register_buffer("exponent", 0.23 * steep[:, None])
        self.register_buffer("window", torch.hann_window(n))

    def forward(self, samples: Tensor, target: Tensor) -> Tensor:
        """Return the mean disturbance of float32 samples `(B, T)`, in points of PESQ's scale."""
        with torch.no_grad():
            wanted = self._power(target)
            mean = wanted.sum(1).mean(1).clamp(min=0.1)[:, None, None]
            wanted = wanted * (HEARD_AT / mean)
            loud_wanted = self._loudness(wanted)
            weight = ((wanted.sum(1) + 1e5) / 1e7) ** -0.04
        power = self._power(samples) * (HEARD_AT / mean)
        loud = self._loudness(power)
        off = loud - loud_wanted
        beyond = torch.relu(off.abs() - 0.25 * torch.minimum(loud, loud_wanted))
        factor = ((power + 50) / (wanted + 50)) ** 1.2
        factor = torch.where(factor < 3, 0, factor.clamp(max=12)).detach()
        bands = off.shape[1] / 3
        both = (beyond.square().mean(1) + 1e-4).sqrt() * bands
        added = (beyond * factor).mean(1) * bands
        frames = (0.1 * both.clamp(max=45) + 0.0309 * added.clamp(max=45)) * weight
        return frames.square().mean(1).add(1e-6).sqrt().mean()

    def _power(self, samples: Tensor) -> Tensor:
        window = self.get_buffer("window")
        spectrum = torch.stft(samples, self.n, self.n // 2, window=window, return_complex=True)
        bins = torch.view_as_real(spectrum).square().sum(-1)
        power: Tensor = self.get_buffer("members") @ bins
        return power

    def _loudness(self, power: Tensor) -> Tensor:
        """Return sone per Bark."""
        quiet, exponent = self.threshold, self.exponent
        ratio = (0.5 + 0.5 * power / quiet) ** exponent - 1
        loudness: Tensor = 0.1866 * (quiet / 0.5) ** exponent * torch.relu(ratio)
        return loudness
