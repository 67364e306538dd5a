"""Every backend gives the one right product, and none is trusted untested."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.models.exact import BACKENDS, default_backend, int8_matmul, matmul, use_backend
from omnicodec.models.exact.matmul import Backend

# Where `_int_mm` is inexact, it is not among what this machine may use.
USABLE = [b for b in BACKENDS if b != "int_mm" or default_backend("cpu") == "int_mm"]


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 70), st.integers(1, 300), st.integers(1, 70),
    st.sampled_from(["random", "least", "greatest", "mixed"]), st.integers(0, 2**31),
)  # fmt: skip
def test_backends_agree(rows: int, inputs: int, outputs: int, kind: str, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(-128, 128, (rows, inputs), generator=random)
    w = torch.randint(-127, 128, (outputs, inputs), generator=random)
    if kind == "least":
        x, w = torch.full_like(x, -128), torch.full_like(w, -127)
    elif kind == "greatest":
        x, w = torch.full_like(x, 127), torch.full_like(w, 127)
    elif kind == "mixed":
        x, w = torch.where(x > 0, 127, -128), torch.where(w > 0, 127, -127)
    expected = (x[:, None, :] * w[None]).sum(-1)  # in 64 bits
    for backend in USABLE:
        got = int8_matmul(x.to(torch.int8), w.to(torch.int8), backend)
        assert got.dtype == torch.int32
        assert torch.equal(got.long(), expected), backend


@pytest.mark.parametrize("backend", USABLE)
def test_longest_sums_are_exact(backend: Backend) -> None:
    x = torch.full((2, 1 << 16), -128, dtype=torch.int8)
    w = torch.full((3, 1 << 16), -127, dtype=torch.int8)
    assert int8_matmul(x, w, backend).eq(128 * 127 << 16).all()


@pytest.mark.parametrize("backend", USABLE)
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(0, 8, 8), (3, 0, 4), (3, 8, 0)])
def test_empty_products(backend: Backend, rows: int, inputs: int, outputs: int) -> None:
    x = torch.ones(rows, inputs, dtype=torch.int8)
    got = int8_matmul(x, torch.ones(outputs, inputs, dtype=torch.int8), backend)
    assert got.dtype == torch.int32
    assert got.tolist() == [[0] * outputs] * rows


def test_what_does_not_multiply_is_refused() -> None:
    eight = torch.zeros(2, 4, dtype=torch.int8)
    with pytest.raises(TypeError, match="int8"):
        int8_matmul(eight.short(), eight)
    with pytest.raises(ValueError, match="do not multiply"):
        int8_matmul(eight, eight[:, :3])
    long = torch.zeros(1, (1 << 16) + 1, dtype=torch.int8)
    with pytest.raises(ValueError, match="do not multiply"):
        int8_matmul(long, long)


def test_a_saturating_product_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def saturating(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Add pairs of u8 x s8 products in 16 bits, as CPUs without VNNI do."""
        shifted = x.int()[:, None] + 128
        pairs = (shifted * w.t().int()[None]).unflatten(-1, (-1, 2)).sum(-1)
        sums = pairs.clamp(-32768, 32767).sum(-1, dtype=torch.int32)
        return sums - 128 * w.t().int().sum(-1, dtype=torch.int32)

    assert matmul._probe("cpu") == (default_backend("cpu") == "int_mm")
    monkeypatch.setattr(torch, "_int_mm", saturating)
    small = torch.ones(4, 8, dtype=torch.int8)
    assert torch.equal(int8_matmul(small, small, "int_mm"), int8_matmul(small, small, "float64"))
    assert not matmul._probe("cpu")


def test_use_backend_holds_inside_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    eight = torch.ones(2, 8, dtype=torch.int8)
    with use_backend("float64"):
        monkeypatch.setattr(torch, "_int_mm", None)
        assert int8_matmul(eight, eight).tolist() == [[8, 8], [8, 8]]
    with pytest.raises(ValueError, match="no backend"):
        int8_matmul(eight, eight, "float8")  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_products_are_exact() -> None:
    random = torch.Generator().manual_seed(3)
    for rows, inputs, outputs in ((1, 5, 3), (17, 64, 64), (64, 1031, 257)):
        x = torch.randint(-128, 128, (rows, inputs), generator=random).to(torch.int8)
        w = torch.randint(-127, 128, (outputs, inputs), generator=random).to(torch.int8)
        expected = int8_matmul(x, w, "float64")
        for backend in ("int_mm", "float32", "float64"):
            assert torch.equal(int8_matmul(x.cuda(), w.cuda(), backend).cpu(), expected)
