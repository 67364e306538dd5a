"""Shipped weights: fingerprints, sizes and model cards."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import available
from omnicodec.models import weights

MEGABYTE = 1_000_000


def test_fingerprint_hashes_values_not_layout() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    one = weights.fingerprint({"x": 1, "y": 2}, {"a": a, "b": a[0]})
    assert one == weights.fingerprint({"y": 2, "x": 1}, {"b": a[0], "a": np.asfortranarray(a)})
    assert one == weights.fingerprint({"x": 1, "y": 2}, {"a": a.astype(">f4"), "b": a[0]})
    assert len(one) == 16


@pytest.mark.parametrize(
    "other",
    [
        ({"x": 2, "y": 2}, {"a": np.zeros(3, np.float32)}),
        ({"x": 1, "y": 2}, {"b": np.zeros(3, np.float32)}),
        ({"x": 1, "y": 2}, {"a": np.zeros(3, np.float16)}),
        ({"x": 1, "y": 2}, {"a": np.zeros((3, 1), np.float32)}),
        ({"x": 1, "y": 2}, {"a": np.array([0, 0, 1], np.float32)}),
    ],
)
def test_fingerprint_sees_every_difference(other) -> None:
    same = weights.fingerprint({"x": 1, "y": 2}, {"a": np.zeros(3, np.float32)})
    assert weights.fingerprint(*other) != same


MATRICES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(16, 40)),
    elements=st.floats(-100, 100, width=32),
)


@given(MATRICES, st.integers(4, 8))
def test_they_are_off_by_half_a_step_of_the_row_at_most(matrix, bits: int) -> None:
    stored = weights.quantize_rows({"m": matrix}, bits=bits)
    assert stored["m"].dtype == np.int8
    largest = 2 ** (bits - 1) - 1
    assert np.abs(stored["m"]).max(initial=0) <= largest
    assert stored["m:scale"].shape == matrix.shape[:1]
    values = weights.dequantize(stored)["m"]
    step = np.abs(matrix).max(1, keepdims=True) / largest
    assert (np.abs(values - matrix) <= 0.501 * step + 1e-30).all()


@given(MATRICES, st.integers(4, 8))
def test_they_are_stable(matrix, bits: int) -> None:
    """What was read back is stored as the same integers: exporting twice costs nothing more."""
    stored = weights.quantize_rows({"m": matrix}, bits=bits)
    again = weights.quantize_rows(weights.dequantize(stored), bits=bits)
    np.testing.assert_array_equal(again["m"], stored["m"])


def test_8_bits_leave_the_rest_alone() -> None:
    tensors = {
        "wide": np.ones((2, 4, 4), np.float32),
        "kept": np.ones((2, 16), np.float32),
        "short": np.ones((100, 3), np.float32),
        "bias": np.ones(99, np.float32),
        "ids": np.arange(40, dtype=np.int32).reshape(2, 20),
    }
    stored = weights.quantize_rows(tensors, keep={"kept"})
    assert {k: v.dtype.name for k, v in stored.items()} == {
        "wide": "int8",
        "wide:scale": "float32",
        "kept": "float16",
        "short": "float16",
        "bias": "float16",
        "ids": "int32",
    }
    values = weights.dequantize(stored)
    assert {k: v.shape for k, v in values.items()} == {k: v.shape for k, v in tensors.items()}
    np.testing.assert_array_equal(values["wide"], tensors["wide"])


@pytest.mark.parametrize(
    "stored",
    [
        {"m:scale": np.ones(2, np.float32)},
        {"m": np.ones((2, 16), np.float32), "m:scale": np.ones(2, np.float32)},
        {"m": np.ones((2, 16), np.int8), "m:scale": np.ones(3, np.float32)},
    ],
)
def test_a_scale_without_its_tensor_is_refused(stored) -> None:
    with pytest.raises(ValueError, match="not the scale"):
        weights.dequantize(stored)


def test_what_is_not_finite_is_not_stored() -> None:
    with pytest.raises(ValueError, match="not finite"):
        weights.quantize_rows({"m": np.full((2, 16), np.nan, np.float32)})


@pytest.mark.parametrize("codec", available())
def test_each_codec_has_a_card_and_stays_small(codec: str) -> None:
    folder = weights.folder(codec)
    assert (folder / "card.md").read_text().startswith(f"# {codec}\n")
    assert sum(p.stat().st_size for p in folder.rglob("*")) < 25 * MEGABYTE


def test_all_weights_together() -> None:
    root = weights.folder("")
    assert sum(p.stat().st_size for p in root.rglob("*.safetensors*")) < 60 * MEGABYTE
