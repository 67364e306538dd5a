"""`image/inr`: a picture as latents of many resolutions and small networks, fitted to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import CodecSpec, Mask, Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.image._inr_format import IDS, front, grid_of, prior_fingerprint
from omnicodec.codecs.image._tiles import Pass, passes
from omnicodec.codecs.limits import check_pixels
from omnicodec.codecs.media import Image, Media
from omnicodec.codecs.registry import register
from omnicodec.codecs.shipped_codec import ShippedCodec
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.work import Watch
from omnicodec.models import weights
from omnicodec.models.inr.pyramid import ALIGN, LARGEST, SHIFTS, join, padded, positions, split

if TYPE_CHECKING:
    import torch

    from omnicodec.codecs.image._inr_prior import InrPrior
    from omnicodec.models.inr.fit import Fitted
    from omnicodec.models.inr.image import ImageInr
    from omnicodec.models.inr.synthesis import Synthesis
    from omnicodec.models.inr.updates import Update

NAME: Final = "image/inr"

DEFAULT_QUALITY: Final = 40

EFFORTS: Final = {"fast": 0, "normal": 240, "best": 10_000}
"""Steps of a fit. `best` ends when it no longer improves."""

NORMAL_PIXELS: Final = 768 * 512
"""Pictures of more pixels than this get fewer steps, so that `normal` takes about as long."""

LEAST_STEPS: Final = 20

PATIENCE: Final = 600
GAIN: Final = 0.9995
"""`best` goes on while so many steps lower the cost to this share of what it was."""

SAVE_SECONDS: Final = 20.0
REPORT_STEPS: Final = 10

# Blocks of 32x32 pixels that one pass of a network keeps a side, and computes around that: a pixel
# sees no farther than four blocks.
CORE: Final = 32
MARGIN: Final = 4


@register(NAME)
class ImageInrCodec(ShippedCodec[Image]):
    """Pictures of any size at any quality to the integers of a small representation of them.

    `_inr_format` has the order of its tokens: what the picture's networks differ by from those
    that all share, then latents from coarse to fine. The quality is their first token.
    """

    name: ClassVar[str] = NAME
    media_type: ClassVar[type[Media]] = Image
    chunk_positions: ClassVar[int] = 1 << 26  # an item is coded whole

    def __init__(
        self, network: ImageInr, prior: InrPrior, shipped: weights.Shipped, device: str
    ) -> None:
        self.spec = self._spec_of(shipped)
        self.prior: InrPrior = prior
        self._network = network
        self._device = device

    @classmethod
    def _spec_of(cls, shipped: weights.Shipped) -> CodecSpec:
        return CodecSpec(
            name=NAME,
            version=shipped.config["version"],
            modality="image",
            summary="latents and small networks fitted to each picture, at any rate",
            fingerprint=shipped.fingerprint,
            codebook_sizes=(IDS,),
            covers={},
            prior=prior_fingerprint(shipped.prior),
            extent=("height", "width"),
            grid_rank=2,
            qualities=tuple(range(101)),
            efforts=tuple(EFFORTS),
            resumable=True,
            weight_bytes=shipped.nbytes,
            citation="Cool-chic: Ladune et al. 2023, arXiv:2212.05458; "
            "C3: Kim et al. 2024, arXiv:2312.02753",
        )

    @classmethod
    def _build(cls, shipped: weights.Shipped, device: str) -> Self:
        from omnicodec.codecs.image._inr_prior import InrPrior
        from omnicodec.models.inr.image import build

        prior = InrPrior(shipped.prior)
        return cls(build(shipped, prior.arms, device), prior, shipped, device)

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        height, width = extent["height"], extent["width"]
        if height < 0 or width < 0:
            raise InvalidInput(f"a picture cannot have {width}x{height} pixels")
        check_pixels(height, width)
        return grid_of(height, width, self.prior.sizes)

    def takes_minutes(self, settings: Settings) -> bool:
        return EFFORTS[_effort(settings)] > 0

    def _encode(self, item: Image, settings: Settings) -> Tokens:
        quality = DEFAULT_QUALITY if settings.quality is None else settings.quality
        extent = {"height": item.height, "width": item.width}
        grid = self.expected_grid(extent, 0)
        values = np.zeros(grid[0] * grid[1], np.int32)
        if values.size:
            effort = _effort(settings)
            if EFFORTS[effort]:
                fitted = self._fit(item, quality, effort, settings)
                scales, updates = fitted.scales, fitted.updates
            else:
                scales, updates = self._first(item, quality), []
            self._put(values, quality, scales, updates)
        from omnicodec.codecs.image._inr_prior import to_ids

        return Tokens(NAME, self.spec.fingerprint, to_ids(values)[None], grid, extent)

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Image:
        from omnicodec.codecs.image._inr_prior import from_ids
        from omnicodec.models.inr.exact_synthesis import ExactSynthesis

        height, width = tokens.extent["height"], tokens.extent["width"]
        pixels = np.zeros((height, width, 3), np.uint8)
        if not pixels.size:
            return Image(pixels)
        values = from_ids(tokens.ids[0])
        if missing is not None:
            values[missing] = 0
        own, quality, scales = self._open(values, *padded(height, width))
        synthesis = ExactSynthesis(own)
        steps, rate = self.prior.steps[quality], int(self.prior.rates[quality])
        for part in self._passes(height, width):
            pieces = [
                y[:, *part.computed(ALIGN >> shift)]
                for y, shift in zip(scales, SHIFTS, strict=True)
            ]
            drawn = synthesis.render(pieces, steps, rate)[part.inside(ALIGN)]
            kept = pixels[part.kept(ALIGN)]
            kept[:] = drawn[: kept.shape[0], : kept.shape[1]].clip(0, 255)
        return Image(pixels)

    def _passes(self, height: int, width: int) -> Iterator[Pass]:
        high, wide = padded(height, width)
        return passes((high // ALIGN, wide // ALIGN), CORE, MARGIN)

    def _first(self, item: Image, quality: int) -> list[NDArray[np.int32]]:
        """Return the scales that the analysis network gives."""
        import torch

        from omnicodec.models.inr.image import rate_of, weight_of

        high, wide = padded(item.height, item.width)
        scales = split(np.zeros(positions(high, wide), np.int32), high, wide)
        with torch.inference_mode():
            for part in self._passes(item.height, item.width):
                pixels = self._tensor(part.pixels(item.pixels, ALIGN))
                found = self._network.analyse(pixels, rate_of(weight_of(quality)))
                for scale, y, shift in zip(scales, found, SHIFTS, strict=True):
                    whole = y[0].round().clamp(-LARGEST, LARGEST).to(torch.int32).cpu().numpy()
                    side = ALIGN >> shift
                    scale[:, *part.kept(side)] = whole[:, *part.inside(side)]
        return scales

    def _fit(self, item: Image, quality: int, effort: str, settings: Settings) -> Fitted:
        """Return a picture fitted to, going on from a checkpoint where there is one."""
        from omnicodec.models.inr.fit import LOOKS, PictureFit

        steps = EFFORTS[effort]
        if effort == "normal":
            area = item.height * item.width
            steps = min(steps, max(LEAST_STEPS, steps * NORMAL_PIXELS // area))
        high, wide = padded(item.height, item.width)
        sides = ((0, high - item.height), (0, wide - item.width), (0, 0))
        pixels = self._tensor(np.pad(item.pixels, sides, "edge"))
        fit = PictureFit(self._network, pixels, item.height, item.width, quality, steps)
        key = self._key(item, quality, effort)
        restored = settings.work.restore(key)
        if restored is not None:
            fit.restore(restored)
        watch = Watch(settings.work, key, steps, seconds=SAVE_SECONDS, every=REPORT_STEPS)

        def preview() -> Image:
            drawn = (fit.preview()[0].permute(1, 2, 0) * 255).round()
            return Image(drawn.cpu().numpy().astype(np.uint8))

        recent = [fit.cost]
        while fit.done < steps:
            fit.step()
            if fit.done % LOOKS == 0 or fit.done == steps:
                fit.look()
                recent.append(fit.cost)
                back = PATIENCE // LOOKS
                if len(recent) > back and recent[-1] > GAIN * recent[-1 - back]:
                    break
            if watch.due(fit.done, fit.state) and watch.enough(fit.bits, fit.psnr, preview):
                break
        return fit.finish()

    def _key(self, item: Image, quality: int, effort: str) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(item.pixels).data)
        facts = (self.spec.fingerprint, item.pixels.shape, quality, effort)
        digest.update(repr(facts).encode())
        return digest.hexdigest()

    def _tensor(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Return `(H, W, 3)` pixels as `(1, 3, H, W)` in 0 to 1, in channels-last memory."""
        import torch

        x = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
        return x.permute(2, 0, 1)[None].float() / 255

    def _put(
        self,
        values: NDArray[np.int32],
        quality: int,
        scales: list[NDArray[np.int32]],
        updates: list[Update | None],
    ) -> None:
        """Write a picture's integers in their order."""
        values[0] = quality
        at = front(())
        for group, size in enumerate(self.prior.sizes):
            update = updates[group] if updates else None
            if update is not None:
                values[1 + 2 * group : 3 + 2 * group] = update.fraction, 1 + update.which
                values[at : at + size] = update.values
            at += size
        row = join(scales)
        values[at : at + row.size] = row

    def _open(
        self, values: NDArray[np.int32], height: int, width: int
    ) -> tuple[Synthesis, int, list[NDArray[np.int32]]]:
        """Return the synthesis of an item, its quality and its scales."""
        from omnicodec.models.inr.updates import from_heads, updated

        quality = int(min(max(values[0], 0), 100))
        edges = np.cumsum([front(()), *self.prior.sizes])
        heads = values[1 : edges[0]].copy()
        # Any tokens are some picture: updates whose fraction makes no sense are left out.
        heads[1::2][(heads[::2] < 0) | (heads[::2] > 9)] = 0
        updates = from_heads(heads, [values[a:b] for a, b in pairwise(edges)])
        synthesis, at = updated(self._network.synthesis, updates), int(edges[-1])
        return synthesis, quality, split(values[at : at + positions(height, width)], height, width)


def _effort(settings: Settings) -> str:
    return settings.effort or next(iter(EFFORTS))
