"""Tokens of a picture drawn as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import Image, Tokens

ABOUT_IDS = "each token in a colour of its own, by the digits of its id"
ABOUT_REAL = "the first three real values of each token as red, green and blue"
ABOUT_BITS = "brighter where tokens hold more bits, counted by how rare they are in this picture"


def token_map(tokens: Tokens, covers: Mapping[str, float]) -> tuple[Image, str] | None:
    """Return the tokens of a picture, drawn where they lie, and what the colours mean.

    One codebook is drawn by token id. Of several, the bits of each position are: the sum of
    -log2 of how often each of its ids occurs in that codebook's row. Of real values the first
    three are. `covers` has the "height" and "width" of a position in pixels. None for other
    tokens, and for none.
    """
    sides = ("height", "width")
    flat = len(tokens.grid) == 2 and all(s in covers and s in tokens.extent for s in sides)
    if not tokens.values.size or not flat:
        return None
    if tokens.soft is not None:
        cells, about = _levels(tokens.soft), ABOUT_REAL
    elif len(tokens.ids) == 1:
        cells, about = _colours(tokens.ids[0]), ABOUT_IDS
    else:
        cells, about = _brightness(_bits(tokens.ids)), ABOUT_BITS
    y, x = (np.arange(tokens.extent[side]) // int(covers[side]) for side in sides)
    pixels = cells.reshape(*tokens.grid, 3)[y[:, None], x]
    return Image(np.ascontiguousarray(pixels)), about


def _levels(soft: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return a colour for each position of real values `(N, D)`: each from its least to most."""
    shown = soft[:, [0, 1, 2] if soft.shape[1] > 2 else [0, 0, 0]].astype(np.float64)
    least, most = shown.min(0), shown.max(0)
    levels: NDArray[np.uint8] = np.rint(
        255 * (shown - least) / np.maximum(most - least, 1e-9)
    ).astype(np.uint8)
    return levels


def _colours(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return a colour for each id, a different one for each of the first 2^18.

    The three low digits of the id in base 8 are red, green and blue, the next three refine
    them: of FSQ with 8 levels these digits are its channels, so that like colours mean like
    tokens.
    """
    digits = [(ids >> 3 * place) & 7 for place in range(6)]
    mixed = [8 * digits[n] + digits[n + 3] for n in range(3)]
    return (np.stack(mixed, -1) * 255 // 63).astype(np.uint8)


def _bits(ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the bits of each position of ids `(K, N)`, by each row's own frequencies."""
    bits = np.zeros(ids.shape[1])
    for row in ids:
        _, which, counts = np.unique(row, return_inverse=True, return_counts=True)
        bits -= np.log2(counts / row.size)[which]
    return bits


def _brightness(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return grey from black, 0, to white, the largest."""
    scaled = 255 * values / max(float(values.max()), 1e-9)
    return np.repeat(scaled.round().astype(np.uint8)[:, None], 3, 1)
