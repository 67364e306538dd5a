"""What adapters of pictures share: padding to whole tokens, tiles, and size."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ClassVar, Final

import numpy as np

from omnicodec.codecs.codec import Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.hub_codec import Array
from omnicodec.codecs.hub.pixels import HubPixels
from omnicodec.codecs.hub.tiles import Box, check_tile, fitted, scaled, tiles
from omnicodec.codecs.limits import MAX_PIXELS, check_count, check_pixels
from omnicodec.codecs.media import Image, Media
from omnicodec.codecs.tokens import Tokens

EXTENT: Final = ("height", "width", "tile")


class HubImage(HubPixels[Image]):
    """Pictures of any size, one token for a square of `_stride` pixels.

    A picture is padded to whole tokens by repeating its last row and column, and runs through the
    network in its own shape; a large one in tiles, each by itself, whose side in tokens is the
    `tile` of the extent. An adapter sets `_stride` in `_prepare`.
    """

    media_type: ClassVar[type[Media]] = Image
    modality: ClassVar[str] = "image"

    @classmethod
    def _grid_facts(cls, stride: int) -> dict[str, Any]:
        """Return the fields of the spec that tell of size; an adapter adds what a token is."""
        tile = cls._tile_of(stride)
        return {
            "covers": {"height": stride, "width": stride},
            "extent": EXTENT,
            "usual": {"tile": tile},
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

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        height, width = extent["height"], extent["width"]
        if height < 0 or width < 0:
            raise InvalidInput(f"a picture cannot have {width}x{height} pixels")
        check_pixels(height, width)
        check_count(max(height, width), MAX_PIXELS, "pixels a side")
        check_tile(self.spec.name, extent["tile"], self._tile_of(self._stride))
        return -(-height // self._stride), -(-width // self._stride)

    def shape_class(self, item: Image, settings: Settings) -> Hashable | None:
        if settings.width == 1:
            return None
        return self.expected_grid(self._extent(item, 0), 0)

    def tokens_class(self, tokens: Tokens, width: int) -> Hashable | None:
        return None if width == 1 else tokens.grid

    def _extent(self, item: Image, books: int) -> dict[str, int]:
        tile = self._tile_of(self._stride)
        return {"height": item.height, "width": item.width, "tile": tile}

    def _boxes(self, grid: tuple[int, ...], extent: Mapping[str, int]) -> list[Box]:
        return tiles(grid, extent["tile"])

    def _pieces(self, item: Image) -> Iterable[Array]:
        extent = self._extent(item, 0)
        for box in self._boxes(self.expected_grid(extent, 0), extent):
            rows, columns = scaled(box, self._stride)
            piece = item.pixels[rows, columns]
            yield fitted(piece, rows.stop - rows.start, columns.stop - columns.start)

    def _media(self, tokens: Tokens, found: list[Any]) -> Image:
        pixels = np.zeros((tokens.extent["height"], tokens.extent["width"], 3), np.uint8)
        boxes = self._boxes(tokens.grid, tokens.extent)
        self._put(pixels, found, (scaled(box, self._stride) for box in boxes))
        return Image(pixels)
