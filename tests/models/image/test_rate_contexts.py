"""What the prior of `image/rate` sees, against its definition in plain Python."""

from __future__ import annotations

from decimal import Decimal, getcontext

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.models.image.rate_contexts import (
    COMPANDED,
    FIRST,
    FIRST_INPUTS,
    PREDICTORS,
    QUALITIES,
    compand,
    compand_all,
    first_inputs,
    gather,
    group_inputs,
    positions_of,
    quality_inputs,
)

CHUNKS = st.tuples(st.integers(1, 6), st.integers(0, 7), st.integers(1, 14), st.integers(0, 99))


def latents(n: int, channels: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.round(rng.laplace(0, 60, (n, channels))).clip(-2047, 2047).astype(np.int16)


def companded(x: int) -> int:
    return int(COMPANDED[min(abs(x), 4095)]) * (1 if x >= 0 else -1)


def test_companding_is_rounded_logarithms() -> None:
    getcontext().prec = 40
    for a in (*range(300), 1000, 2047, 4095):
        exact = 16 * (Decimal(1 + a).ln() / Decimal(2).ln())
        assert COMPANDED[a] == min(127, int(exact + Decimal("0.5")))
    assert [compand(x) for x in (-5000, -3, 0, 3, 5000)] == [-127, -32, 0, 32, 127]


def test_qualities_are_hats() -> None:
    assert quality_inputs(0).tolist() == [64, 0, 0, 0, 0]
    assert quality_inputs(40).tolist() == [0, 26, 38, 0, 0]
    assert quality_inputs(100).tolist() == [0, 0, 0, 0, 64]
    assert all(abs(int(quality_inputs(q).sum()) - 64) <= 1 for q in range(101))


@given(CHUNKS)
def test_gather_is_its_definition(chunk: tuple[int, int, int, int]) -> None:
    width, start, n, seed = chunk
    known, stop = 8, 11
    y = latents(n, 13, seed)
    e = np.empty(y.shape, np.int8)
    compand_all(y, e)
    hint = quality_inputs(70)
    rows = np.random.default_rng(seed).permutation(n).astype(np.int64)
    out = np.full((n, group_inputs(known, stop - known)), 99, np.int8)
    gather(y, e, rows, start, width, known, stop, hint, out)
    for x, p in zip(out, rows, strict=True):
        row, column = divmod(start + int(p), width)
        parts, flags = [], []
        for up in (-1, 0, 1):
            for side in (-1, 0, 1):
                q = (row + up) * width + column + side - start
                inside = 0 <= column + side < width and 0 <= q < n
                flags.append(16 * inside)
                if not inside:
                    parts += [0] * stop
                    continue
                centre = up == side == 0
                first = [int(y[q, c]) - (0 if centre else int(y[p, c])) for c in range(FIRST)]
                own = (row + column) % 2 == 1 and (row + up + column + side) % 2 == 0
                parts += [companded(v) for v in first]
                parts += [companded(int(y[q, c])) for c in range(FIRST, known)]
                parts += [companded(int(y[q, c])) * own for c in range(known, stop)]
        expected = [*parts, *hint.tolist(), 16 * ((row + column) % 2), *flags]
        assert x.tolist() == expected + [0] * (x.size - len(expected))


@given(CHUNKS)
def test_first_inputs_are_their_definition(chunk: tuple[int, int, int, int]) -> None:
    width, start, n, seed = chunk
    y = latents(n, FIRST, seed)
    rng = np.random.default_rng(seed)
    coefficients = rng.integers(-3000, 3000, (PREDICTORS, FIRST)).astype(np.int32)
    means, out = np.empty((n, FIRST), np.int64), np.full((n, FIRST_INPUTS), 99, np.int32)
    first_inputs(y, start, width, coefficients, quality_inputs(25), means, out)
    for p in range(n):
        column = (start + p) % width

        def at(up: int, side: int, p: int = p, column: int = column) -> int | None:
            q = p + up * width + side
            return q if 0 <= column + side < width and q >= 0 else None

        west, corner, north, east = at(0, -1), at(-1, -1), at(-1, 0), at(-1, 1)
        north = next((q for q in (north, west, east) if q is not None), None)
        near = [north if q is None else q for q in (west, corner, north, east)]
        seen = [0 if q is None else int(v) for q in near for v in y[0 if q is None else q]]
        sums = [sum(s * int(k) for s, k in zip(seen, column_, strict=True))
                for column_ in coefficients.T]  # fmt: skip
        expected = [max(-16376, min(16376, (s + 256) >> 9)) for s in sums]
        assert means[p].tolist() == expected
        offsets = ((0, -1), (-1, -1), (-1, 0), (-1, 1), (0, -2), (-2, 0))
        places = [at(*offset) for offset in offsets]
        about = [(m + 4) >> 3 for m in expected]
        inputs = [
            0 if q is None else companded(int(y[q, c]) - about[c])
            for q in places
            for c in range(FIRST)
        ]
        flags = [0 if q is None else 16 for q in places]
        x = [*inputs, *quality_inputs(25).tolist(), *flags]
        assert out[p].tolist() == x + [0] * (FIRST_INPUTS - len(x))
    assert 6 * FIRST + QUALITIES + 6 <= FIRST_INPUTS


@given(CHUNKS)
def test_halves_are_a_checkerboard(chunk: tuple[int, int, int, int]) -> None:
    width, start, n, _ = chunk
    halves = []
    for half in (0, 1):
        positions = np.empty(n, np.int64)
        halves.append(positions[: positions_of(start, width, half, positions)])
        rows, columns = divmod(start + halves[-1], width)
        assert ((rows + columns) % 2 == half).all()
    assert sorted(np.concatenate(halves).tolist()) == list(range(n))
