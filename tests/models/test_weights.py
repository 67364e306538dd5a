"""Shipped weights: fingerprints, sizes and model cards."""

from __future__ import annotations

import numpy as np
import pytest

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


@pytest.mark.parametrize("codec", available())
def test_each_codec_has_a_card_and_stays_small(codec: str) -> None:
    folder = weights.folder(codec)
    assert (folder / "card.md").read_text().startswith(f"# {codec}\n")
    assert sum(p.stat().st_size for p in folder.rglob("*")) < 25 * MEGABYTE


def test_all_weights_together() -> None:
    root = weights.folder("")
    assert sum(p.stat().st_size for p in root.rglob("*.safetensors*")) < 60 * MEGABYTE
