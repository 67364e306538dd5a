"""Tokens of a picture drawn as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import Image, Tokens

ABOUT_IDS = "each token in a colour of its own, by the digits of its id"
ABOUT_BITS = "brighter where tokens hold more bits, counted by how rare they are in this picture"


def token_map(tokens: Tokens, covers: Mapping[str, float]) -> tuple[Image, str] | None:
    """Return the tokens of a picture, drawn where they lie, and what the colours mean.

    One codebook is drawn by token id. Of several, the bits of each position are: the sum of
    -log2 of how often each of its ids occurs in that codebook's row. `covers` has the
    "height" and "width" of a position in pixels. None for other tokens, and for none.
    """
    sides = ("height", "width")
    flat = len(tokens.grid) == 2 and all(s in covers and s in tokens.extent for s in sides)
    if not tokens.ids.size or not flat:
        return None
    one = len(tokens.ids) == 1
    cells = _colours(tokens.ids[0]) if one else _brightness(_bits(tokens.ids))
    y, x = (np.arange(tokens.extent[side]) // int(covers[side]) for side in sides)
    pixels = cells.reshape(*tokens.grid, 3)[y[:, None], x]
    return Image(np.ascontiguousarray(pixels)), ABOUT_IDS if one else ABOUT_BITS


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
