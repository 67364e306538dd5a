"""Tables: right to the last unit, and pinned."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
import pytest

from omnicodec.models.exact import FUNCTIONS, activation_table
from omnicodec.models.exact.tables import exp_table, softplus_table

FLOATS: dict[str, Callable[[float], float]] = {
    "gelu": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("fraction_in", "fraction_out", "bits"), [(4, 5, 8), (0, 15, 16), (7, 7, 8)]
)
def test_tables_are_the_rounded_functions(
    function: str, fraction_in: int, fraction_out: int, bits: int
) -> None:
    table = activation_table(function, fraction_in, fraction_out, bits)
    high = 2 ** (bits - 1) - 1
    for q, entry in zip(range(-128, 128), table, strict=True):
        value = FLOATS[function](q / 2**fraction_in) * 2**fraction_out
        # Within half a unit, but for what the comparison's own floats lose.
        assert abs(entry - min(max(value, -high - 1), high)) <= 0.5 + 1e-9


def test_tables_never_change() -> None:
    digest = hashlib.sha256()
    for function in sorted(FUNCTIONS):
        for fraction_in, fraction_out, bits in ((4, 15, 16), (3, 4, 8), (15, 0, 8)):
            table = activation_table(function, fraction_in, fraction_out, bits)
            digest.update(table.astype("<i8").tobytes())
    for table in (exp_table(1, 256, 30), exp_table(256, 17, 30), softplus_table(2400, 12)):
        digest.update(table.astype("<i8").tobytes())
    assert digest.hexdigest() == "9e21aca0d2a109f5843ad3f83fd0369ddb5d5bc4530a5a88665eb662886e6668"


def test_logarithms_and_exponentials() -> None:
    i = np.arange(2400)
    assert np.abs(softplus_table(2400, 12) - 4096 * np.log1p(np.exp(-i / 256))).max() < 0.501
    assert np.abs(exp_table(1, 256, 30) - 2**30 * np.exp(-np.arange(256) / 256)).max() < 0.501
    assert softplus_table(2400, 12)[-1] == 0


def test_tables_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        activation_table("relu", 4, 4, 8)[0] = 1


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="no function 'swish'"):
        activation_table("swish", 4, 4, 8)
    with pytest.raises(ValueError, match="fractions"):
        activation_table("relu", 16, 4, 8)
    with pytest.raises(ValueError, match="bits"):
        activation_table("relu", 4, 4, 9)
