"""`image/inr`: sizes, streams, efforts, work that is watched, and hostile streams."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import (
    Cancelled,
    Image,
    InvalidInput,
    OmnicodecError,
    Progress,
    Tokens,
    Work,
    load,
)
from omnicodec.codecs.image import inr
from omnicodec.codecs.image._inr_format import front, grid_of, sides_of
from omnicodec.codecs.image._inr_prior import from_ids, to_ids
from omnicodec.codecs.prior import Span
from omnicodec.codecs.stream import read_tokens, write_tokens
from omnicodec.models.inr.pyramid import padded

GOLDEN = Path(__file__).parents[2] / "golden"
PIXELS = "75182f69b2c555512ec2579ed53f6fa72b890cdb6966bed86cd0a53c7af65dfa"

SIZES = (1830, 5490, 1812, 5096)


@pytest.fixture(scope="module")
def codec():
    return load("image/inr", device="cpu")


def picture(height: int, width: int, seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 30
    a = rng.uniform(-2, 2, (3, 3))
    waves = [np.sin(p * x + q * y + r) for p, q, r in a]
    return Image((np.stack(waves, -1) * 100 + 128 + rng.normal(0, 3, (height, width, 3)))
                 .clip(0, 255).astype(np.uint8))  # fmt: skip


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (65, 30), (100, 200), (0, 5), (7, 0)])
def test_any_size_comes_back(codec, size) -> None:
    item = picture(*size)
    (tokens,) = codec.encode([item], quality=60)
    back = read_tokens(write_tokens(tokens, codec), codec=codec).tokens
    np.testing.assert_array_equal(back.ids, tokens.ids)
    (decoded,) = codec.decode([back])
    assert decoded.pixels.shape == item.pixels.shape


def test_large_pictures_have_no_seams(codec, monkeypatch: pytest.MonkeyPatch) -> None:
    item = picture(200, 460)
    (tokens,) = codec.encode([item])
    (whole,) = codec.decode([tokens])
    monkeypatch.setattr(inr, "CORE", 1)
    (tiled,) = codec.decode([tokens])
    np.testing.assert_array_equal(whole.pixels, tiled.pixels)


def test_more_quality_more_bits(codec) -> None:
    item = picture(128, 192)
    sizes, errors = [], []
    for quality in (10, 50, 90):
        (tokens,) = codec.encode([item], quality=quality)
        (decoded,) = codec.decode([tokens])
        sizes.append(len(write_tokens(tokens, codec)))
        errors.append(np.square(decoded.pixels.astype(float) - item.pixels).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inr, "EFFORTS", {**inr.EFFORTS, "normal": 40})
    monkeypatch.setattr(inr, "SAVE_SECONDS", 0.0)


@pytest.mark.usefixtures("short")
def test_effort_lowers_the_cost_and_can_be_watched(codec) -> None:
    item, heard = picture(64, 128), list[Progress]()
    (fast,) = codec.encode([item], quality=50)
    (tokens,) = codec.encode([item], quality=50, effort="normal", work=Work(listen=heard.append))
    assert heard[-1].share == 1
    assert [p.step for p in heard] == [10, 20, 30, 40]
    assert heard[-1].preview().pixels.shape == item.pixels.shape

    def cost(which) -> float:
        (decoded,) = codec.decode([which])
        error = np.square(decoded.pixels / 255 - item.pixels / 255).mean()
        return len(write_tokens(which, codec)) * 8 / (64 * 128) + error / 0.001

    assert cost(tokens) < cost(fast)
    (enough,) = codec.encode(
        [item], quality=50, effort="normal", work=Work(enough=lambda p: p.step >= 20)
    )
    assert enough != tokens


@pytest.mark.usefixtures("short")
def test_cancelled_work_goes_on_where_it_was(codec, tmp_path: Path) -> None:
    item, file = picture(64, 64), tmp_path / "checkpoint"
    work = Work(checkpoint=file, listen=lambda p: work.cancel() if p.step == 20 else None)
    with pytest.raises(Cancelled):
        codec.encode([item], effort="normal", work=work)
    heard: list[Progress] = []
    codec.encode([item], effort="normal", work=Work(checkpoint=file, listen=heard.append))
    assert heard[0].step > 20
    heard.clear()
    other = Work(checkpoint=file, listen=heard.append)
    codec.encode([picture(64, 64, 1)], effort="normal", work=other)
    assert heard[0].step == 10, "a checkpoint of another picture"


@given(st.integers(1, 1500), st.integers(1, 1500))
def test_a_grid_tells_the_sides(height: int, width: int) -> None:
    assert sides_of(grid_of(height, width, SIZES), SIZES) == padded(height, width)


def test_grids_of_no_picture() -> None:
    for grid in ((3, 64), (900, 63), (900, 0), (0, 64), (5,), (221, 64)):
        with pytest.raises(InvalidInput):
            sides_of(grid, SIZES)


@given(st.lists(st.integers(-1023, 1023)))
def test_ids_are_in_zigzag_order(values) -> None:
    integers = np.array(values, np.int32)
    np.testing.assert_array_equal(from_ids(to_ids(integers)), integers)
    assert to_ids(integers).min(initial=0) >= 0


def test_hostile_chunks(codec, hostile_chunks) -> None:
    (tokens,) = codec.encode([picture(64, 64)])
    data = hostile_chunks(codec, tokens, (3, 7, 40))
    with pytest.raises(InvalidInput, match="whole"):
        codec.prior.decode(data, Span(tokens.grid, 0, 64))
    wrong = tokens.ids.copy()
    wrong[0, 1] = 2 * 10
    with pytest.raises(OmnicodecError):
        codec.prior.encode(wrong, Span(tokens.grid, 0, len(tokens)))


def test_any_tokens_in_range_decode(codec) -> None:
    (tokens,) = codec.encode([picture(70, 70)])
    ids = np.random.default_rng(0).integers(0, 2047, tokens.ids.shape).astype(np.int32)
    wild = type(tokens)(tokens.codec, tokens.fingerprint, ids, tokens.grid, tokens.extent)
    (decoded,) = codec.decode([wild])
    assert decoded.pixels.shape == (70, 70, 3)
    lost = np.ones(len(tokens), bool)
    codec.decode([tokens], missing=[lost])


def test_golden_stream_opens(codec) -> None:
    """Made by scripts/make_golden.py when the weights were last replaced: the same pixels, too."""
    stem = f"image-inr-{codec.spec.version}"
    contents = read_tokens((GOLDEN / f"{stem}.omc").read_bytes(), codec=codec)
    assert contents.tokens == Tokens.load(GOLDEN / f"{stem}.npz")
    (picture,) = codec.decode([contents.tokens])
    assert hashlib.sha256(picture.pixels.tobytes()).hexdigest() == PIXELS


def test_front_has_room_for_all(codec) -> None:
    assert front(codec.prior.sizes) == 9 + sum(codec.prior.sizes)
    assert front(()) == 9


def test_only_fits_take_minutes(codec) -> None:
    assert not codec.takes_minutes(codec.settings())
    assert codec.takes_minutes(codec.settings(effort="normal"))
