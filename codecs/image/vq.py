"""`image/vq`: a learned image tokenizer, one token for 16x16 pixels, made for CPUs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import Codec, CodecSpec, Mask, Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.limits import check_pixels
from omnicodec.codecs.media import Image, Media
from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.registry import register
from omnicodec.codecs.tokens import Tokens
from omnicodec.models import weights
from omnicodec.models.tiling import Tile, tiles

if TYPE_CHECKING:
    from omnicodec.models.image.vq import ImageVQ

NAME: Final = "image/vq"

# Positions a side that one pass keeps, and computes around that. A picture of up to 80x80
# positions is one pass; beyond, the far ends of the receptive field are cut, where it has
# faded: the pixels of a tile differ by less than one level from those of one large pass.
CORE: Final = 56
MARGIN: Final = 12


@register(NAME)
class ImageVQCodec(Codec[Image]):
    """Pictures of any size to one 16-bit token for each 16x16 pixels.

    Each picture is padded to whole tokens by repeating its last row and column, and runs
    through the network alone, in its own shape, so that its tokens never depend on its
    neighbours in a batch. Large pictures run in overlapping tiles.
    """

    media_type: ClassVar[type[Media]] = Image
    chunk_positions: ClassVar[int] = 1 << 11  # about 4 KB, and half a megapixel

    def __init__(self, network: ImageVQ, device: str) -> None:
        self.spec = self.describe()
        self.prior = _prior()
        self._network = network
        self._device = device
        self._patch = network.config.patch

    @classmethod
    def describe(cls) -> CodecSpec:
        shipped = weights.read(NAME)
        config = shipped.config
        return CodecSpec(
            name=NAME,
            version=config["version"],
            modality="image",
            summary="one 16-bit token for 16x16 pixels, learned, for pictures of any size",
            fingerprint=shipped.fingerprint,
            codebook_sizes=(math.prod(config["levels"]),),
            covers={"height": config["patch"], "width": config["patch"]},
            prior=_prior().fingerprint,
            extent=("height", "width"),
            grid_rank=2,
            weight_bytes=shipped.nbytes,
            citation="FSQ: Mentzer et al. 2023, arXiv:2309.15505; "
            "ConvNeXt: Liu et al. 2022, arXiv:2201.03545",
        )

    @classmethod
    def open(cls, device: str) -> ImageVQCodec:
        import torch

        from omnicodec.models.image.vq import ImageVQConfig, build

        shipped = weights.read(NAME)
        tensors = {name: torch.from_numpy(array) for name, array in shipped.tensors.items()}
        return cls(build(ImageVQConfig.from_dict(shipped.config), tensors).to(device), device)

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        height, width = extent["height"], extent["width"]
        if height < 0 or width < 0:
            raise InvalidInput(f"a picture cannot have {width}x{height} pixels")
        check_pixels(height, width)
        return -(-height // self._patch), -(-width // self._patch)

    def _encode(self, item: Image, settings: Settings) -> Tokens:
        height, width = item.height, item.width
        grid = self.expected_grid({"height": height, "width": width}, 0)
        ids = np.zeros(grid, np.int32)
        for rows, columns in _passes(grid):
            piece = self._piece(item.pixels, rows, columns)
            found = self._run_encoder(piece)
            ids[_kept(rows, columns)] = found[_inside(rows, columns)]
        return Tokens(
            NAME,
            self.spec.fingerprint,
            ids.reshape(1, -1),
            grid,
            {"height": height, "width": width},
        )

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Image:
        height, width = tokens.extent["height"], tokens.extent["width"]
        ids = tokens.ids.reshape(tokens.grid)
        if missing is not None:
            ids = np.where(missing.reshape(tokens.grid), self._neutral, ids)
        patch = self._patch
        pixels = np.empty((tokens.grid[0] * patch, tokens.grid[1] * patch, 3), np.uint8)
        for rows, columns in _passes(tokens.grid):
            piece = self._run_decoder(ids[rows.start : rows.stop, columns.start : columns.stop])
            pixels[_kept(rows, columns, patch)] = piece[_inside(rows, columns, patch)]
        return Image(np.ascontiguousarray(pixels[:height, :width]))

    @property
    def _neutral(self) -> int:
        """The token in the middle of every level, which is close to plain grey."""
        place, token = 1, 0
        for level in self._network.config.levels:
            token += level // 2 * place
            place *= level
        return token

    def _piece(self, pixels: NDArray[np.uint8], rows: Tile, columns: Tile) -> NDArray[np.uint8]:
        """Return the pixels of a tile, its picture's last row and column repeated as needed."""
        patch = self._patch
        piece = pixels[
            rows.start * patch : rows.stop * patch, columns.start * patch : columns.stop * patch
        ]
        below = (rows.stop - rows.start) * patch - piece.shape[0]
        right = (columns.stop - columns.start) * patch - piece.shape[1]
        return np.pad(piece, ((0, below), (0, right), (0, 0)), "edge") if below or right else piece

    def _run_encoder(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        import torch

        with torch.inference_mode():
            # `(H, W, 3)` seen as `(1, 3, H, W)` is already in channels-last memory.
            x = torch.from_numpy(pixels).to(self._device).permute(2, 0, 1)[None]
            found: NDArray[np.int64] = self._network.encode(x.float() / 127.5 - 1)[0].cpu().numpy()
        return found

    def _run_decoder(self, ids: NDArray[np.int32]) -> NDArray[np.uint8]:
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(ids.astype(np.int64))[None].to(self._device)
            y = self._network.decode(x)[0].permute(1, 2, 0)
            y = ((y + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            pixels: NDArray[np.uint8] = y.cpu().numpy()
        return pixels


@cache
def _prior() -> StaticPrior:
    return StaticPrior.from_tables(weights.read(NAME).prior)


def _passes(grid: tuple[int, ...]) -> Iterator[tuple[Tile, Tile]]:
    if 0 in grid:
        return
    for rows in tiles(grid[0], CORE, MARGIN):
        for columns in tiles(grid[1], CORE, MARGIN):
            yield rows, columns


def _kept(rows: Tile, columns: Tile, scale: int = 1) -> tuple[slice, slice]:
    """Return where the kept part of a tile lies in the whole."""
    return (
        slice(rows.keep_start * scale, rows.keep_stop * scale),
        slice(columns.keep_start * scale, columns.keep_stop * scale),
    )


def _inside(rows: Tile, columns: Tile, scale: int = 1) -> tuple[slice, slice]:
    """Return where the kept part of a tile lies in the tile."""
    return (
        slice((rows.keep_start - rows.start) * scale, (rows.keep_stop - rows.start) * scale),
        slice(
            (columns.keep_start - columns.start) * scale,
            (columns.keep_stop - columns.start) * scale,
        ),
    )
