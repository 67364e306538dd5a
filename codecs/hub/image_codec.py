"""What adapters of pictures share: padding to whole tokens, pixels, and size."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.hub_codec import Array, HubNetwork
from omnicodec.codecs.limits import check_pixels
from omnicodec.codecs.media import Image, Media
from omnicodec.codecs.tokens import Tokens

if TYPE_CHECKING:
    import torch

EXTENT: Final = ("height", "width")


class HubImage(HubNetwork[Image]):
    """Pictures of any size, one token for a square of `_stride` pixels.

    A picture is padded to whole tokens by repeating its last row and column, and runs through the
    network in its own shape. An adapter sets `_stride` in `_prepare`, takes pixels -1..1 in
    `_encode_batch` and gives them in `_decode_batch`; where its network wants others, it has its
    own `_normalised` and `_pixels`.
    """

    media_type: ClassVar[type[Media]] = Image
    modality: ClassVar[str] = "image"

    _stride: int

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels `(B, 3, H, W)`, float32 0..255, as the network takes them."""
        return pixels / 127.5 - 1

    def _pixels(self, values: torch.Tensor) -> torch.Tensor:
        """Return what the network gives, `(B, 3, H, W)`, as pixels 0..255, not yet rounded."""
        return (values + 1) * 127.5

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        height, width = extent["height"], extent["width"]
        if height < 0 or width < 0:
            raise InvalidInput(f"a picture cannot have {width}x{height} pixels")
        check_pixels(height, width)
        return -(-height // self._stride), -(-width // self._stride)

    def shape_class(self, item: Image, settings: Settings) -> Hashable | None:
        return None if settings.width == 1 else self._grid(item)

    def tokens_class(self, tokens: Tokens, width: int) -> Hashable | None:
        return None if width == 1 else tokens.grid

    def _grid(self, item: Image) -> tuple[int, ...]:
        return self.expected_grid({"height": item.height, "width": item.width}, 0)

    def _pieces(self, item: Image) -> Iterable[Array]:
        grid = self._grid(item)
        if not all(grid):
            return
        size = (item.height, item.width)
        room = [(0, n * self._stride - m) for n, m in zip(grid, size, strict=True)]
        yield np.pad(item.pixels, (*room, (0, 0)), "edge")

    def _run_encoder(self, batch: Array, books: int) -> Array:
        # `(B, H, W, 3)` of bytes, a quarter of what goes to the device as floats.
        return super()._run_encoder(batch.transpose(0, 3, 1, 2).copy(), books)

    def _encoder_input(self, batch: torch.Tensor) -> torch.Tensor:
        return self._normalised(batch.float())

    def _tokens(self, item: Image, codes: Sequence[Array], books: int) -> Tokens:
        extent = {"height": item.height, "width": item.width}
        flat = [each.reshape(len(each), -1) for each in codes]
        name, fingerprint = self.spec.name, self.spec.fingerprint
        return Tokens(name, fingerprint, self.padded(flat), self._grid(item), extent)

    def _code_pieces(self, tokens: Tokens, ids: NDArray[np.int32]) -> Iterable[Array]:
        if len(tokens):
            yield ids.reshape(len(ids), *tokens.grid)

    def _decoder_output(self, values: torch.Tensor) -> torch.Tensor:
        import torch

        pixels = self._pixels(values.float()).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous()

    def _media(self, tokens: Tokens, found: Sequence[Any]) -> Image:
        height, width = tokens.extent["height"], tokens.extent["width"]
        if not found:
            return Image(np.zeros((height, width, 3), np.uint8))
        return Image(np.ascontiguousarray(found[0][:height, :width]))
