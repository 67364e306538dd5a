"""Networks that tell photographs from decoded ones, patch by patch, at two scales."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from omnicodec.service.train.critics import Critics, Judgement, Verdict, judged

SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """Judges patches of some 46 pixels, with spectral norms.

    As in "Image-to-Image Translation with Conditional Adversarial Networks" (Isola et al. 2017,
    arXiv:1611.07004).
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        widths = [3, *channels]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in pairwise(widths)
        )
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Verdict:
        """Judge pixels `(B, 3, H, W)` in -1 to 1."""
        return judged(pixels, self.layers, self.score, SLOPE)


class PictureDiscriminators(nn.Module):
    """One for the picture as it is, and one for half its size."""

    def __init__(self, channels: Sequence[int] = (48, 96, 192, 192)) -> None:
        super().__init__()
        self.members = nn.ModuleList(PatchDiscriminator(channels) for _ in range(2))

    def forward(self, pixels: Tensor) -> list[Verdict]:
        """Return both verdicts on pixels `(B, 3, H, W)`."""
        return [self.members[0](pixels), self.members[1](F.avg_pool2d(pixels, 2))]


def judge_pictures(
    critics: Critics, decoded: Tensor, real: Tensor, size: int, step: int
) -> Judgement:
    """Let `critics` with a network of `PictureDiscriminators` judge a window of each picture.

    It has `size` pixels a side, and its place changes with the step.
    """
    top, left = ((step * k) % (real.shape[2] - size + 1) for k in (7919, 104729))
    window = (..., slice(top, top + size), slice(left, left + size))
    return critics.judge(decoded[window], real[window], critics.network)
