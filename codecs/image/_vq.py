"""What `image/vq` and `image/vq8` have in common: all but the patch that a token stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    through the network alone, in its own shape, so that its tokens never depend on its
    neighbours in a batch. Large pictures run in overlapping tiles. Lower qualities use a part
    of the codebook. Lost tokens are filled in by a network, or by the mean of their neighbours
    where the weights have none.
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

    def _encode(self, item: Image, settings: Settings) -> Tokens:
        height, width = item.height, item.width
        grid = self.expected_grid({"height": height, "width": width}, 0)
        ids = np.zeros(grid, np.int32)
        for part in passes(grid, CORE, MARGIN):
            pixels = part.pixels(item.pixels, self._patch)
            found = self._run_encoder(pixels, STEPS[settings.effort or next(iter(STEPS))])
            ids[part.kept()] = found[part.inside()]
        if isinstance(self.prior, DigitPrior):
            codebook = self.prior.codebooks.get(settings.quality or WHOLE)
            ids = ids if codebook is None else codebook.nearest(ids)
        extent = {"height": height, "width": width}
        return Tokens(self.name, self.spec.fingerprint, ids.reshape(1, -1), grid, extent)

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Image:
        height, width = tokens.extent["height"], tokens.extent["width"]
        ids, patch = tokens.ids.reshape(tokens.grid), self._patch
        vectors = None
        if missing is not None and missing.any():
            vectors = self._fill(ids, missing.reshape(tokens.grid))
        pixels = np.empty((tokens.grid[0] * patch, tokens.grid[1] * patch, 3), np.uint8)
        for part in passes(tokens.grid, CORE, MARGIN):
            if vectors is None:
                code = code_vectors(ids[part.computed()], self.levels)
            else:
                code = vectors[:, *part.computed()]
            pixels[part.kept(patch)] = self._run_decoder(code)[part.inside(patch)]
        return Image(np.ascontiguousarray(pixels[:height, :width]))

    def _fill(self, ids: NDArray[np.int32], missing: Mask) -> Vectors:
        if self._concealer is None:
            return spread(code_vectors(ids, self.levels), missing)
        return self._concealer.fill(ids, missing)

    def _run_encoder(self, pixels: NDArray[np.uint8], steps: int) -> NDArray[np.int64]:
        import torch

        from omnicodec.models.image.vq_refine import refined

        with torch.no_grad():
            # `(H, W, 3)` seen as `(1, 3, H, W)` is already in channels-last memory.
            x = torch.from_numpy(pixels).to(self._device).permute(2, 0, 1)[None].float() / 127.5 - 1
            indices = self._network.encode(x)
        if steps:
            indices = refined(self._network, x, indices, steps)
        found: NDArray[np.int64] = indices[0].cpu().numpy()
        return found

    def _run_decoder(self, code: Vectors) -> NDArray[np.uint8]:
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(code))[None].to(self._device)
            y = self._network.render(x)[0].permute(1, 2, 0)
            y = ((y + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            pixels: NDArray[np.uint8] = y.cpu().numpy()
        return pixels
