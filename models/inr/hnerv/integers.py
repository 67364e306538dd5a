"""Weights and embeddings as one row of integers, whose order follows from clip and quality.

    head          of each segment its fraction, and the class of its sizes, from 0 on
    embeddings    frame by frame, `(T, C, h, w)`
    weights       of each convolution `(outputs, inputs, k, k)`, then its biases

A number is its integer in units of `2**-fraction` of its segment. The class is that of the
distribution of Laplace that codes a segment's integers in the fewest bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.models.inr.arm_kernels import CLASSES
from omnicodec.models.inr.classes import class_of
from omnicodec.models.inr.hnerv.shape import Shape, parameters_for, shape_for

Ints = NDArray[np.int32]

LARGEST: Final = 1023
"""Integers of segments are cut to plus or minus this, whatever a stream says."""

FINEST: Final = 12
"""The largest fraction of embeddings and biases: that of the decoder's activations."""

FINEST_WEIGHT: Final = 20


@dataclass(frozen=True)
class Segment:
    """A part of the row: where it begins, its shape, and the largest fraction it may have."""

    name: str
    start: int
    shape: tuple[int, ...]
    finest: int

    @property
    def stop(self) -> int:
        return self.start + math.prod(self.shape)


@dataclass(frozen=True)
class Quantized:
    """A segment's integers, their fraction, and what they cost in the class that suits them."""

    values: Ints
    fraction: int
    which: int
    bits: float


def shape_of(extent: Mapping[str, int], quality: int) -> Shape:
    """Return the networks of a clip of `frames`, `height` and `width` at a quality, 0 to 100."""
    size = (extent["frames"], extent["height"], extent["width"])
    return shape_for(*size, parameters_for(*size, quality))


def layout(extent: Mapping[str, int], quality: int) -> list[Segment]:
    """Return the segments of a clip's row; before them is a head of two integers for each."""
    return segments_of(shape_of(extent, quality))


def row_size(segments: Sequence[Segment]) -> int:
    """Return how many integers a row has, with its head."""
    return segments[-1].stop


def classes(values: NDArray[Any], segments: Sequence[Segment]) -> list[int]:
    """Return the class of each segment, as the head of a row tells it, cut to those there are."""
    found = np.clip(values[1 : 2 * len(segments) : 2], 0, CLASSES - 1)
    return [int(which) for which in found]


def segments_of(shape: Shape) -> list[Segment]:
    """Return the segments of the row of these networks."""
    parts: list[tuple[str, tuple[int, ...], int]] = [
        ("embeddings", (shape.frames, *shape.embedding), FINEST)
    ]
    for k, (inputs, outputs, kernel, _) in enumerate(shape.layers()):
        parts.append((f"{k}.weight", (outputs, inputs, kernel, kernel), FINEST_WEIGHT))
        parts.append((f"{k}.bias", (outputs,), FINEST))
    segments: list[Segment] = []
    start = 2 * len(parts)
    for name, sides, finest in parts:
        segments.append(Segment(name, start, sides, finest))
        start = segments[-1].stop
    return segments


def quantized(numbers: NDArray[np.float64], finest: int, most: int) -> Quantized:
    """Return numbers in the smallest units that keep them within plus or minus `most`."""
    largest = max(float(np.abs(numbers).max()), 2.0**-30)
    fraction = min(max(math.floor(math.log2(most / largest)), 0), finest)
    steps = np.clip(np.round(numbers * 2.0**fraction), -most, most).astype(np.int32)
    which, bits = class_of(steps)
    return Quantized(steps, fraction, which, bits)


def pack(parts: Sequence[Quantized], segments: Sequence[Segment]) -> Ints:
    """Return the row of all segments."""
    values = np.zeros(row_size(segments), np.int32)
    for k, (part, segment) in enumerate(zip(parts, segments, strict=True)):
        values[2 * k : 2 * k + 2] = part.fraction, part.which
        values[segment.start : segment.stop] = part.values.reshape(-1)
    return values


def unpack(values: NDArray[Any], segments: Sequence[Segment]) -> dict[str, tuple[Ints, int]]:
    """Return each segment's integers in its shape, and their fraction; all cut to their ranges.

    Raises ValueError for a row of another size.
    """
    if values.shape != (row_size(segments),):
        raise ValueError(f"a row of {row_size(segments)} integers, not {values.shape}")
    found = {}
    for k, segment in enumerate(segments):
        part = np.clip(values[segment.start : segment.stop], -LARGEST, LARGEST)
        fraction = min(max(int(values[2 * k]), 0), segment.finest)
        found[segment.name] = part.astype(np.int32).reshape(segment.shape), fraction
    return found


def tensors_of(embeddings: Tensor, decoder: Mapping[str, Tensor]) -> list[NDArray[np.float64]]:
    """Return the numbers of all segments, in their order."""
    return [x.detach().cpu().double().numpy() for x in (embeddings, *decoder.values())]
