"""rANS with tables: exact round trips, the expected size, and hostile bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import CorruptStream
from omnicodec.codecs.prior import rans
from omnicodec.codecs.prior.static import quantize_counts
from omnicodec.models.kernels import kernel

SHIFTS = np.array([0, 0, 1, 4, 10])


def make_frequencies() -> np.ndarray:
    """Tables that fall off on both sides of the fraction, faster in the first classes."""
    found = np.zeros((len(SHIFTS), rans.FRACTIONS, rans.SYMBOLS), np.int64)
    for k in range(len(SHIFTS)):
        for f in range(rans.FRACTIONS):
            away = np.abs(8 * (np.arange(rans.SYMBOLS) - 16) - (f - 4)) // (4 * k + 1)
            found[k, f] = quantize_counts((1 << 24) >> np.minimum(away, 24).astype(np.int64))
    return found


FREQUENCIES = make_frequencies()
TABLES = rans.distributions(FREQUENCIES, SHIFTS)
LIMIT = 2047

TRIPLES = st.lists(
    st.tuples(
        st.integers(0, len(SHIFTS) - 1),
        st.integers(-8 * LIMIT, 8 * LIMIT),
        st.integers(-LIMIT, LIMIT) | st.integers(-20, 20).map(lambda r: (r, "from the mean")),
    ),
    max_size=60,
)


@kernel
def put_all(codes, tables, scale, mean, values):
    at = 0
    for i in range(values.size):
        at = rans.put(codes, at, tables, scale[i], mean[i], values[i])
    return at


@kernel
def take_all(words, state, tables, scale, mean, values):
    x, at = state[0], state[1]
    for i in range(values.size):
        x, at, values[i] = rans.take(x, at, words, tables, scale[i], mean[i])
    state[0], state[1] = x, at


def encode(scale: np.ndarray, mean: np.ndarray, values: np.ndarray) -> bytes:
    codes = rans.Codes()
    for part in np.array_split(np.arange(values.size), 3):  # as a prior does, pass by pass
        room = codes.room(part.size)
        codes.add(room, put_all(room, TABLES, scale[part], mean[part], values[part]))
    return codes.finish()


def decode(data: bytes, scale: np.ndarray, mean: np.ndarray) -> np.ndarray:
    source = rans.Source(data)
    values = np.zeros(scale.size, np.int64)
    take_all(source.words, source.state, TABLES, scale, mean, values)
    source.close()
    return values


def columns(triples: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = [
        (k, m, np.clip((m >> 3) + v[0], -LIMIT, LIMIT) if isinstance(v, tuple) else v)
        for k, m, v in triples
    ]
    scale, mean, values = np.array(rows, np.int64).reshape(-1, 3).T.copy()
    return scale, mean, values


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scale = rng.integers(0, len(SHIFTS), n)
    mean = rng.integers(-80, 80, n)
    spread = np.array([0.4, 0.7, 3, 30, 900])[scale]
    values = np.round(mean / 8 + rng.laplace(0, spread)).clip(-LIMIT, LIMIT).astype(np.int64)
    return scale, mean, values


@given(TRIPLES)
def test_decode_inverts_encode(triples: list) -> None:
    scale, mean, values = columns(triples)
    assert np.array_equal(decode(encode(scale, mean, values), scale, mean), values)


def test_size_is_the_information() -> None:
    scale, mean, values = draw(20_000, 0)
    near = scale < 2  # no escapes and no raw bits: the tables alone
    scale, mean, values = scale[near], mean[near], values[near]
    middle = (mean + 4) >> 3
    symbols = values - middle + 16
    p = FREQUENCIES[scale, mean - 8 * middle + 4, symbols] / rans.TOTAL
    ideal = -np.log2(p).sum()
    assert ideal < 8 * len(encode(scale, mean, values)) < 1.0005 * ideal + 48


def test_bytes_are_golden() -> None:
    n = np.arange(24, dtype=np.int64)
    mean = n * 37 % 160 - 80
    assert encode(n % 5, mean, mean // 8 + n * n % 7 - 3 + 900 * (n == 20)).hex() == GOLDEN


@settings(max_examples=200)
@given(st.binary(max_size=40), st.integers(0, 9))
def test_any_bytes_decode_or_are_refused(data: bytes, seed: int) -> None:
    scale, mean, _ = draw(30, seed)
    try:
        values = decode(data, scale, mean)
    except CorruptStream:
        return
    assert (np.abs(values) < 1 << 18).all()


@pytest.mark.parametrize("damage", ["cut", "longer", "cut in a word", "flipped", "empty"])
def test_damage_is_noticed(damage: str) -> None:
    scale, mean, values = draw(500, 2)
    data = encode(scale, mean, values)
    broken = {
        "cut": data[:-2],
        "longer": data + b"\0\0",
        "cut in a word": data[:-1],
        "flipped": data[:9] + bytes([data[9] ^ 1]) + data[10:],
        "empty": b"",
    }[damage]
    with pytest.raises(CorruptStream):
        decode(broken, scale, mean)


def test_tables_that_are_none_are_refused() -> None:
    wrong = FREQUENCIES.copy()
    wrong[0, 0, :2] += [1, -2]
    with pytest.raises(ValueError, match="add up"):
        rans.distributions(wrong, SHIFTS)
    with pytest.raises(ValueError, match="add up"):
        rans.distributions(FREQUENCIES - 1, SHIFTS)
    with pytest.raises(ValueError, match="shape"):
        rans.distributions(FREQUENCIES[:, :, 1:], SHIFTS)
    with pytest.raises(ValueError, match="shifts are"):
        rans.distributions(FREQUENCIES, SHIFTS + 1)


GOLDEN = "0d00184d04620510eeaefe36e3b7003f940f0052e7358dfffff4a8e23b"
