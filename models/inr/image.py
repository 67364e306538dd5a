"""The networks of `image/inr`: those that an item shares with all others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnicodec.models import weights
from omnicodec.models.inr.analysis import Analysis, AnalysisConfig
from omnicodec.models.inr.arm import Arms, floats_of, plane_bits
from omnicodec.models.inr.exact_arm import Ints
from omnicodec.models.inr.pyramid import CHANNELS, padded
from omnicodec.models.inr.synthesis import Synthesis, SynthesisConfig
from omnicodec.models.layers import channels_last

LOOSEST: Final = 0.02
FINEST: Final = 5e-5
"""What a bit a pixel weighs in mean squared error, of pixels in 0 to 1, at qualities 0 and 100."""

MIDDLE: Final = 1e-3
"""The weight at which `rate` is 0."""

_STEP: Final = math.log(0.16)
"""Where steps begin: what is best for a transform that keeps sizes, at many bits."""


def weight_of(quality: float) -> float:
    """Return what a bit a pixel may cost in mean squared error at a quality, 0 to 100."""
    return float(LOOSEST * (FINEST / LOOSEST) ** (quality / 100))


def quality_for(weight: float) -> int:
    """Return the quality, 0 to 100, whose weight is closest."""
    found = 100 * math.log(weight / LOOSEST) / math.log(FINEST / LOOSEST)
    return min(max(round(found), 0), 100)


def rate_of(weight: float) -> float:
    """Return where a weight lies between few bits, above 0, and many, below: whole 1/256."""
    return round(128 * math.log(weight / MIDDLE)) / 256


@dataclass(frozen=True, kw_only=True)
class ImageInrConfig:
    """Shape of the networks; the defaults are what `image/inr` ships."""

    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        analysis: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values["analysis"].items()
        }
        return cls(
            synthesis=SynthesisConfig(**values["synthesis"]), analysis=AnalysisConfig(**analysis)
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class ImageInr(nn.Module):
    """Analysis, the models of all planes of latents, and synthesis.

    Latents are integers at heart: `analyse` gives them before they are rounded. All take the
    `rate` of the item. Scales are lists of `(B, C, h, w)`, as `pyramid` tells.
    """

    def __init__(self, config: ImageInrConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = Analysis(config.analysis)
        self.arms: Sequence[Arms] = nn.ModuleList(map(Arms, CHANNELS))  # type: ignore[assignment]
        self.synthesis = Synthesis(config.synthesis)
        # The logarithm of each plane's step, and how it follows the rate.
        self.log_steps = nn.ParameterList(nn.Parameter(torch.full((c,), _STEP)) for c in CHANNELS)
        self.step_slopes = nn.ParameterList(nn.Parameter(torch.ones(c)) for c in CHANNELS)

    def steps(self, rate: float) -> list[Tensor]:
        """Return the size of a step of each plane, `(C, 1, 1)`, in the units of the signal."""
        pairs = zip(self.log_steps, self.step_slopes, strict=True)
        return [torch.exp(log + rate * slope)[:, None, None] for log, slope in pairs]

    def analyse(self, pixels: Tensor, rate: float) -> list[Tensor]:
        """Return the scales of pixels `(B, 3, H, W)` in 0 to 1, in steps."""
        linear, added = self.analysis(pixels)
        triples = zip(linear, added, self.steps(rate), strict=True)
        return [y / step + more for y, more, step in triples]

    def bits(self, scales: list[Tensor], rate: float) -> Tensor:
        """Return the bits of each plane, `(planes,)`."""
        return plane_bits(self.arms, scales, rate)

    def render(self, scales: list[Tensor], rate: float) -> Tensor:
        """Return the pixels of scales in steps, in 0 to 1 but not cut to it."""
        steps = self.steps(rate)
        sized = [y * step for y, step in zip(scales, steps, strict=True)]
        pixels: Tensor = self.synthesis(sized, rate)
        return pixels


def padded_input(pixels: NDArray[np.uint8]) -> Tensor:
    """Return a picture `(H, W, 3)` as the analysis takes it, its sides padded by their edges."""
    height, width = pixels.shape[:2]
    high, wide = padded(height, width)
    whole = np.pad(pixels, ((0, high - height), (0, wide - width), (0, 0)), "edge")
    return torch.from_numpy(whole).permute(2, 0, 1)[None].float() / 255


def build(shipped: weights.Shipped, arms: Mapping[str, Ints], device: str) -> ImageInr:
    """Return the networks with the weights of a folder, and those of the models' integers.

    What is fitted is thus what the integers say.
    """
    arrays = weights.dequantize(shipped.tensors)
    tensors = {name: torch.from_numpy(np.array(array)).float() for name, array in arrays.items()}
    network = ImageInr(ImageInrConfig.from_dict(shipped.config))
    network.load_state_dict(tensors | floats_of(arms))
    return channels_last(network.to(device).eval().requires_grad_(False))
