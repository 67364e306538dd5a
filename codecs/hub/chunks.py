"""Long clips in windows: how far convolutions see, and which frames run together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from omnicodec.codecs.hub.audio_codec import HubAudio, Samples
from omnicodec.codecs.hub.hub_codec import Array
from omnicodec.codecs.tokens import Tokens

if TYPE_CHECKING:
    import torch

WINDOW_SECONDS: Final = 10.0
"""What a window keeps: long enough that what it runs around that costs little."""

NARROW_SECONDS: Final = 1.0
"""The same where windows run side by side: most clips then have some, all of one shape."""


@dataclass(frozen=True)
class Reach:
    """How many frames before and behind a frame it depends on."""

    left: int
    right: int


@dataclass(frozen=True)
class Window:
    """Frames `start` to `stop` of a clip, which run together; `first` to `last` are kept."""

    start: int
    stop: int
    first: int
    last: int


def span(network: torch.nn.Module, first: int, last: int) -> tuple[int, int]:
    """Return the first and the last input on which outputs `first` to `last` may depend.

    `network` is one-dimensional convolutions in the order of its `modules()`, with what works
    sample by sample between them and sums around them. Padding counts as input: what it gives
    may be negative. No number is larger than need be, unless a kernel has gaps or zeros.
    """
    import torch

    kinds = torch.nn.Conv1d | torch.nn.ConvTranspose1d
    for layer in reversed([module for module in network.modules() if isinstance(module, kinds)]):
        stride, padding = layer.stride[0], int(layer.padding[0])
        wide = (layer.kernel_size[0] - 1) * layer.dilation[0]
        if isinstance(layer, torch.nn.Conv1d):
            first, last = first * stride - padding, last * stride - padding + wide
        else:
            first, last = -((wide - first - padding) // stride), (last + padding) // stride
    return first, last


def encoder_reach(network: torch.nn.Module, hop: int) -> Reach:
    """Return the reach of convolutions that make a frame of `hop` samples."""
    first, last = span(network, 0, 0)
    return Reach(max(0, -(first // hop)), max(0, last // hop))


def decoder_reach(network: torch.nn.Module, hop: int) -> Reach:
    """Return the reach of convolutions that make `hop` samples of a frame."""
    first, last = span(network, 0, hop - 1)
    return Reach(max(0, -first), max(0, last))


def windows(frames: int, length: int, reach: Reach) -> Iterator[Window]:
    """Yield windows of `length` frames, of which each frame of a clip is kept once, in order.

    A kept frame has all that it depends on in its window, or the clip ends there: so the ends of
    the clip, and they alone, are those that the network pads. A clip that is not longer is one
    window; for others `length` has to be more than the reach on both sides together.
    """
    kept = 0
    while kept < frames:
        start = max(0, min(kept - reach.left, frames - length))
        stop = min(start + length, frames)
        last = frames if stop == frames else stop - reach.right
        yield Window(start, stop, kept, last)
        kept = last


def even(frames: int, most: int, reach: Reach) -> int:
    """Return the least length of windows that are as few as those of `most` frames."""
    around = reach.left + reach.right
    count = max(1, -(-(frames - around) // (most - around)))
    return -(-(frames - around) // count) + around


class WindowedAudio(HubAudio):
    """Sound whose decoder is convolutions and nothing else: long clips are decoded in windows.

    What comes out is what the whole clip would give, but for the last bits of floats, which
    depend on the shapes that they are computed in. An adapter sets `_decoder_reach` in `_prepare`.
    """

    _decoder_reach: Reach

    def frames(self, samples: int) -> int:
        return self._columns(samples)

    def _windows(self, frames: int, reach: Reach) -> list[Window]:
        """Return the windows of a clip.

        A network that runs them one by one has the fewest; one that runs them side by side has
        windows of one length, whatever clip they are of.
        """
        seconds = WINDOW_SECONDS if self.width == 1 else NARROW_SECONDS
        length = window_frames(self._rate, self._hop, seconds) + reach.left + reach.right
        if self.width == 1:
            length = even(frames, length, reach)
        return list(windows(frames, length, reach))

    def _codes_of(self, tokens: Tokens, ids: Array, group: int) -> Iterator[Array]:
        (frames, groups), books = tokens.grid, tokens.extent["codebooks"]
        rows = ids[:books].reshape(books, frames, groups)[:, :, group]
        for window in self._windows(frames, self._decoder_reach):
            yield np.ascontiguousarray(rows[:, window.start : window.stop])

    def _join(self, segments: list[Samples], samples: int) -> Samples:
        out = np.zeros((self._channels, samples), np.float32)
        segments.reverse()  # each is let go when it has its place
        for window in self._windows(self.frames(samples), self._decoder_reach):
            own = segments.pop()[:, (window.first - window.start) * self._hop :]
            place = out[:, window.first * self._hop : window.last * self._hop]
            # The last may be longer than the clip, or end before its last frame does.
            place[:, : own.shape[1]] = own[:, : place.shape[1]]
        return out


def window_frames(rate: int, hop: int, seconds: float = WINDOW_SECONDS) -> int:
    """Return the frames that a window keeps."""
    return -int(-seconds * rate // hop)
