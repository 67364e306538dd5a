"""How large the networks are: it follows from the size of a clip and a quality."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

STRIDES: Final = (
    (5, 4, 4, 4, 3), (5, 4, 4, 3, 3), (5, 4, 4, 3, 2), (5, 4, 3, 3, 2), (5, 4, 4, 2, 2),
    (5, 4, 3, 2, 2), (4, 4, 3, 2, 2), (4, 3, 3, 2, 2), (5, 3, 2, 2, 2), (4, 3, 2, 2, 2),
    (5, 4, 2, 2), (4, 4, 2, 2), (4, 3, 2, 2), (4, 2, 2, 2), (4, 2, 2), (2, 2, 2), (2, 2),
)  # fmt: skip
"""What a decoder may enlarge embeddings by, block after block; by 960 down to 4 in all."""

SHORT_SIDES: Final = range(2, 5)
"""Embeddings whose shorter side has so many positions: in the paper 2, of 4."""

EMBEDDING: Final = 16
"""Channels of an embedding, unless that is more than `EMBEDDING_SHARE` of all parameters."""

EMBEDDING_SHARE: Final = 0.25

REDUCTION: Final = 1.2
"""What each block divides the channels by, down to `LEAST_WIDTH`."""

LEAST_WIDTH: Final = 12

WIDEST_KERNEL: Final = 5

DENSITY: Final = 1 / 576
"""Parameters for each pixel of a clip at quality 0; 20 more of quality are twice as many.

So 132 frames of 640x1280 have 0.75, 1.5 and 3 million at 40, 60 and 80, as in the paper.
"""

MOST_PARAMETERS: Final = 1 << 25


@dataclass(frozen=True)
class Shape:
    """A clip's size and its networks'.

    `embedding` is channels, height and width. `channels` are those that go into each block and,
    last, into the convolution that draws the pixels; `strides` and `kernels` are the blocks'.
    """

    frames: int
    height: int
    width: int
    embedding: tuple[int, int, int]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    kernels: tuple[int, ...]

    @property
    def padded(self) -> tuple[int, int]:
        """The sides that the decoder draws: multiples of the product of its strides."""
        scale = math.prod(self.strides)
        return self.embedding[1] * scale, self.embedding[2] * scale

    @property
    def parameters(self) -> int:
        """Embeddings of all frames, weights and biases."""
        weights = sum(outputs * (inputs * k * k + 1) for inputs, outputs, k, _ in self.layers())
        return self.frames * math.prod(self.embedding) + weights

    def layers(self) -> list[tuple[int, int, int, int]]:
        """Return inputs, outputs, kernel and stride of each convolution.

        First that of the embedding, then the blocks', then that which draws the pixels. The
        outputs of a stride `s` are `s * s` for each channel, which are shuffled into place.
        """
        blocks = [
            (self.channels[i], self.channels[i + 1] * s * s, k, s)
            for i, (s, k) in enumerate(zip(self.strides, self.kernels, strict=True))
        ]
        return [(self.embedding[0], self.channels[0], 1, 1), *blocks, (self.channels[-1], 3, 3, 1)]


def parameters_for(frames: int, height: int, width: int, quality: int) -> int:
    """Return how many parameters a clip should have at a quality, 0 to 100."""
    count = frames * height * width * DENSITY * 2 ** (quality / 20)
    return min(round(count), MOST_PARAMETERS)


def shape_for(frames: int, height: int, width: int, parameters: int) -> Shape:
    """Return the networks whose number of parameters is nearest to the one asked for.

    The smallest ones have a single channel, which small clips may have to be content with.
    Raises ValueError for a clip without pixels.
    """
    if min(frames, height, width) < 1:
        raise ValueError(f"a clip of {frames} frames of {width}x{height} has no pixels")
    strides = strides_for(height, width)
    scale = math.prod(strides)
    rows, columns = -(-height // scale), -(-width // scale)
    share = int(EMBEDDING_SHARE * parameters / (frames * rows * columns))
    embedding = (min(max(share, 1), EMBEDDING), rows, columns)
    kernels = tuple(min(2 * i + 1, WIDEST_KERNEL) for i in range(len(strides)))

    def shape(first: int) -> Shape:
        channels = [first]
        for _ in strides:
            last = channels[-1]
            channels.append(max(round(last / REDUCTION), min(last, LEAST_WIDTH)))
        return Shape(frames, height, width, embedding, tuple(channels), strides, kernels)

    # Parameters grow with the channels, so the nearest is one of two.
    low, high = 1, 2
    while shape(high).parameters < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if shape(middle).parameters < parameters else (low, middle)
    return min(shape(low), shape(high), key=lambda s: abs(s.parameters - parameters))


def strides_for(height: int, width: int) -> tuple[int, ...]:
    """Return the strides that need the least padding, of those with embeddings of a good size."""

    def side(strides: tuple[int, ...]) -> int:
        return -(-min(height, width) // math.prod(strides))

    def area(strides: tuple[int, ...]) -> int:
        scale = math.prod(strides)
        return -(-height // scale) * -(-width // scale) * scale * scale

    good = [strides for strides in STRIDES if side(strides) in SHORT_SIDES]
    if good:
        return min(good, key=area)
    return STRIDES[0] if side(STRIDES[0]) > 1 else STRIDES[-1]
