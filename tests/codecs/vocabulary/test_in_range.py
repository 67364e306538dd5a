"""Whatever codes a language model writes between two marks, the codec decodes them."""

from __future__ import annotations

import numpy as np
import pytest

from omnicodec.codecs import (
    Audio,
    Image,
    InvalidInput,
    Tokens,
    Video,
    Vocabulary,
    available,
    describe,
    load,
)

SIZES: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "audio/rvq": ((4, 2), {"samples": 1300, "rate": 24000, "channels": 2}),
    "image/inr": ((493, 32), {"height": 9, "width": 7}),
    "image/rate": ((2, 3), {"height": 17, "width": 48, "quality": 50}),
    "image/vq": ((2, 3), {"height": 32, "width": 48}),
    "image/vq8": ((2, 3), {"height": 9, "width": 24}),
    "text/bpe": ((40,), {}),
    "text/bytes": ((40,), {}),
    "text/info": ((40,), {}),
    "video/inr": (
        (1, 64),
        {
            "frames": 2, "height": 8, "width": 12, "groups": 1, "fps_numerator": 25,
            "fps_denominator": 1,
        },
    ),
}  # fmt: skip
EXCEPTIONS = {"text/patch"}  # its ids depend on one another, which docs/vocabulary.md says


def anything(name: str, grid: tuple[int, ...], extent: dict[str, int], seed: int) -> Tokens:
    spec = describe(name)
    rng = np.random.default_rng(seed)
    n = int(np.prod(grid))
    rows = [rng.integers(0, size, n, np.int32) for size in spec.codebook_sizes]
    for row, size in zip(rows, spec.codebook_sizes, strict=True):
        row[:2] = 0, size - 1  # the first and the last id are seen for certain
    return Tokens(name, spec.fingerprint, np.stack(rows), grid, extent)


def test_every_codec_is_here() -> None:
    assert {*SIZES} | EXCEPTIONS == {*available()}


@pytest.mark.parametrize("name", sorted(SIZES))
def test_any_codes_of_a_grid_are_decoded(name: str) -> None:
    grid, extent = SIZES[name]
    codec = load(name, device="cpu")
    ours = Vocabulary.build(["text/bytes", name] if name != "text/bytes" else [name])
    for seed in range(2):
        written = anything(name, grid, extent, seed)
        [read] = ours.unpack(ours.pack([written]))
        assert read == written
        [media] = codec.decode([read])
        if isinstance(media, Image):
            assert (media.height, media.width) == (extent["height"], extent["width"])
        if isinstance(media, Audio):
            assert media.samples.shape == (extent["channels"], extent["samples"])
            assert np.isfinite(media.samples).all()
        if isinstance(media, Video):
            assert len(media.frames) == extent["frames"]


def test_where_ids_depend_on_one_another_the_error_has_the_position() -> None:
    """A spelled position of `text/patch` holds bytes, and nothing behind the last one."""
    name = "text/patch"
    codec = load(name)
    fine = anything(name, (6,), {}, 0)
    fine.ids[:] = 5
    codec.decode([fine])
    spoiled = anything(name, (6,), {}, 0)
    spoiled.ids[:] = 5
    spoiled.ids[0, 4] = 1024 + 65
    spoiled.ids[1, 4] = 300
    with pytest.raises(InvalidInput, match="token 300 at position 4 cannot stand in codebook 1"):
        codec.decode([spoiled])
