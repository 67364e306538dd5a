"""How close the frames of a decoded video are to its original."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import InvalidInput, Video
from omnicodec.codecs.media.colour import Colours, FromRGB
from omnicodec.codecs.stream.chunks import ChunkReader
from omnicodec.service.evaluate.metrics import ms_ssim, psnr

_EXACT_DB = 100.0
"""What a frame without any error counts in a mean with others."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class FramePairs:
    """The frames of an original and those that came back, computed on when asked for."""

    original: Frames
    decoded: Frames

    @cached_property
    def psnr(self) -> tuple[float, ...]:
        """PSNR of each frame in dB, over 8-bit RGB."""
        return tuple(map(psnr, self.original, self.decoded))

    @cached_property
    def ms_ssim(self) -> tuple[float | None, ...]:
        """MS-SSIM of each frame, over RGB; None for small ones."""
        return tuple(map(ms_ssim, self.original, self.decoded))

    @cached_property
    def psnr_yuv(self) -> float:
        """PSNR in dB over all samples of all frames in 4:2:0, as FFmpeg's filter averages it.

        Frames are converted by the matrix that is usual at their size. Rounding to RGB on the
        way limits it to some 50 dB.
        """
        convert = FromRGB(import_module("av"), "yuv420p", Colours.unstated(self.original.shape[1]))
        error = count = 0
        for pair in zip(self.original, self.decoded, strict=True):
            first, second = (
                [np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width] for p in f.planes]
                for f in map(convert, pair)
            )
            for a, b in zip(first, second, strict=True):
                error += int(np.square(a.astype(np.int32) - b).sum())
                count += a.size
        return math.inf if not error else 10 * math.log10(255**2 * count / error)


def comparable(original: Video, decoded: Video) -> tuple[FramePairs, None]:
    """Return the frames of both; formats that need even sizes may have added rows or columns.

    Raises `InvalidInput` when not as many frames came back.
    """
    count, height, width = original.frames.shape[:3]
    if len(decoded.frames) != count:
        raise InvalidInput(f"of {count} frames {len(decoded.frames)} came back")
    return FramePairs(original.frames, decoded.frames[:, :height, :width]), None


def same_frames(original: Video, decoded: Video) -> bool:
    """Return whether all frames came back as they were; sound is not measured."""
    return np.array_equal(original.frames, decoded.frames)


def mean_psnr(pairs: FramePairs, _: None = None) -> float:
    """Return the mean over frames of their PSNR; infinity where all are exact."""
    if all(map(math.isinf, pairs.psnr)):
        return math.inf
    return fmean(min(value, _EXACT_DB) for value in pairs.psnr)


def mean_ms_ssim(pairs: FramePairs, _: None = None) -> float | None:
    """Return the mean over frames of their MS-SSIM."""
    values = [value for value in pairs.ms_ssim if value is not None]
    return fmean(values) if values else None


def whole_psnr_yuv(pairs: FramePairs, _: None = None) -> float:
    """Return the PSNR over all samples in 4:2:0."""
    return pairs.psnr_yuv


def series(pairs: FramePairs, _: None = None) -> Mapping[str, tuple[float | None, ...]]:
    """Return the figures of each frame by metric."""
    return {"psnr": pairs.psnr, "ms_ssim": pairs.ms_ssim}


def stream_bits(stream: bytes, frames: int) -> tuple[float, ...]:
    """Return the bits of each frame in an .omc stream.

    Those of a chunk are spread evenly over the share of the frames that its positions are of
    the whole; the header is not counted.
    """
    reader = ChunkReader(io.BytesIO(stream))
    chunks = [(reader.span(chunk), len(chunk.payload)) for chunk in reader]
    total = max((span.stop for span, _ in chunks), default=0)
    edges, sizes = [0.0], [0.0]
    for span, size in chunks:
        edges.append(span.stop * frames / total)
        sizes.append(sizes[-1] + 8 * size)
    until = np.interp(np.arange(frames + 1), edges, sizes)
    return tuple(np.diff(until).tolist())
