"""`video/inr`: sizes, streams, groups, both methods, work that is watched, hostile streams."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image as Pillow
import pytest

from omnicodec.codecs import Cancelled, CorruptStream, InvalidInput, Progress, Video, Work, load
from omnicodec.codecs.image._inr_prior import from_ids, to_ids
from omnicodec.codecs.prior import Span
from omnicodec.codecs.stream import read_tokens, write_tokens
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.video import _inr_fit, _inr_format
from omnicodec.codecs.video._inr_format import groups_of, pack, unpack
from omnicodec.models.inr.fit import PictureFit
from omnicodec.models.inr.frames import Key
from omnicodec.models.inr.order import order

GOLDEN = Path(__file__).parents[2] / "golden"
PIXELS = "04c49dcd780ae603aad905f31ad08ef64b767ad6039c5e991469bddb493c6b42"


@pytest.fixture(scope="module")
def codec():
    return load("video/inr", device="cpu")


def clip(count: int, height: int, width: int, seed: int = 0) -> Video:
    """Return a texture that moves by 1.5 pixels a frame, with a block that jumps about."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(float)
    frames = []
    for n in range(count):
        at = x + 1.5 * n
        planes = [np.sin(at / 5 + k) * 60 + np.cos(y / (4 + k)) * 50 + 128 for k in range(3)]
        frame = np.stack(planes, 2)
        top, left = rng.integers(0, max(1, height - 8)), rng.integers(0, max(1, width - 8))
        frame[top : top + 8, left : left + 8] = rng.integers(0, 256, 3)
        frames.append(frame.clip(0, 255))
    return Video(np.array(frames).reshape(count, height, width, 3).astype(np.uint8), 25)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(one.astype(float) - other).mean()))


@pytest.mark.parametrize(
    "size", [(1, 40, 50), (2, 17, 33), (11, 48, 64), (3, 1, 1), (0, 16, 16), (4, 0, 5)]
)
def test_any_size_comes_back(codec, size) -> None:
    item = clip(*size)
    (tokens,) = codec.encode([item], quality=60)
    back = read_tokens(write_tokens(tokens, codec), codec=codec).tokens
    np.testing.assert_array_equal(back.ids, tokens.ids)
    (decoded,) = codec.decode([back])
    assert decoded.frames.shape == item.frames.shape
    assert decoded.fps == item.fps
    if min(size) > 10:
        assert psnr(decoded.frames, item.frames) > 26


def test_more_quality_more_bits(codec) -> None:
    item = clip(9, 64, 80)
    sizes, levels = [], []
    for quality in (10, 45, 80):
        (tokens,) = codec.encode([item], quality=quality)
        sizes.append(len(write_tokens(tokens, codec)))
        levels.append(psnr(codec.decode([tokens])[0].frames, item.frames))
    assert sizes == sorted(sizes)
    assert levels == sorted(levels)


def test_what_stands_still_costs_nearly_nothing(codec) -> None:
    still = Video(clip(1, 64, 80).frames.repeat(12, 0), 25)
    (one,) = codec.encode([Video(still.frames[:1], 25)])
    (tokens,) = codec.encode([still])
    more = len(write_tokens(tokens, codec)) - len(write_tokens(one, codec))
    assert more < 11 * 60


@pytest.fixture
def short_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_inr_fit, _inr_format):
        monkeypatch.setattr(module, "LONGEST", 5)


@pytest.mark.usefixtures("short_groups")
def test_groups_are_independent_chunks(codec) -> None:
    item = clip(12, 48, 64)
    (tokens,) = codec.encode([item])
    assert tokens.grid[0] == tokens.extent["groups"] == 3
    (whole,) = codec.decode([tokens])
    stream = bytearray(write_tokens(tokens, codec))
    stream[len(stream) // 2] ^= 0x40
    with pytest.raises(CorruptStream):
        read_tokens(bytes(stream), codec=codec)
    contents = read_tokens(bytes(stream), codec=codec, partial=True)
    (partial,) = codec.decode([contents.tokens], missing=[contents.missing])
    same = (partial.frames == whole.frames).all((1, 2, 3))
    assert same[:4].all()
    assert same[8:].all()
    assert not same[4:8].all()
    assert (partial.frames[4:8] == whole.frames[3]).all(), "the frame before it is shown"


@pytest.mark.usefixtures("short_groups")
def test_a_range_of_frames(codec) -> None:
    (tokens,) = codec.encode([clip(12, 48, 64)])
    (whole,) = codec.decode([tokens])
    for frames in (range(0, 1), range(2, 3), range(3, 9), range(11, 12), range(12)):
        part = codec.decode_frames(tokens, frames)
        np.testing.assert_array_equal(part.frames, whole.frames[frames.start : frames.stop])


@pytest.fixture
def quick_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inr_fit, "KEY_STEPS", {"fast": 0, "normal": 24})


