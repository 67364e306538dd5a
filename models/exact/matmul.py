"""Products of int8 matrices with int32 sums, on the fastest path that is exact.

An integer product has one right answer, but not every routine gives it. What was found:

* `torch._int_mm`, where oneDNN computes it without VNNI instructions, adds pairs of products
  in 16 bits with saturation: large inputs give wrong sums (pytorch issue 136746; newer
  versions look whether the CPU has VNNI, but not whether oneDNN was told to use less). It is
  also wrong for matrices with one inner column. So it is used on x86 CPUs only where there is
  VNNI, and everywhere only where a probe with extreme inputs agrees, and always with inner and
  outer sizes padded to multiples of 8.
* float32 is exact while every partial sum stays below 2**24, in any order of summation, also
  where the hardware rounds the inputs to bfloat16 or TF32 (both hold every int8). So the
  inner dimension is cut into blocks of 1024, whose results are added as integers.
* float64 is exact for every size allowed here.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from omnicodec.models.exact.fixed import MAX_INPUTS

Backend = Literal["int_mm", "float32", "float64", "integer"]
"""Ways to compute the same product; "integer" works on CPUs only, and is slow."""

BACKENDS: Final[tuple[Backend, ...]] = get_args(Backend)

_BLOCK: Final = 1024  # 1024 * 127 * 128 < 2**24
_chosen: ContextVar[Backend | None] = ContextVar("int8_matmul_backend", default=None)


def int8_matmul(x: Tensor, weight: Tensor, backend: Backend | None = None) -> Tensor:
    """Return `x @ weight.T` exactly: int8 `(M, K)` and `(N, K)` to int32 `(M, N)`.

    `K` is at most 65,536 and weights are in -127...127, so that no sum overflows. The backend
    is chosen by device unless given here or by `use_backend`; it never changes the result.
    """
    if x.dtype != torch.int8 or weight.dtype != torch.int8:
        raise TypeError(f"int8 matrices are multiplied, not {x.dtype} and {weight.dtype}")
    if x.shape[1] != weight.shape[1] or x.shape[1] > MAX_INPUTS:
        raise ValueError(f"{tuple(x.shape)} and {tuple(weight.shape)} do not multiply")
    if 0 in (*x.shape, weight.shape[0]):
        return x.new_zeros((x.shape[0], weight.shape[0]), dtype=torch.int32)
    backend = backend or _chosen.get() or default_backend(x.device.type)
    if backend == "int_mm":
        return _int_mm(x, weight)
    if backend == "float32":
        total = torch.zeros(x.shape[0], weight.shape[0], dtype=torch.int32, device=x.device)
        for a, b in zip(x.split(_BLOCK, 1), weight.split(_BLOCK, 1), strict=True):
            total += (a.float() @ b.float().t()).to(torch.int32)
        return total
    if backend == "float64":
        return (x.double() @ weight.double().t()).to(torch.int32)
    if backend == "integer":
        return x.to(torch.int32) @ weight.to(torch.int32).t()
    raise ValueError(f"no backend {backend!r}; there are {', '.join(BACKENDS)}")


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Compute all products inside the block with this backend, as tests do to compare them."""
    token = _chosen.set(backend)
    try:
        yield
    finally:
        _chosen.reset(token)


@cache
def default_backend(device_type: str) -> Backend:
    """Return the fastest backend that is exact on this machine's device of that type."""
    if device_type == "cpu":
        return "int_mm" if _sums_in_32_bits() and _probe(device_type) else "float32"
    if device_type == "cuda":
        return "int_mm" if _probe(device_type) else "float32"
    return "float32"


def _sums_in_32_bits() -> bool:
    if platform.machine().lower() not in {"x86_64", "amd64", "i386", "i686", "x86"}:
        return True
    has_vnni = getattr(torch.cpu, "_is_vnni_supported", None)  # private, so it may go
    return has_vnni is not None and bool(has_vnni())


def _int_mm(x: Tensor, weight: Tensor) -> Tensor:
    rows, (outputs, inputs) = x.shape[0], weight.shape
    # CUDA takes more than 16 rows, and sizes that are multiples of 8.
    fill = max(0, 17 - rows) if x.is_cuda else 0
    if fill or inputs % 8:
        x = F.pad(x, (0, -inputs % 8, 0, fill))
    if inputs % 8 or outputs % 8:
        weight = F.pad(weight, (0, -inputs % 8, 0, -outputs % 8))
    product: Tensor = torch._int_mm(x.contiguous(), weight.contiguous().t())
    return product[:rows, :outputs]


def _probe(device_type: str) -> bool:
    """Whether `_int_mm` works and is exact for extreme and for mixed inputs."""
    for rows, inputs, outputs in ((1, 8, 8), (3, 64, 40), (33, 250, 100), (70, 1024, 256)):
        k = torch.arange(inputs)
        mixed = (torch.arange(outputs)[:, None] * 89 + k * 57) % 255 - 127
        for x_row, w in (
            (torch.full((inputs,), 127), torch.full((outputs, inputs), 127)),
            (torch.full((inputs,), -128), torch.full((outputs, inputs), -127)),
            (torch.where(k % 3 > 0, 127, -128), mixed),
        ):
            x = x_row.expand(rows, inputs).to(torch.int8)
            w = w.to(torch.int8)
            expected = int8_matmul(x, w, "float64")
            try:
                got = int8_matmul(x.to(device_type), w.to(device_type), "int_mm").cpu()
            except (RuntimeError, NotImplementedError):
                return False
            if not torch.equal(got, expected):
                return False
    return True
