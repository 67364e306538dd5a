"""Tables of non-linear functions, as integers that are the same on every machine.

They are computed in decimal arithmetic (Python's `decimal` rounds `exp` and `ln` correctly by
specification), not with a C library's floats, and then travel with the weights.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from functools import wraps
from typing import Final, ParamSpec

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.exact.fixed import MAX_FRACTION, limits

P = ParamSpec("P")

_CONTEXT: Final = decimal.Context(prec=40, Emin=-999999999, Emax=999999999)
_PI: Final = Decimal("3.14159265358979323846264338327950288419716939937511")


def _sigmoid(x: Decimal) -> Decimal:
    return 1 / (1 + (-x).exp())


def _gelu(x: Decimal) -> Decimal:
    """The form with tanh (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
    return x * _sigmoid((8 / _PI).sqrt() * (x + Decimal("0.044715") * x**3))


FUNCTIONS: Final[dict[str, Callable[[Decimal], Decimal]]] = {
    "gelu": _gelu,
    "relu": lambda x: max(x, Decimal(0)),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "tanh": lambda x: 2 * _sigmoid(2 * x) - 1,
}
"""Non-linearities by name, over decimal numbers."""


def _in_decimal(build: Callable[P, list[int]]) -> Callable[P, NDArray[np.int64]]:
    """Compute a table with 40 digits, once."""
    known: dict[tuple[object, ...], NDArray[np.int64]] = {}

    @wraps(build)
    def table(*args: P.args, **kwargs: P.kwargs) -> NDArray[np.int64]:
        key = (args, *sorted(kwargs.items()))
        if key in known:
            return known[key]
        with decimal.localcontext(_CONTEXT):
            values = np.array(build(*args, **kwargs), np.int64)
        values.setflags(write=False)
        known[key] = values
        return values

    return table


def _round(x: Decimal) -> int:
    """Nearest integer, ties up: the rounding of `requantize`."""
    return int((x + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


@_in_decimal
def activation_table(function: str, fraction_in: int, fraction_out: int, bits: int) -> list[int]:
    """Return a function of `FUNCTIONS` over all 256 int8 inputs, int64 `(256,)`.

    Entry `q + 128` is the rounded, saturated value at `q / 2**fraction_in`, in units of
    `2**-fraction_out`.
    """
    if function not in FUNCTIONS:
        raise ValueError(f"no function {function!r}; there are {', '.join(FUNCTIONS)}")
    if not (0 <= fraction_in <= MAX_FRACTION and 0 <= fraction_out <= MAX_FRACTION):
        raise ValueError(f"fractions are in 0...{MAX_FRACTION}")
    low, high = limits(bits)
    f = FUNCTIONS[function]
    values = (_round(f(Decimal(q) / 2**fraction_in) * 2**fraction_out) for q in range(-128, 128))
    return [min(max(v, low), high) for v in values]


@_in_decimal
def exp_table(step: int, count: int, bits: int) -> list[int]:
    """Return `2**bits * exp(-i * step / 256)` for `i` below `count`, rounded."""
    return [_round((Decimal(-i * step) / 256).exp() * 2**bits) for i in range(count)]


@_in_decimal
def softplus_table(count: int, bits: int) -> list[int]:
    """Return `2**bits * ln(1 + exp(-i / 256))` for `i` below `count`, rounded."""
    return [_round((1 + (Decimal(-i) / 256).exp()).ln() * 2**bits) for i in range(count)]
