"""Figures and tables as text."""

from __future__ import annotations

import math

import pytest

from omnicodec.service.evaluate.table import markdown, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (math.inf, "exact"),
        (0, "0"),
        (0.000123456, "0.000123"),
        (1.2345, "1.23"),
        (12.345, "12.3"),
        (123.45, "123"),
        (12345.6, "12,346"),
        (-12.345, "-12.3"),
    ],
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_numbers_of_fixed_decimals() -> None:
    assert number(0.05461, 4) == "0.0546"


def test_tables_are_aligned_and_escaped() -> None:
    table = markdown(["name", "n"], [["a|b", "1"], ["c", "1000"]])
    assert table.splitlines() == [
        "| name |    n |",
        "| :--- | ---: |",
        "| a\\|b |    1 |",
        "| c    | 1000 |",
    ]
