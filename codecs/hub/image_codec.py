"""What adapters of pictures share: padding to whole tokens, pixels, and size."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from omnicodec.codecs.codec import Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.hub_codec import Array, HubNetwork
from omnicodec.codecs.hub.tiles import Box, check_shape, fitted, joined, scaled, tiles
from omnicodec.codecs.limits import check_pixels
from omnicodec.codecs.media import Image, Media
from omnicodec.codecs.tokens import Tokens

if TYPE_CHECKING:
    import torch

EXTENT: Final = ("height", "width", "tile")


class HubImage(HubNetwork[Image]):
    """Pictures of any size, one token for a square of `_stride` pixels.

    A picture is padded to whole tokens by repeating its last row and column, and runs through the
    network in its own shape; a large one in tiles, each by itself, whose side in tokens is the
    `tile` of the extent. An adapter sets `_stride` in `_prepare`, takes pixels -1..1 in
    `_encode_batch` and gives them in `_decode_batch`; where its network wants others, it has its
    own `_normalised` and `_pixels`.
    """

    media_type: ClassVar[type[Media]] = Image
    modality: ClassVar[str] = "image"

    tile_pixels: ClassVar[int] = 1024
    """Side of a tile in pixels: what a network of usual size has a few GB of memory for."""

    _stride: int

    @classmethod
    def _grid_facts(cls, stride: int) -> dict[str, Any]:
        """Return the fields of the spec that tell of size; an adapter adds what a token is."""
        tile = cls._tile_of(stride)
        return {
            "covers": {"height": stride, "width": stride},
            "extent": EXTENT,
            "grid_rank": 2,
            "details": {
                "large pictures": f"more than {tile}x{tile} tokens are cut into tiles of up to "
                f"{tile} a side, each coded by itself"
            },
        }

    @classmethod
    def _code_facts(cls, stride: int, entries: int) -> dict[str, Any]:
        """Return the fields of the spec of a codec with one codebook."""
        return cls._grid_facts(stride) | {
            "summary": f"one token of {entries:,} for {stride}x{stride} pixels",
            "codebook_sizes": (entries,),
        }

    @classmethod
    def _tile_of(cls, stride: int) -> int:
        """Return the side of a tile in tokens."""
        return max(1, cls.tile_pixels // stride)

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels `(B, 3, H, W)`, float32 0..255, as the network takes them."""
        return pixels / 127.5 - 1

    def _pixels(self, values: torch.Tensor) -> torch.Tensor:
        """Return what the network gives, `(B, 3, H, W)`, as pixels 0..255, not yet rounded."""
        return (values + 1) * 127.5

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        height, width, tile = extent["height"], extent["width"], extent["tile"]
        most = self._tile_of(self._stride)
        if not 0 < tile <= most:
            raise InvalidInput(f"{self.spec.name} has tiles of 1 to {most} tokens, not {tile}")
        if height < 0 or width < 0:
            raise InvalidInput(f"a picture cannot have {width}x{height} pixels")
        check_pixels(height, width)
        return -(-height // self._stride), -(-width // self._stride)

    def shape_class(self, item: Image, settings: Settings) -> Hashable | None:
        return None if settings.width == 1 else self._grid(item)

    def tokens_class(self, tokens: Tokens, width: int) -> Hashable | None:
        return None if width == 1 else tokens.grid

    def _extent(self, item: Image, books: int) -> dict[str, int]:
        """Return the extent of a picture that is encoded with so many codebooks."""
        tile = self._tile_of(self._stride)
        return {"height": item.height, "width": item.width, "tile": tile}

    def _grid(self, item: Image) -> tuple[int, ...]:
        return self.expected_grid(self._extent(item, 0), 0)

    def _pieces(self, item: Image) -> Iterable[Array]:
        for box in tiles(self._grid(item), self._tile_of(self._stride)):
            rows, columns = scaled(box, self._stride)
            piece = item.pixels[rows, columns]
            yield fitted(piece, rows.stop - rows.start, columns.stop - columns.start)

    def _run_encoder(self, batch: Array, books: int) -> Array:
        # `(B, H, W, 3)` of bytes, a quarter of what goes to the device as floats.
        return super()._run_encoder(batch.transpose(0, 3, 1, 2).copy(), books)

    def _encoder_input(self, batch: torch.Tensor) -> torch.Tensor:
        return self._normalised(batch.float())

    def _tokens(self, item: Image, codes: Sequence[Array], books: int) -> Tokens:
        extent = self._extent(item, books)
        grid = self.expected_grid(extent, 0)
        boxes = tiles(grid, extent["tile"])
        for part, box in zip(codes, boxes, strict=True):
            check_shape(self.spec.name, part.shape[1:], box)
        return self._made(joined(codes, boxes, grid), books, grid, extent)

    def _code_pieces(self, tokens: Tokens, ids: Array) -> Iterable[Array]:
        whole = ids.reshape(len(ids), *tokens.grid)
        for box in tiles(tokens.grid, tokens.extent["tile"]):
            yield whole[:, *box]

    def _decoder_output(self, values: torch.Tensor) -> torch.Tensor:
        import torch

        pixels = self._pixels(values.float()).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous()

    def _media(self, tokens: Tokens, found: Sequence[Any]) -> Image:
        pixels = np.zeros((tokens.extent["height"], tokens.extent["width"], 3), np.uint8)
        boxes: list[Box] = tiles(tokens.grid, tokens.extent["tile"])
        for part, box in zip(found, boxes, strict=True):
            area = scaled(box, self._stride)
            check_shape(self.spec.name, part.shape[:2], area)
            place = pixels[area]
            place[:] = part[: place.shape[0], : place.shape[1]]
        return Image(pixels)
