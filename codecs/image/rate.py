"""`image/rate`: learned compression of pictures, one model for all rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import CodecSpec, Mask, Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.image._rate_format import prior_fingerprint
from omnicodec.codecs.image._tiles import passes
from omnicodec.codecs.limits import check_pixels
from omnicodec.codecs.media import Image, Media
from omnicodec.codecs.registry import register
from omnicodec.codecs.shipped_codec import ShippedCodec
from omnicodec.codecs.tokens import Tokens
from omnicodec.models import weights

if TYPE_CHECKING:
    from omnicodec.codecs.image._rate_prior import RatePrior
    from omnicodec.models.image.rate import ImageRate

NAME: Final = "image/rate"

DEFAULT_QUALITY: Final = 40

LOW_CHANNELS: Final = 6
"""Channels that hold mean colours and the slowest waves, and so the largest numbers."""

LARGEST: Final = (2047, 511)
"""Latents are cut to this, in the low channels and in the others."""

STEPS: Final = {"fast": 0, "best": 32}
"""Steps of refinement for each effort."""

# Positions a side that one pass keeps, and computes around that: beyond, the far ends of the
# receptive field are cut, where it has faded.
CORE: Final = 40
MARGIN: Final = 8


@register(NAME)
class ImageRateCodec(ShippedCodec[Image]):
    """Pictures of any size at any quality to 256 integers for each 16x16 pixels.

    A token is a latent in zigzag order: 0, 1, -1, 2, -2 are 0, 1, 2, 3, 4. Codebook k holds
    channel k, from mean colours to finest detail, so that most tokens of the later ones are 0.
    The quality is part of the extent, since decoding needs it.
    """

    name: ClassVar[str] = NAME
    media_type: ClassVar[type[Media]] = Image
    chunk_positions: ClassVar[int] = 1 << 11  # half a megapixel

    def __init__(
        self, network: ImageRate, prior: RatePrior, shipped: weights.Shipped, device: str
    ) -> None:
        self.spec = self._spec_of(shipped)
        self.prior: RatePrior = prior
        self._network = network
        self._device = device
        self._patch = network.config.patch
        self._shipped = shipped

    @classmethod
    def _spec_of(cls, shipped: weights.Shipped) -> CodecSpec:
        config = shipped.config
        low, high = (2 * largest + 1 for largest in LARGEST)
        sizes = tuple(low if k < LOW_CHANNELS else high for k in range(config["channels"]))
        return CodecSpec(
            name=NAME,
            version=config["version"],
            modality="image",
            summary="compression at any rate, learned, for pictures of any size",
            fingerprint=shipped.fingerprint,
            codebook_sizes=sizes,
            covers={"height": config["patch"], "width": config["patch"]},
            prior=prior_fingerprint(shipped.prior),
            extent=("height", "width", "quality"),
            grid_rank=2,
            qualities=tuple(range(101)),
            efforts=tuple(STEPS),
            weight_bytes=shipped.nbytes,
            citation="shallow decoders: Yang and Mandt 2023, arXiv:2304.06244; "
            "LOT: Malvar and Staelin 1989; checkerboard: He et al. 2021, arXiv:2103.15306",
        )

    @classmethod
    def _build(cls, shipped: weights.Shipped, device: str) -> Self:
        import torch

        from omnicodec.codecs.image._rate_prior import RatePrior
        from omnicodec.models.image.rate import RateConfig, build

        arrays = weights.dequantize(shipped.tensors)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        network = build(RateConfig.from_dict(shipped.config), tensors, device)
        return cls(network, RatePrior.from_tensors(shipped.prior), shipped, device)

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        height, width, quality = extent["height"], extent["width"], extent["quality"]
        if height < 0 or width < 0:
            raise InvalidInput(f"a picture cannot have {width}x{height} pixels")
        if not 0 <= quality <= 100:
            raise InvalidInput(f"qualities are 0 to 100, not {quality}")
        check_pixels(height, width)
        return -(-height // 16), -(-width // 16)

    def _encode(self, item: Image, settings: Settings) -> Tokens:
        quality = DEFAULT_QUALITY if settings.quality is None else settings.quality
        effort = settings.effort or next(iter(STEPS))
        extent = {"height": item.height, "width": item.width, "quality": quality}
        grid = self.expected_grid(extent, 0)
        latents = np.zeros((len(self.spec.codebook_sizes), *grid), np.int16)
        for part in passes(grid, CORE, MARGIN):
            settings.work.check()
            found = self._analyse(part.pixels(item.pixels, self._patch), quality, STEPS[effort])
            latents[:, *part.kept()] = found[:, *part.inside()]
        ids = zigzag(latents.reshape(len(latents), grid[0] * grid[1]))
        return Tokens(NAME, self.spec.fingerprint, ids, grid, extent)

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Image:
        height, width = tokens.extent["height"], tokens.extent["width"]
        latents = from_zigzag(tokens.ids).reshape(len(tokens.ids), *tokens.grid)
        if missing is not None:
            latents = concealed(latents, missing.reshape(tokens.grid))
        patch = self._patch
        pixels = np.empty((tokens.grid[0] * patch, tokens.grid[1] * patch, 3), np.uint8)
        for part in passes(tokens.grid, CORE, MARGIN):
            piece = self._render(latents[:, *part.computed()], tokens.extent["quality"])
            pixels[part.kept(patch)] = piece[part.inside(patch)]
        return Image(np.ascontiguousarray(pixels[:height, :width]))

    def _analyse(self, pixels: NDArray[np.uint8], quality: int, steps: int) -> NDArray[np.int16]:
        import torch

        from omnicodec.models.image.rate_refine import refined

        with torch.inference_mode():
            # `(H, W, 3)` seen as `(1, 3, H, W)` is already in channels-last memory.
            x = torch.from_numpy(pixels).to(self._device).permute(2, 0, 1)[None].float()
            x = x / 127.5 - 1
            asked = torch.tensor([float(quality)], device=self._device)
            y = self._network.analyse(x, asked).float()
        if steps:
            y = refined(self._network, self.prior.estimate, x, y, asked, steps)
        limits = torch.full((y.shape[1],), float(LARGEST[1]), device=self._device)
        limits[:LOW_CHANNELS] = LARGEST[0]
        y = y[0].round().clamp(-limits[:, None, None], limits[:, None, None])
        found: NDArray[np.int16] = y.to(torch.int16).cpu().numpy()
        return found

    def _render(self, latents: NDArray[np.int16], quality: int) -> NDArray[np.uint8]:
        import torch

        with torch.inference_mode():
            y = torch.from_numpy(np.ascontiguousarray(latents)).to(self._device)[None].float()
            asked = torch.tensor([float(quality)], device=self._device)
            x = self._network.render(y, asked)[0].float().permute(1, 2, 0)
            x = ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            pixels: NDArray[np.uint8] = x.cpu().numpy()
        return pixels


def zigzag(latents: NDArray[np.int16]) -> NDArray[np.int32]:
    """Return integers as ids: 0, 1, -1, 2, -2 as 0, 1, 2, 3, 4."""
    wide = latents.astype(np.int32)
    return 2 * np.abs(wide) - (wide > 0)


def from_zigzag(ids: NDArray[np.int32]) -> NDArray[np.int16]:
    """Return the integers of ids, the inverse of `zigzag`."""
    half = (ids + 1) >> 1
    return np.where(ids & 1, half, -half).astype(np.int16)


def concealed(latents: NDArray[np.int16], lost: Mask) -> NDArray[np.int16]:
    """Return latents `(C, h, w)` with lost positions `(h, w)` filled from those around them.

    Colours and slow waves grow in from what is known, as means of neighbours; finer detail is
    left out. Where nothing is known, there is grey.
    """
    low = np.where(lost, 0, latents[:LOW_CHANNELS]).astype(np.float32)
    known = ~lost
    while known.any() and not known.all():
        total, count = _around(low * known), _around(known[None].astype(np.float32))[0]
        grown = ~known & (count > 0)
        low[:, grown] = total[:, grown] / count[grown]
        known |= grown
    filled = latents.copy()
    filled[:, lost] = 0
    filled[:LOW_CHANNELS, lost] = np.round(low[:, lost]).astype(np.int16)
    return filled


def _around(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum of each position's four neighbours, `(C, h, w)`."""
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1] + wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]
