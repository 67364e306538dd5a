"""Pixels as the libraries take and give them, written without the adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from omnicodec.codecs import Image


def padded(pixels: np.ndarray, *multiples: int) -> Any:
    """Return pixels `(..., 3)` as a float tensor `(1, 3, ...)`, 0..255.

    The last row, column and frame are repeated until each side is a multiple; of frames, one more
    than a multiple.
    """
    import torch

    multiples = multiples or (2, 2)
    sides = list(pixels.shape[:-1])
    if len(sides) == 3:
        sides[0] -= 1
    room = [(0, -side % by) for side, by in zip(sides, multiples, strict=True)]
    whole = np.moveaxis(np.pad(pixels, (*room, (0, 0)), "edge"), -1, 0)
    return torch.from_numpy(np.ascontiguousarray(whole))[None].float()


def scaled(pixels: np.ndarray, *multiples: int) -> Any:
    """Return the same in -1..1."""
    return padded(pixels, *multiples) / 127.5 - 1


def seen(sample: Any) -> np.ndarray:
    """Return pixels `(..., 3)` of the first item of what a library decoded, -1..1."""
    found: np.ndarray = ((sample[0] + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    return np.moveaxis(found, 0, -1)


def check_batches(codec: Any, picture: Callable[..., Image], *, decodes: bool = True) -> None:
    """Check that pictures of mixed sizes, one empty, give in a batch what each gives alone."""
    images = [picture(*size) for size in ((8, 6), (5, 7), (8, 6), (0, 4))]
    alone = [codec.encode([image])[0] for image in images]
    assert len({tokens.values.tobytes() for tokens in alone}) == 4
    assert codec.encode(images) == alone
    if decodes:
        back = codec.decode(alone)
        assert back == [codec.decode([tokens])[0] for tokens in alone]
        assert [each.pixels.shape for each in back] == [each.pixels.shape for each in images]
