"""`image/rate`: any size at any quality, one picture at a time, no seams, hostile streams."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save_file

from omnicodec.codecs import (
    CorruptStream,
    FingerprintMismatch,
    Image,
    InvalidInput,
    LimitExceeded,
    Tokens,
    compress,
    decompress,
    load,
)
from omnicodec.codecs.image import rate
from omnicodec.codecs.stream import read_tokens, write_tokens
from omnicodec.models import weights
from omnicodec.models.image.rate import ImageRate, RateConfig
from omnicodec.models.image.rate_prior import RatePriorConfig

from .rate_tensors import rate_tensors

CODEC = load("image/rate", device="cpu")
SIZES = [(1, 1), (16, 16), (17, 15), (1, 300), (250, 3), (96, 128), (0, 0), (0, 7), (5, 0)]


def photo(height: int, width: int, seed: int = 0) -> Image:
    """Return smooth random shapes with an edge and some texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 48.0
    waves = [
        rng.uniform(0.2, 1) * np.sin(rng.uniform(-2, 2) * x + rng.uniform(-2, 2) * y + phase)
        for phase in rng.uniform(0, 6, 12)
    ]
    planes = np.stack([sum(waves[c * 4 : c * 4 + 4], np.zeros_like(x)) for c in range(3)], 2)
    planes += (x + 0.7 * y > 2)[..., None] * 0.8 + rng.normal(0, 0.05, planes.shape)
    return Image((planes * 45 + 120).clip(0, 255).astype(np.uint8))


def psnr(a: Image, b: Image) -> float:
    error = a.pixels.astype(np.float64) - b.pixels
    return float(10 * np.log10(255**2 / np.mean(error**2)))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_any_size_comes_back(height: int, width: int) -> None:
    picture = photo(height, width)
    (tokens,) = CODEC.encode([picture], quality=30)
    grid = -(-height // 16), -(-width // 16)
    assert tokens.grid == grid
    assert dict(tokens.extent) == {"height": height, "width": width, "quality": 30}
    assert tokens.ids.shape == (256, grid[0] * grid[1])
    (back,) = CODEC.decode([tokens])
    assert back.pixels.shape == picture.pixels.shape
    assert decompress(compress(picture, "image/rate", quality=30)) == back


def test_more_quality_is_more_bytes_and_less_error() -> None:
    picture = photo(192, 256)
    streams = [compress(picture, "image/rate", quality=q) for q in range(0, 101, 20)]
    sizes = [len(stream) for stream in streams]
    scores = [psnr(picture, decompress(stream)) for stream in streams]
    assert sizes == sorted(sizes)
    assert scores == sorted(scores)
    assert scores[0] > 24
    assert scores[-1] > 38
    assert sizes[0] < 0.15 * sizes[-1]
    default = rate.DEFAULT_QUALITY
    assert CODEC.encode([picture])[0].ids.tolist() == (
        CODEC.encode([picture], quality=default)[0].ids.tolist()
    )


def test_neighbouring_qualities_differ() -> None:
    """All of 0 to 100 are settings of their own, not steps between a few."""
    picture = photo(64, 64)
    errors = [
        psnr(picture, CODEC.decode(CODEC.encode([picture], quality=q))[0]) for q in range(40, 61)
    ]
    assert len(set(errors)) == len(errors)


def test_colours_do_not_shift() -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (255, 0, 0), (30, 200, 90), (10, 20, 220)):
        flat = Image(np.full((80, 96, 3), colour, np.uint8))
        (back,) = CODEC.decode(CODEC.encode([flat], quality=60))
        assert np.abs(back.pixels.astype(int) - flat.pixels).max() <= 6


def test_batches_and_threads_change_nothing() -> None:
    pictures = [photo(96, 128, 1), photo(31, 77, 2), photo(0, 4, 3), photo(128, 96, 4)]
    together = CODEC.encode(pictures, quality=45)
    alone = [CODEC.encode([picture], quality=45)[0] for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda p: CODEC.encode([p], quality=45)[0], pictures))
    for a, b, c in zip(together, alone, threaded, strict=True):
        assert np.array_equal(a.ids, b.ids)
        assert np.array_equal(a.ids, c.ids)
    assert CODEC.decode(together) == [CODEC.decode([t])[0] for t in alone]


def test_tiles_leave_no_seam() -> None:
    """A picture of several tiles decodes as if it were one, but for the last level."""
    side = (rate.CORE + 2 * rate.MARGIN + 8) * 16
    picture = photo(96, side)
    (tokens,) = CODEC.encode([picture], quality=40)
    (tiled,) = CODEC.decode([tokens])
    latents = rate.from_zigzag(tokens.ids).reshape(-1, *tokens.grid)
    whole = CODEC._render(latents, 40)[:96, :side]  # type: ignore[attr-defined]
    difference = np.abs(tiled.pixels.astype(int) - whole)
    assert difference.max() <= 3
    assert difference.mean() < 0.02


