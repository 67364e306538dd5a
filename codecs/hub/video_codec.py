"""What adapters of video share: padding to whole tokens, chunks and tiles, and size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, ClassVar, Final

import numpy as np

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.hub_codec import Array
from omnicodec.codecs.hub.pixels import HubPixels
from omnicodec.codecs.hub.tiles import Box, check_tile, fitted, scaled, tiles
from omnicodec.codecs.limits import MAX_PIXELS, MAX_VIDEO_PIXELS, check_count, check_pixels
from omnicodec.codecs.media import Media, Video
from omnicodec.codecs.tokens import Tokens

EXTENT: Final = (
    "frames", "height", "width", "chunk", "tile", "fps_numerator", "fps_denominator",
)  # fmt: skip


class HubVideo(HubPixels[Video]):
    """Video of any size and length, from a network that is causal in time.

    The first frame has tokens of its own, one for a square of `_stride` pixels; then one stands for
    such a square in `_span` frames. An adapter sets both in `_prepare`.

    A clip is padded to whole tokens by repeating its last row, column and frame. A long one runs in
    chunks, whose frames are the `chunk` of the extent, and large frames in tiles, whose side in
    tokens is `tile`; each piece is coded by itself. What comes back has no sound: streams and
    data sets keep it beside the tokens.
    """

    media_type: ClassVar[type[Media]] = Video
    modality: ClassVar[str] = "video"
    chunk_positions: ClassVar[int] = 1 << 12

    chunk_frames: ClassVar[int] = 121
    """Frames of a chunk at most."""
    piece_pixels: ClassVar[int] = 1 << 25
    """Pixels of a piece, all frames together: what a network has a few GB of memory for."""

    _span: int

    @classmethod
    def _grid_facts(cls, stride: int, span: int) -> dict[str, Any]:
        """Return the fields of the spec that tell of size; an adapter adds what a token is."""
        tile = cls._tile_of(stride)
        return {
            "covers": {"frames": span, "height": stride, "width": stride},
            "extent": EXTENT,
            "grid_rank": 3,
            "details": {
                "long videos": f"more than {cls.chunk_frames} frames, or {cls.piece_pixels:,} "
                "pixels in all frames, are cut into chunks, each coded by itself",
                "large frames": f"more than {tile}x{tile} tokens are cut into tiles of up to "
                f"{tile} a side, each coded by itself",
            },
        }

    def _open(self, snapshot: Snapshot) -> None:
        super()._open(snapshot)
        self.width = 1  # one piece fills a GPU

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        frames, height, width = (extent[name] for name in EXTENT[:3])
        if min(frames, height, width) < 0:
            raise InvalidInput(f"a video cannot have {frames} frames of {width}x{height} pixels")
        if extent["fps_numerator"] <= 0 or extent["fps_denominator"] <= 0:
            raise InvalidInput("a video has a positive number of frames a second")
        check_pixels(height, width)
        check_count(max(height, width), MAX_PIXELS, "pixels a side")
        check_count(frames * max(1, height * width), MAX_VIDEO_PIXELS, "pixels of video")
        check_tile(self.spec.name, extent["tile"], self._tile_of(self._stride))
        chunk, most = extent["chunk"], self._chunk_of(height, width)
        if not 0 < chunk <= most or (chunk - 1) % self._span:
            raise InvalidInput(
                f"{self.spec.name} has chunks of 1 to {most} frames of this size, one more than a "
                f"multiple of {self._span}, not {chunk}"
            )
        whole, rest = divmod(frames, chunk)
        steps = whole * self._steps(chunk) + self._steps(rest)
        return steps, -(-height // self._stride), -(-width // self._stride)

    def _steps(self, frames: int) -> int:
        """Return how many steps of time the grid has for the frames of one piece."""
        return 1 + -(-(frames - 1) // self._span) if frames else 0

    def _chunk_of(self, height: int, width: int) -> int:
        """Return the frames of a chunk of a video of this size: one, and a multiple of the span."""
        tile = min(height * width, self.tile_pixels**2)
        frames = min(self.chunk_frames, self.piece_pixels // max(1, tile))
        return 1 + max(1, (frames - 1) // self._span) * self._span

    def _extent(self, item: Video, books: int) -> dict[str, int]:
        frames, height, width = item.frames.shape[:3]
        chunk, tile = self._chunk_of(height, width), self._tile_of(self._stride)
        values = (frames, height, width, chunk, tile, item.fps.numerator, item.fps.denominator)
        return dict(zip(EXTENT, values, strict=True))

    def _boxes(self, grid: tuple[int, ...], extent: Mapping[str, int]) -> list[Box]:
        flat = tiles(grid[1:], extent["tile"])
        if not flat:
            return []
        steps = self._steps(extent["chunk"])
        times = [slice(at, min(at + steps, grid[0])) for at in range(0, grid[0], steps)]
        return [(time, *box) for time in times for box in flat]

    def _area(self, box: Box, chunk: int) -> Box:
        """Return the frames, rows and columns of a box, with those that are padding."""
        time, *flat = box
        start = time.start // self._steps(chunk) * chunk
        frames = slice(start, start + 1 + (time.stop - time.start - 1) * self._span)
        return frames, *scaled(tuple(flat), self._stride)

    def _pieces(self, item: Video) -> Iterable[Array]:
        extent = self._extent(item, 0)
        for box in self._boxes(self.expected_grid(extent, 0), extent):
            area = self._area(box, extent["chunk"])
            yield fitted(item.frames[area], *(each.stop - each.start for each in area))

    def _media(self, tokens: Tokens, found: list[Any]) -> Video:
        extent = tokens.extent
        pixels = np.zeros((*(extent[name] for name in EXTENT[:3]), 3), np.uint8)
        boxes = self._boxes(tokens.grid, extent)
        self._put(pixels, found, (self._area(box, extent["chunk"]) for box in boxes))
        return Video(pixels, Fraction(extent["fps_numerator"], extent["fps_denominator"]))
