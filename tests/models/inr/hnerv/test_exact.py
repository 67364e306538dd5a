"""The decoder in integers: Python's integers, floats, threads and bad rows as judges."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch

from omnicodec.models.inr.hnerv import exact
from omnicodec.models.inr.hnerv.exact import FRACTION, MOST, TABLE, gelu_tail, pixel_table, render
from omnicodec.models.inr.hnerv.integers import (
    LARGEST,
    Quantized,
    Segment,
    layout,
    pack,
    row_size,
    shape_of,
    unpack,
)
from omnicodec.models.inr.hnerv.network import Decoder

EXTENT = {"frames": 3, "height": 30, "width": 41}
QUALITY = 160
"""Beyond what streams have, so that a small clip has a few channels."""


def random_row(segments: list[Segment], seed: int) -> np.ndarray:
    """Return a row whose activations neither die nor grow, made of integers alone."""
    rng = np.random.default_rng(seed)
    parts = []
    for s in segments:
        inputs = math.prod(s.shape[1:]) if s.name.endswith("weight") else 1
        fraction = 5 + (inputs.bit_length() + 1) // 2 if inputs > 1 else 6
        values = rng.integers(-127, 128, s.shape, np.int32)
        parts.append(Quantized(values, fraction, 0, 0.0))
    return pack(parts, segments)


def half_even(x: int, shift: int) -> int:
    whole, rest = x >> shift, x & ((1 << shift) - 1)
    half = 1 << (shift - 1) if shift else 1
    return whole + (rest > half or (rest == half and whole & 1))


def by_definition(values: np.ndarray, frame: int) -> np.ndarray:
    """Return what `render` should, in Python's integers of any size."""
    shape = shape_of(EXTENT, QUALITY)
    parts = unpack(values, layout(EXTENT, QUALITY))
    embeddings, fraction = parts["embeddings"]
    x = embeddings[frame].astype(object) * (1 << FRACTION - fraction)
    layers = shape.layers()
    for n, (inputs, outputs, k, s) in enumerate(layers):
        weight, fraction = parts[f"{n}.weight"]
        bias, bias_fraction = parts[f"{n}.bias"]
        height, width = x.shape[1:]
        wide = np.pad(x, ((0, 0), (k // 2,) * 2, (k // 2,) * 2))
        sums = np.zeros((outputs, height, width), object)
        sums += bias.astype(object)[:, None, None] * (1 << FRACTION + fraction - bias_fraction)
        for i in range(k):
            for j in range(k):
                part = wide[:, i : i + height, j : j + width].reshape(inputs, -1)
                tap = weight[:, :, i, j].astype(object) @ part
                sums += tap.reshape(outputs, height, width)
        if n == len(layers) - 1:
            low = np.vectorize(lambda v, f=fraction: min(max(half_even(v, f), -TABLE), TABLE))
            drawn = pixel_table()[low(sums).astype(np.int64) + TABLE]
            return drawn[:, : shape.height, : shape.width].transpose(1, 2, 0)
        tail = gelu_tail()

        def gelu(v: int, f: int = fraction, tail: np.ndarray = tail) -> int:
            y = min(max(half_even(v, f), -MOST), MOST)
            return max(y, 0) + int(tail[min(abs(y), TABLE)])

        y = np.vectorize(gelu, otypes=[object])(sums).reshape(-1, s, s, height, width)
        x = y.transpose(0, 3, 1, 4, 2).reshape(-1, height * s, width * s)
    raise AssertionError


def test_it_is_what_the_integers_say() -> None:
    values = random_row(layout(EXTENT, QUALITY), 0)
    drawn = render(values, EXTENT, QUALITY, range(1, 2))
    assert drawn.shape == (1, 30, 41, 3)
    assert drawn.std() > 10
    np.testing.assert_array_equal(drawn[0], by_definition(values, 1))


def test_it_is_nearly_what_floats_say() -> None:
    values = random_row(layout(EXTENT, QUALITY), 2)
    numbers = [
        torch.from_numpy(v * 2.0**-f).float()
        for v, f in unpack(values, layout(EXTENT, QUALITY)).values()
    ]
    decoder = Decoder(shape_of(EXTENT, QUALITY))
    decoder.load_state_dict(dict(zip(decoder.state_dict(), numbers[1:], strict=True)))
    with torch.inference_mode():
        floats = (decoder(numbers[0]) * 255).round()[:, :, :30, :41].permute(0, 2, 3, 1).numpy()
    drawn = render(values, EXTENT, QUALITY, range(3))
    assert np.abs(drawn - floats).max() <= 1
    assert (drawn != floats).mean() < 0.05


def test_a_known_clip_has_not_changed() -> None:
    drawn = render(random_row(layout(EXTENT, QUALITY), 3), EXTENT, QUALITY, range(3))
    assert hashlib.sha256(drawn.tobytes()).hexdigest()[:16] == "ae08a2007c1e2da6"


def test_threads_bands_and_ranges_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = random_row(layout(EXTENT, QUALITY), 4)
    whole = render(values, EXTENT, QUALITY, range(3))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        np.testing.assert_array_equal(render(values, EXTENT, QUALITY, range(3)), whole)
    finally:
        torch.set_num_threads(threads)
    for frame in range(3):
        one = render(values, EXTENT, QUALITY, range(frame, frame + 1))
        np.testing.assert_array_equal(one[0], whole[frame])
    backwards = render(values, EXTENT, QUALITY, range(2, -1, -2))
    np.testing.assert_array_equal(backwards, whole[[2, 0]])
    monkeypatch.setattr(exact, "_BAND", 1)
    np.testing.assert_array_equal(render(values, EXTENT, QUALITY, range(1)), whole[:1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_draws_the_same() -> None:
    values = random_row(layout(EXTENT, QUALITY), 5)
    there = render(values, EXTENT, QUALITY, range(3), "cuda")
    np.testing.assert_array_equal(there, render(values, EXTENT, QUALITY, range(3)))


@pytest.mark.parametrize(
    "size", [(1, 1, 1), (2, 1, 300), (1, 33, 47), (3, 130, 65), (1, 4, 4), (1, 200, 9)]
)
def test_any_size(size: tuple[int, int, int]) -> None:
    extent = dict(zip(("frames", "height", "width"), size, strict=True))
    values = random_row(layout(extent, 60), 6)
    assert render(values, extent, 60, range(size[0])).shape == (*size, 3)
    assert render(values, extent, 60, range(0)).shape == (0, *size[1:], 3)


@pytest.mark.parametrize("kind", ["least", "greatest", "noise", "loudest"])
def test_bad_integers_are_cut(kind: str) -> None:
    segments = layout(EXTENT, 60)
    rng = np.random.default_rng(7)
    ends = np.iinfo(np.int32)
    values = {
        "least": np.full(row_size(segments), ends.min, np.int32),
        "greatest": np.full(row_size(segments), ends.max, np.int32),
        "noise": rng.integers(ends.min, ends.max, row_size(segments), np.int32),
        "loudest": np.full(row_size(segments), LARGEST, np.int32),
    }[kind]
    if kind == "loudest":
        values[: 2 * len(segments)] = 0
    drawn = render(values, EXTENT, 60, range(3))
    assert drawn.shape == (3, 30, 41, 3)
    cut = values.clip(-LARGEST, LARGEST)
    np.testing.assert_array_equal(drawn, render(cut, EXTENT, 60, range(3)))
    np.testing.assert_array_equal(drawn[::-1], render(values, EXTENT, 60, range(2, -1, -1)))


def test_sums_stay_exact_at_their_largest() -> None:
    products = (1 << 14) * (max(MOST, LARGEST << FRACTION) * LARGEST)
    assert products + (LARGEST << FRACTION + 20) < 1 << 53


@pytest.mark.parametrize("frames", [range(3, 4), range(-1, 1), range(0, 9)])
def test_frames_that_there_are_not(frames: range) -> None:
    values = random_row(layout(EXTENT, 60), 8)
    with pytest.raises(ValueError, match="3 frames"):
        render(values, EXTENT, 60, frames)


def test_tables_are_the_functions() -> None:
    x = -torch.arange(TABLE + 1, dtype=torch.float64) / (1 << FRACTION)
    gelu = torch.nn.functional.gelu(x, approximate="tanh") * (1 << FRACTION)
    assert np.abs(gelu_tail() - gelu.numpy()).max() <= 0.5 + 1e-6
    x = np.arange(-TABLE, TABLE + 1) / (1 << FRACTION)
    assert np.abs(pixel_table() - 255 * (np.tanh(x) + 1) / 2).max() <= 0.5 + 1e-9
    assert pixel_table()[[0, TABLE, -1]].tolist() == [0, 128, 255]
