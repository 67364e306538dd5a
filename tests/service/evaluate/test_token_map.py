"""Tokens as pictures."""

from __future__ import annotations

import numpy as np

from omnicodec.codecs import Tokens
from omnicodec.service.evaluate.token_map import ABOUT_BITS, ABOUT_IDS, ABOUT_REAL, token_map

COVERS = {"height": 4.0, "width": 8.0}


def tokens(ids: object, grid: tuple[int, ...] = (2, 3), **extent: int) -> Tokens:
    extent = extent or {"height": 7, "width": 20}
    return Tokens("image/x", "00" * 8, np.array(ids, np.int32), grid, extent)


def test_each_token_covers_its_pixels_in_its_colour() -> None:
    drawn = token_map(tokens([[5, 6, 5, 7, 65535, 5]]), COVERS)
    assert drawn is not None
    image, about = drawn
    assert about == ABOUT_IDS
    assert image.pixels.shape == (7, 20, 3)
    assert (image.pixels[:4, :8] == image.pixels[0, 0]).all()
    assert (image.pixels[4:, 16:] == image.pixels[0, 0]).all()  # 5 again
    assert (image.pixels[:4, 16:] == image.pixels[0, 0]).all()
    colours = {tuple(c) for c in image.pixels.reshape(-1, 3)}
    assert len(colours) == 4


def test_of_several_codebooks_rare_ids_are_bright() -> None:
    drawn = token_map(tokens([[0, 0, 0, 0, 0, 9], [1, 1, 1, 1, 2, 2]]), COVERS)
    assert drawn is not None
    image, about = drawn
    assert about == ABOUT_BITS
    grey = image.pixels[[0, 0, 0, 5, 5, 5], [0, 8, 16, 0, 8, 16], 0]
    # -log2 of 5/6 or 1/6, and of 4/6 or 2/6.
    bits = -np.log2([5 / 6 * 4 / 6] * 4 + [5 / 6 * 2 / 6, 1 / 6 * 2 / 6])
    assert np.abs(grey - 255 * bits / bits.max()).max() <= 1


def test_no_map_of_what_is_no_picture() -> None:
    assert token_map(tokens([[1, 2]], (2,), samples=400), {"samples": 200}) is None
    assert token_map(tokens(np.zeros((1, 0)), (0, 0), height=0, width=0), COVERS) is None


def test_equal_tokens_without_any_bits() -> None:
    drawn = token_map(tokens([[3] * 6, [4] * 6]), COVERS)
    assert drawn is not None
    assert not drawn[0].pixels.any()


def test_every_token_of_16_bits_has_a_colour_of_its_own() -> None:
    ids = np.arange(1 << 16)[None]
    extent = {"height": 4 * 256, "width": 8 * 256}
    drawn = token_map(tokens(ids, (256, 256), **extent), COVERS)
    assert drawn is not None
    assert len(np.unique(drawn[0].pixels[::4, ::8].reshape(-1, 3), axis=0)) == 1 << 16


def test_of_real_values_the_first_three_are_the_colour() -> None:
    soft = np.array([[0, 5, -1, 9], [1, 5, 1, 9], [0.5, 5, 0, 9]] * 2, np.float16)
    extent = {"height": 7, "width": 20, "bits": 16}
    made = Tokens("image/x", "00" * 8, np.zeros((0, 6), np.int32), (2, 3), extent, soft)
    drawn = token_map(made, COVERS)
    assert drawn is not None
    image, about = drawn
    assert about == ABOUT_REAL
    assert image.pixels.shape == (7, 20, 3)
    assert image.pixels[0, [0, 8, 16]].tolist() == [[0, 0, 0], [255, 0, 255], [128, 0, 128]]
    one = Tokens("image/x", "00" * 8, made.ids, (2, 3), extent, soft[:, :1])
    grey = token_map(one, COVERS)
    assert grey is not None
    assert grey[0].pixels[0, [0, 8, 16]].tolist() == [[0] * 3, [255] * 3, [128] * 3]
