"""What `image/vq` and `image/vq8` have in common: all but the patch that a token stands for."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import CodecSpec, Mask, Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.image._conceal import (
    CORE,
    MARGIN,
    Concealer,
    Vectors,
    code_vectors,
    spread,
)
from omnicodec.codecs.image._side_by_side import side_by_side, width_on
from omnicodec.codecs.image._tiles import passes
from omnicodec.codecs.image._vq_prior import WHOLE, DigitPrior, read_prior
from omnicodec.codecs.limits import check_pixels
from omnicodec.codecs.media import Image, Media
from omnicodec.codecs.prior import Prior
from omnicodec.codecs.shipped_codec import ShippedCodec
from omnicodec.codecs.tokens import Tokens
from omnicodec.models import weights

if TYPE_CHECKING:
    from omnicodec.models.image.vq import ImageVQ

MASKED: Final = "masked"
"""The folder of the network that fills in lost tokens, in that of a codec's weights."""

STEPS: Final = {"fast": 0, "best": 32}
"""Steps of the search for better tokens, for each effort."""

Parts = tuple[weights.Shipped, weights.Shipped, Prior]
"""The weights, those of the network that fills in, and the prior."""


class VQCodec(ShippedCodec[Image]):
    """Pictures of any size to one token a patch; `name` and `summary` say which.

    Each picture is padded to whole tokens by repeating its last row and column, and runs
    through the network in its own shape, alone or beside others of that shape, so that its
    tokens never depend on its neighbours in a batch. Large pictures run in overlapping tiles.
    Lower qualities use a part of the codebook. Lost tokens are filled in by a network, or by the
    mean of their neighbours where the weights have none.
    """

    media_type: ClassVar[type[Media]] = Image
    summary: ClassVar[str]

    def __init__(
        self,
        spec: CodecSpec,
        prior: Prior,
        network: ImageVQ,
        concealer: Concealer | None,
        device: str,
    ) -> None:
        self.spec = spec
        self.prior = prior
        self._network = network
        self._concealer = concealer
        self._device = device
        self.width = width_on(device)
        self._patch = network.config.patch
        self.levels = network.config.levels

    @classmethod
    def _read(cls, folder: Path) -> Parts:
        shipped, masked = weights.read_folder(folder), weights.read_folder(folder / MASKED)
        return shipped, masked, read_prior(shipped.config["levels"], shipped.prior)

    @classmethod
    def _spec_of(cls, shipped: Parts) -> CodecSpec:
        coder, masked, prior = shipped
        config = coder.config
        reduced = tuple(prior.codebooks) if isinstance(prior, DigitPrior) else ()
        return CodecSpec(
            name=cls.name,
            version=config["version"],
            modality="image",
            summary=cls.summary,
            fingerprint=coder.fingerprint,
            codebook_sizes=(math.prod(config["levels"]),),
            covers={"height": config["patch"], "width": config["patch"]},
            prior=prior.fingerprint,
            extent=("height", "width"),
            grid_rank=2,
            qualities=(*reduced, WHOLE) if reduced else (),
            efforts=tuple(STEPS),
            weight_bytes=coder.nbytes + masked.nbytes,
            citation="FSQ: Mentzer et al. 2023, arXiv:2309.15505; "
            "ConvNeXt: Liu et al. 2022, arXiv:2201.03545; "
            "MaskGIT: Chang et al. 2022, arXiv:2202.04200",
        )

    @classmethod
    def _build(cls, shipped: Parts, device: str) -> Self:
        import torch

        from omnicodec.models.image.masked import MaskedTokensConfig
        from omnicodec.models.image.masked import build as build_masked
        from omnicodec.models.image.vq import ImageVQConfig, build
        from omnicodec.models.layers import quick_dtype

        def tensors(of: weights.Shipped) -> dict[str, torch.Tensor]:
            stored = weights.dequantize(of.tensors)
            return {name: torch.from_numpy(array) for name, array in stored.items()}

        coder, masked, prior = shipped
        shape = ImageVQConfig.from_dict(coder.config)
        network = build(shape, tensors(coder), quick_dtype(device)).to(device)
        concealer = None
        if masked.tensors:
            config = MaskedTokensConfig.from_dict(masked.config)
            if config.levels != network.config.levels:
                raise ValueError("the network for lost tokens is of other tokens")
            concealer = Concealer(build_masked(config, tensors(masked)).to(device), device)
        return cls(cls._spec_of(shipped), prior, network, concealer, device)

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        height, width = extent["height"], extent["width"]
        if height < 0 or width < 0:
            raise InvalidInput(f"a picture cannot have {width}x{height} pixels")
        check_pixels(height, width)
        return -(-height // self._patch), -(-width // self._patch)

    def token_bits(self, tokens: Tokens) -> float:
        if not isinstance(self.prior, DigitPrior):
            return super().token_bits(tokens)
        quality = self.prior.quality_of(tokens.ids)
        return len(tokens) * math.log2(self.prior.size_of(quality))

    def shape_class(self, item: Image, settings: Settings) -> Hashable | None:
        # The search for better tokens works on one picture.
        if settings.width == 1 or _steps(settings):
            return None
        return self._grid(item)

    def tokens_class(self, tokens: Tokens, width: int) -> Hashable | None:
        return None if width == 1 else tokens.grid

    def _grid(self, item: Image) -> tuple[int, ...]:
        return self.expected_grid({"height": item.height, "width": item.width}, 0)

    def _encode(self, item: Image, settings: Settings) -> Tokens:
        return self._encode_all([item], settings)[0]

    def _encode_all(self, items: Sequence[Image], settings: Settings) -> list[Tokens]:
        steps = _steps(settings)
        grids = [self._grid(item) for item in items]
        ids = [np.zeros(grid, np.int32) for grid in grids]
        parts = [
            (row, part) for row, grid in enumerate(grids) for part in passes(grid, CORE, MARGIN)
        ]
        pixels = (part.pixels(items[row].pixels, self._patch) for row, part in parts)
        width = 1 if steps else settings.width
        for number, found in side_by_side(pixels, width, lambda x: self._run_encoder(x, steps)):
            settings.work.check()
            row, part = parts[number]
            ids[row][part.kept()] = found[part.inside()]
        return [self._tokens(*each, settings) for each in zip(items, ids, strict=True)]

    def _tokens(self, item: Image, ids: NDArray[np.int32], settings: Settings) -> Tokens:
        if isinstance(self.prior, DigitPrior):
            codebook = self.prior.codebooks.get(settings.quality or WHOLE)
            ids = ids if codebook is None else codebook.nearest(ids)
        grid, extent = self._grid(item), {"height": item.height, "width": item.width}
        return Tokens(self.name, self.spec.fingerprint, ids.reshape(1, -1), grid, extent)

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Image:
        return self._decode_all([tokens], [missing], self.width)[0]

    def _decode_all(
        self, tokens: Sequence[Tokens], missing: Sequence[Mask | None], width: int
    ) -> list[Image]:
        patch = self._patch
        pixels = [np.empty((t.grid[0] * patch, t.grid[1] * patch, 3), np.uint8) for t in tokens]
        parts = [
            (row, part) for row, t in enumerate(tokens) for part in passes(t.grid, CORE, MARGIN)
        ]

        def codes() -> Iterator[Vectors]:
            filled: tuple[int, Vectors | None] = -1, None
            for row, part in parts:
                ids, mask = tokens[row].ids.reshape(tokens[row].grid), missing[row]
                if row != filled[0]:
                    lost = None if mask is None or not mask.any() else mask.reshape(ids.shape)
                    filled = row, None if lost is None else self._fill(ids, lost)
                if filled[1] is None:
                    yield code_vectors(ids[part.computed()], self.levels)
                else:
                    yield filled[1][:, *part.computed()]

        for number, found in side_by_side(codes(), width, self._run_decoder):
            row, part = parts[number]
            pixels[row][part.kept(patch)] = found[part.inside(patch)]
        sizes = ((t.extent["height"], t.extent["width"]) for t in tokens)
        return [
            Image(np.ascontiguousarray(whole[:height, :width]))
            for whole, (height, width) in zip(pixels, sizes, strict=True)
        ]

    def _fill(self, ids: NDArray[np.int32], missing: Mask) -> Vectors:
        if self._concealer is None:
            return spread(code_vectors(ids, self.levels), missing)
        return self._concealer.fill(ids, missing)

    def _run_encoder(self, pixels: NDArray[np.uint8], steps: int) -> NDArray[np.int64]:
        """Return the tokens `(B, h, w)` of pixels `(B, H, W, 3)`."""
        import torch

        from omnicodec.models.image.vq_refine import refined

        with torch.no_grad():
            # `(B, H, W, 3)` seen as `(B, 3, H, W)` is already in channels-last memory.
            x = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
            indices = self._network.encode(x)
        if steps:
            indices = refined(self._network, x, indices, steps)
        found: NDArray[np.int64] = indices.cpu().numpy()
        return found

    def _run_decoder(self, codes: Vectors) -> NDArray[np.uint8]:
        """Return the pixels `(B, H, W, 3)` of code vectors `(B, D, h, w)`."""
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(codes)).to(self._device)
            y = self._network.render(x).permute(0, 2, 3, 1)
            y = ((y + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            pixels: NDArray[np.uint8] = y.cpu().numpy()
        return pixels


def _steps(settings: Settings) -> int:
    return STEPS[settings.effort or next(iter(STEPS))]