@pytest.mark.usefixtures("quick_fits", "short_groups")
def test_networks_of_key_frames_begin_with_the_last_ones(
    codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = []

    class Fit(PictureFit):
        def __init__(self, *arguments: Any, begin: Any) -> None:
            begins.append(list(begin))
            super().__init__(*arguments, begin=begin)

    monkeypatch.setattr(_inr_fit, "PictureFit", Fit)
    # Stripes of a pixel or two in pure colours: nothing that the shared networks expect.
    y, x = np.mgrid[:96, :128]
    waves = [[np.sin((x + n) / 3), np.sin(y / 4), np.sin((x + y) / 5)] for n in range(7)]
    item = Video(255 * (np.moveaxis(np.array(waves), 1, 3) > 0).astype(np.uint8), 25)
    (tokens,) = codec.encode([item], quality=60, effort="normal")
    rows = from_ids(tokens.ids.reshape(tokens.grid))
    updates = []
    for row, group in zip(rows, groups_of(7, 2), strict=True):
        frames = unpack(row, len(group), 96, 128, codec.prior.sizes)
        assert isinstance(frames[0], Key)
        updates.append(frames[0].updates)
        packed = pack(frames, 96, 128)
        np.testing.assert_array_equal(packed, row[: packed.size])
    assert any(updates[0])
    assert any(updates[1])
    assert begins[0] == []
    for found, coded in zip(begins[1], updates[0], strict=True):
        assert (found is None) == (coded is None)
        if found:
            np.testing.assert_array_equal(found.values, coded.values)
    stream = write_tokens(tokens, codec)
    back = read_tokens(stream, codec=codec).tokens
    np.testing.assert_array_equal(back.ids, tokens.ids)
    (decoded,) = codec.decode([back])
    plain = [replace(frames[0], updates=()), *frames[1:]]
    ids = tokens.ids.reshape(tokens.grid).copy()
    row = to_ids(pack(plain, 96, 128))
    ids[1], ids[1, : row.size] = 0, row
    other = Tokens(tokens.codec, tokens.fingerprint, ids.reshape(1, -1), tokens.grid, tokens.extent)
    (without,) = codec.decode([other])
    assert psnr(decoded.frames[3:], item.frames[3:]) > psnr(without.frames[3:], item.frames[3:]) + 1
    stream = write_tokens(other, codec)
    np.testing.assert_array_equal(read_tokens(stream, codec=codec).tokens.ids, other.ids)


def test_a_scene_begins_with_a_key_frame(codec) -> None:
    colours = np.random.default_rng(5).integers(0, 256, (9, 13, 3)).astype(np.uint8)
    other = np.asarray(Pillow.fromarray(colours).resize((160, 96), Pillow.Resampling.BICUBIC))
    scenes = [clip(11, 96, 160).frames, np.stack([np.roll(other, n, 1) for n in range(9)])]
    item = Video(np.concatenate(scenes), 25)
    (tokens,) = codec.encode([item], quality=50)
    frames = unpack(from_ids(tokens.ids[0]), 20, 96, 160, codec.prior.sizes)
    keys = [s.frame for s, f in zip(order(20), frames, strict=True) if isinstance(f, Key)]
    assert keys == [0, 16], "the first anchor of the other scene"
    (decoded,) = codec.decode([read_tokens(write_tokens(tokens, codec), codec=codec).tokens])
    assert min(map(psnr, decoded.frames, item.frames)) > 25
    (tokens,) = codec.encode([clip(20, 96, 160)], quality=50)
    frames = unpack(from_ids(tokens.ids[0]), 20, 96, 160, codec.prior.sizes)
    assert sum(isinstance(frame, Key) for frame in frames) == 1


def test_groups_cover_all_frames() -> None:
    for frames in (1, 5, 144, 145, 1000):
        groups = groups_of(frames, -(-frames // 144))
        assert [n for group in groups for n in group] == list(range(frames))
        assert max(map(len, groups)) - min(map(len, groups)) <= 1


def test_a_network_as_the_reference(codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inr_fit, "HNERV_EPOCHS", {"fast": 2})
    item, heard = clip(4, 40, 56), list[Progress]()
    (tokens,) = codec.encode([item], method="hnerv", quality=0, work=Work(listen=heard.append))
    assert heard[-1].share == 1
    stream = write_tokens(tokens, codec)
    back = read_tokens(stream, codec=codec).tokens
    np.testing.assert_array_equal(back.ids, tokens.ids)
    (decoded,) = codec.decode([back])
    assert decoded.frames.shape == item.frames.shape
    part = codec.decode_frames(tokens, range(1, 3))
    np.testing.assert_array_equal(part.frames, decoded.frames[1:3])
    for cut in (10, len(stream) // 2, len(stream) - 4):
        with pytest.raises(CorruptStream):
            read_tokens(stream[:cut], codec=codec)


def test_cancelled_work_goes_on_where_it_was(codec, tmp_path: Path) -> None:
    item, file = clip(10, 48, 64), tmp_path / "checkpoint"
    (expected,) = codec.encode([item])
    work = Work(checkpoint=file, listen=lambda p: work.cancel() if p.step == 6 else None)
    with pytest.raises(Cancelled):
        codec.encode([item], work=work)
    heard: list[Progress] = []
    (tokens,) = codec.encode([item], work=Work(checkpoint=file, listen=heard.append))
    assert heard[0].step > 6
    np.testing.assert_array_equal(tokens.ids, expected.ids)
    preview = heard[-1].preview
    assert preview is not None
    assert preview().pixels.shape == (48, 64, 3)


def test_rows_are_frames_and_back(codec) -> None:
    (tokens,) = codec.encode([clip(6, 40, 40)])
    row = from_ids(tokens.ids[0])
    frames = unpack(row, 6, 40, 40, codec.prior.sizes)
    np.testing.assert_array_equal(pack(frames, 40, 40), row)


def test_any_tokens_in_range_decode(codec) -> None:
    (tokens,) = codec.encode([clip(6, 40, 40)])
    rng = np.random.default_rng(0)
    for most in (2, 40, 2047):
        ids = rng.integers(0, most, tokens.ids.shape).astype(np.int32)
        for first in (0, 2):
            ids[0, 0] = first
            wild = Tokens(tokens.codec, tokens.fingerprint, ids, tokens.grid, tokens.extent)
            assert codec.decode([wild])[0].frames.shape == (6, 40, 40, 3)
    lost = np.ones(len(tokens), bool)
    assert not codec.decode([tokens], missing=[lost])[0].frames.any()


def test_hostile_chunks(codec, hostile_chunks) -> None:
    (tokens,) = codec.encode([clip(4, 40, 40)])
    prior, span = codec.prior, Span(tokens.grid, 0, len(tokens))
    data = hostile_chunks(codec, tokens, (5, 30))
    with pytest.raises(CorruptStream):
        prior.decode(b"\xc0" + data[1:], span)
    wrong = tokens.ids.copy()
    wrong[0, 1] = 0  # frames
    with pytest.raises(InvalidInput):
        prior.encode(wrong, span)


def test_golden_stream_opens(codec) -> None:
    """Made by scripts/make_golden.py when the weights were last replaced: the same pixels, too."""
    stem = f"video-inr-{codec.spec.version}"
    contents = read_tokens((GOLDEN / f"{stem}.omc").read_bytes(), codec=codec)
    assert contents.tokens == Tokens.load(GOLDEN / f"{stem}.npz")
    (video,) = codec.decode([contents.tokens])
    assert hashlib.sha256(video.frames.tobytes()).hexdigest() == PIXELS


def test_extents_of_no_video(codec) -> None:
    (tokens,) = codec.encode([clip(4, 40, 40)])
    for change in ({"groups": 0}, {"groups": 5}, {"fps_denominator": 0}, {"frames": -1}):
        with pytest.raises(InvalidInput):
            codec.expected_grid({**tokens.extent, **change}, len(tokens))
