"""What adapters of pictures and of video share: pixels, and the boxes that run by themselves."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from omnicodec.codecs.hub.hub_codec import Array, HubNetwork
from omnicodec.codecs.hub.tiles import Box, check_shape, joined
from omnicodec.codecs.media import Media
from omnicodec.codecs.tokens import Tokens

if TYPE_CHECKING:
    import torch

M = TypeVar("M", bound=Media)


class HubPixels(HubNetwork[M]):
    """A network of pixels, whose tokens lie in a grid.

    An item runs in the boxes of this grid that `_boxes` names: one, unless it is large. Its pieces
    are pixels `(..., 3)`. An adapter takes pixels -1..1 in `_encode_batch`, `(B, 3, ...)`, and
    gives them in `_decode_batch`; where its network wants others, it has its own `_normalised` and
    `_pixels`. It sets `_stride`, the side in pixels of what a token covers, in `_prepare`.
    """

    at_once: ClassVar[int] = 1 << 21
    """Pixels that run side by side: what a network of usual size has some 10 GB of memory for."""

    tile_pixels: ClassVar[int] = 1024
    """Side of a tile in pixels: what a network of usual size has a few GB of memory for."""

    _stride: int

    @classmethod
    def _tile_of(cls, stride: int) -> int:
        """Return the side of a tile in tokens of `stride` pixels a side."""
        return max(1, cls.tile_pixels // stride)

    @abstractmethod
    def _extent(self, item: M, books: int) -> dict[str, int]:
        """Return the extent of an item that is encoded with so many codebooks."""

    @abstractmethod
    def _boxes(self, grid: tuple[int, ...], extent: Mapping[str, int]) -> list[Box]:
        """Return the boxes of a grid in the order of the pieces; none without positions."""

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels `(B, 3, ...)`, float32 0..255, as the network takes them."""
        return pixels / 127.5 - 1

    def _pixels(self, values: torch.Tensor) -> torch.Tensor:
        """Return what the network gives, `(B, 3, ...)`, as pixels 0..255, not yet rounded."""
        return (values + 1) * 127.5

    def _run_encoder(self, batch: Array, books: int) -> Array:
        # `(B, ..., 3)` of bytes, a quarter of what goes to the device as floats.
        pixels = np.moveaxis(batch, -1, 1).copy()
        run = super()._run_encoder
        return self._in_turn(pixels, pixels.size // 3, lambda part: run(part, books))

    def _run_decoder(self, batch: Array) -> Array:
        positions = batch.size // batch.shape[1]
        pixels = positions * math.prod(self.spec.covers.values())
        return self._in_turn(batch, pixels, super()._run_decoder)

    def _in_turn(self, batch: Array, pixels: float, run: Callable[[Array], Array]) -> Array:
        """Return what `run` makes of a batch, one by one where its pixels are too many.

        Which it is follows from the shape of the batch, and so not from what else is in it.
        """
        if len(batch) == 1 or pixels <= self.at_once:
            return run(batch)
        return np.concatenate([run(batch[at : at + 1]) for at in range(len(batch))])

    def _encoder_input(self, batch: torch.Tensor) -> torch.Tensor:
        return self._normalised(batch.float())

    def _decoder_output(self, values: torch.Tensor) -> torch.Tensor:
        import torch

        pixels = self._pixels(values.float()).round().clamp(0, 255).to(torch.uint8)
        return pixels.movedim(1, -1).contiguous()

    def _tokens(self, item: M, codes: Sequence[Array], books: int) -> Tokens:
        extent = self._extent(item, books)
        grid = self.expected_grid(extent, 0)
        boxes = self._boxes(grid, extent)
        for part, box in zip(codes, boxes, strict=True):
            check_shape(self.spec.name, part.shape[1:], box)
        return self._made(joined(codes, boxes, grid), books, grid, extent)

    def _code_pieces(self, tokens: Tokens, ids: Array) -> Iterable[Array]:
        whole = ids.reshape(len(ids), *tokens.grid)
        for box in self._boxes(tokens.grid, tokens.extent):
            yield whole[:, *box]

    def _put(self, pixels: Array, found: list[Any], areas: Iterable[Box]) -> None:
        """Move decoded pieces to their places; what is outside of `pixels` was padding.

        `found` is emptied, so that little is there twice.
        """
        found.reverse()
        for area in areas:
            part = found.pop()
            check_shape(self.spec.name, part.shape[:-1], area)
            place = pixels[area]
            place[:] = part[tuple(map(slice, place.shape))]