def test_effort_pays() -> None:
    """More effort gives a lower cost: fewer bits for the error, as the quality weighs them.

    Where there is much to gain: in a drawing, which the networks were not trained on.
    """
    y, x = np.mgrid[:96, :128]
    stripes = (x // 5 + y // 9) % 2 * 150
    disk = (x - 60) ** 2 + (y - 40) ** 2 < 900
    picture = Image(np.stack([stripes, x, np.where(disk, 220, 40)], 2).astype(np.uint8))
    fast, best = (
        CODEC.encode([picture], quality=60, effort=effort)[0] for effort in ("fast", "best")
    )
    assert not np.array_equal(fast.ids, best.ids)
    weight = 26 / float(RateConfig().step(torch.tensor(60.0))) ** 2

    def cost(tokens: Tokens) -> float:
        bits = 8 * len(write(tokens)) / (96 * 128)
        error = picture.pixels.astype(float) - CODEC.decode([tokens])[0].pixels
        return bits + weight * float(np.mean(error**2))

    assert cost(best) < cost(fast)


def write(tokens: Tokens) -> bytes:
    from omnicodec.codecs.prior import Span

    return CODEC.prior.encode(tokens.ids, Span(tokens.grid, 0, len(tokens)))


@given(
    arrays(
        np.int16, st.tuples(st.integers(0, 5), st.integers(0, 5)), elements=st.integers(-2047, 2047)
    )
)
def test_zigzag_has_an_inverse(latents: np.ndarray) -> None:
    ids = rate.zigzag(latents)
    assert ids.dtype == np.int32
    assert (ids >= 0).all()
    assert np.array_equal(rate.from_zigzag(ids), latents)
    assert rate.zigzag(np.array([0, 1, -1, 2, -2], np.int16)).tolist() == [0, 1, 2, 3, 4]


def test_lost_positions_are_filled_from_their_neighbours() -> None:
    picture = photo(256, 256)
    (tokens,) = CODEC.encode([picture], quality=40)
    rng = np.random.default_rng(0)
    lost = rng.random(len(tokens)) < 0.2
    whole = psnr(picture, CODEC.decode([tokens])[0])
    (filled,) = CODEC.decode([tokens], missing=[lost])
    zeroed = Tokens(
        tokens.codec, tokens.fingerprint, tokens.ids * ~lost, tokens.grid, tokens.extent
    )
    assert psnr(picture, filled) > psnr(picture, CODEC.decode([zeroed])[0]) + 3
    assert psnr(picture, filled) < whole
    nothing = CODEC.decode([tokens], missing=[np.ones(len(tokens), np.bool_)])[0]
    assert np.ptp(nothing.pixels) < 16, "nothing known is grey"
    with pytest.raises(InvalidInput, match="mask"):
        CODEC.decode([tokens], missing=[np.zeros(3, np.bool_)])
    with pytest.raises(InvalidInput, match="mask"):
        CODEC.decode([tokens], missing=[lost.astype(np.int8)])


def test_partial_streams_give_the_rest() -> None:
    picture = photo(16 * 48, 16 * 50)  # more positions than a chunk has
    stream = bytearray(compress(picture, "image/rate", quality=30))
    stream[len(stream) // 3] ^= 255
    with pytest.raises(CorruptStream):
        decompress(bytes(stream))
    contents = read_tokens(bytes(stream), codec=CODEC, partial=True)
    assert contents.missing is not None
    assert 0 < contents.missing.mean() < 1
    back = decompress(bytes(stream), partial=True)
    assert back.pixels.shape == picture.pixels.shape


def test_what_cannot_be_is_refused() -> None:
    for quality in (-1, 101):
        with pytest.raises(InvalidInput, match="quality"):
            CODEC.encode([photo(8, 8)], quality=quality)
    with pytest.raises(InvalidInput, match="effort"):
        CODEC.encode([photo(8, 8)], effort="heroic")
    good = CODEC.encode([photo(16, 32)])[0]

    def changed(**values: object) -> Tokens:
        parts = {
            "codec": good.codec, "fingerprint": good.fingerprint, "ids": good.ids,
            "grid": good.grid, "extent": good.extent,
        }  # fmt: skip
        return Tokens(**{**parts, **values})  # type: ignore[arg-type]

    extent = dict(good.extent)
    for wrong in ({"quality": 101}, {"quality": -1}, {"height": 40}, {"width": -2}):
        with pytest.raises(InvalidInput):
            CODEC.decode([changed(extent={**extent, **wrong})])
    with pytest.raises(LimitExceeded):
        CODEC.decode([changed(extent={**extent, "height": 1 << 20, "width": 1 << 20})])
    too_large = good.ids.copy()
    too_large[200, 1] = 1023
    with pytest.raises(InvalidInput, match="not in"):
        CODEC.decode([changed(ids=too_large)])
    with pytest.raises(FingerprintMismatch):
        CODEC.decode([changed(fingerprint="0" * 16)])


@pytest.fixture
def own_weights(tmp_path: Path) -> Path:
    """Return a folder of small untrained weights, as training exports them."""
    config = RateConfig(
        stem_channels=8, encoder_channels=16, encoder_blocks=1, decoder_channels=16,
        decoder_blocks=1, head_channels=8, head_blocks=1,
    )  # fmt: skip
    network = ImageRate(config)
    network.start(torch.arange(256), torch.ones(256))
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    save_file(weights.quantize_rows(tensors), tmp_path / "model.safetensors")
    named = {"codec": "image/rate", "version": 1, **config.to_dict()}
    (tmp_path / "config.json").write_text(json.dumps(named))
    save_file(rate_tensors(RatePriorConfig()), tmp_path / "prior.safetensors")
    return tmp_path


def test_ones_own_weights_are_opened_by_path(own_weights: Path) -> None:
    codec = load(own_weights, device="cpu")
    assert codec.spec.name == "image/rate"
    assert codec.spec.fingerprint != CODEC.spec.fingerprint
    picture = photo(40, 40)
    (tokens,) = codec.encode([picture], quality=80)
    stream = write_tokens(tokens, codec)
    assert codec.decode([read_tokens(stream, codec=codec).tokens])[0].pixels.shape == (40, 40, 3)
    with pytest.raises(FingerprintMismatch):
        decompress(stream)
    (own_weights / "prior.safetensors").unlink()
    with pytest.raises(InvalidInput, match="holds no image/rate"):
        load(own_weights, device="cpu")
