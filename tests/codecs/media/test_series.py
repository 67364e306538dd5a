"""Series: gaps are kept, files never run code, and sizes are checked before allocation."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput, LimitExceeded
from omnicodec.codecs.media import Series
from omnicodec.codecs.media import series as series_module

FLOATS = st.floats(width=32, allow_infinity=False)  # with NaN
VALUES = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(0, 20)), elements=FLOATS)


def npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=allow_pickle)
    return out.getvalue()


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def header(shape: str, descr: str = "'<f4'") -> bytes:
    """Return an .npy file with this header and 16 bytes of data."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(16)


def same(series: Series, values: Any, rate: float = 1.0) -> bool:
    return series == Series(np.array(values, np.float32), rate)


@given(VALUES, st.floats(1e-6, 1e9))
@settings(deadline=None, max_examples=50)
def test_npz_is_exact(values: NDArray[np.float32], rate: float) -> None:
    series = Series(values, rate)
    back = Series.open(series.to_bytes(".npz"))
    assert back == series
    assert back.rate == rate


@given(VALUES)
@settings(deadline=None, max_examples=50)
def test_npy_keeps_the_values_and_csv_too(values: NDArray[np.float32]) -> None:
    assert Series.open(Series(values, 5).to_bytes(".npy")) == Series(values, 1)
    if values.shape[1]:
        assert Series.open(Series(values, 5).to_bytes(".csv")) == Series(values, 1)


def test_npz_is_the_default_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    series = Series(np.zeros((2, 3), np.float32), 100)
    series.save(tmp_path / "a.NPZ")
    assert (tmp_path / "a.NPZ").read_bytes() == series.to_bytes() == series.to_bytes(".npz")
    assert Series.open(tmp_path / "a.NPZ") == series


def test_csv_is_read_but_its_suffix_belongs_to_text() -> None:
    assert Series.suffixes == (".npz", ".npy")


# Files that others wrote.


@pytest.mark.parametrize("kind", ["<f8", ">f4", "<f2", "<i2", ">i8", "|u1", "|b1"])
def test_other_types_are_rounded_to_float32(kind: str) -> None:
    assert same(Series.open(npy(np.array([[0, 1], [1, 0]], kind))), [[0, 1], [1, 0]])


def test_one_dimension_is_one_channel() -> None:
    assert same(Series.open(npy(np.arange(3.0))), [[0, 1, 2]])
    assert same(Series.open(npz(values=np.arange(3), rate=50)), [[0, 1, 2]], 50)


def test_columns_first_in_memory_is_not_channels_first() -> None:
    values = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert same(Series.open(npy(values)), [[0, 1, 2], [3, 4, 5]])


def test_npz_without_a_rate_and_compressed() -> None:
    out = io.BytesIO()
    np.savez_compressed(out, values=np.zeros((2, 1000), np.float32))
    assert same(Series.open(out.getvalue()), np.zeros((2, 1000)))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2\n3,4\n", [[1, 3], [2, 4]]),
        ("1,2\r\n3,4", [[1, 3], [2, 4]]),
        ("time,volts\n1,2\n", [[1], [2]]),
        ('"a, b",c\n1,2\n', [[1], [2]]),
        ("\ufeffx\n1\n2\n", [[1, 2]]),
        ("a,b\n1,\n,nan\n", [[1, np.nan], [np.nan, np.nan]]),
        (",\n1,2\n", [[np.nan, 1], [np.nan, 2]]),
        (" 1 , -2e3 \n", [[1], [-2000]]),
        ("1\n\n2\n\n", [[1, 2]]),
    ],
    ids=["plain", "crlf", "names", "quoted", "mark", "gaps", "gaps first", "blanks", "empty lines"],
)
def test_csv(text: str, values: list[list[float]]) -> None:
    assert same(Series.open(text.encode()), values)


def test_csv_names_its_columns_and_needs_a_row() -> None:
    series = Series(np.array([[1, np.nan], [0.1, 3]], np.float32), 1)
    assert series.to_bytes(".csv") == b"channel0,channel1\n1,0.100000001\nnan,3\n"
    with pytest.raises(InvalidInput, match="0 steps"):
        Series(np.zeros((1, 0), np.float32), 1).to_bytes(".csv")


# Values.


def test_gaps_are_equal_to_gaps_only() -> None:
    gap = Series(np.array([[1, np.nan]], np.float32), 1)
    assert gap == Series(np.array([[1, np.nan]], np.float32), 1)
    assert gap != Series(np.array([[1, 0]], np.float32), 1)
    assert gap != Series(np.array([[1, np.nan]], np.float32), 2)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinities_are_refused(bad: float) -> None:
    with pytest.raises(InvalidInput, match="finite"):
        Series(np.array([[0, bad]], np.float32), 1)


@pytest.mark.parametrize("data", [npy(np.array([1e39])), b"1,1e39\n", b"1,inf\n"])
def test_numbers_too_large_for_float32_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="finite in float32"):
        Series.open(data)


@pytest.mark.parametrize("rate", [0, -1, np.nan, np.inf, "fast", None])
def test_rate_must_be_positive_and_finite(rate: Any) -> None:
    with pytest.raises(InvalidInput, match="rate"):
        Series(np.zeros((1, 1), np.float32), rate)
    if isinstance(rate, int | float):
        with pytest.raises(InvalidInput, match="rate"):
            Series.open(npz(values=np.zeros((1, 1)), rate=rate))


@pytest.mark.parametrize(
    "values", [np.zeros(4, np.float32), np.zeros((1, 4)), np.zeros((0, 4), np.float32)]
)
def test_arrays_of_another_form_are_refused(values: NDArray[np.float32]) -> None:
    with pytest.raises(InvalidInput):
        Series(values, 1)


# Hostile files.


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["values", "rate"])
def test_pickles_are_refused_and_not_run(name: str, tmp_path: Path) -> None:
    bomb = np.array([Bomb(tmp_path / "ran")], object)
    arrays: dict[str, Any] = {"values": np.zeros((1, 2)), "rate": 1.0, name: bomb}
    with pytest.raises(InvalidInput, match="real numbers"):
        Series.open(npz(**arrays))
    with pytest.raises(InvalidInput, match="real numbers"):
        Series.open(npy(bomb, allow_pickle=True))
    assert not (tmp_path / "ran").exists()
    np.load(io.BytesIO(npy(bomb, allow_pickle=True)), allow_pickle=True)
    assert (tmp_path / "ran").exists()  # the bomb works


@pytest.mark.parametrize("shape", ["(1099511627776,)", "(1, 4294967296)", "(65536, 65536)"])
def test_the_shape_is_checked_before_allocation(shape: str) -> None:
    with pytest.raises(LimitExceeded):
        Series.open(header(shape))


def test_a_compressed_file_cannot_grow_beyond_its_shape() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("values.npy", header("(4,)") + bytes(10_000_000))
    with pytest.raises(InvalidInput, match="more data"):
        Series.open(out.getvalue())


def test_the_limit_is_the_last_size_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_module, "MAX_SAMPLES", 6)
    fits, over = np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32)
    assert Series.open(npy(fits)) == Series.open(b"0,0\n" * 3) == Series(fits, 1)
    for data in (npy(over), npz(values=over), b"0,0\n" * 4):
        with pytest.raises(LimitExceeded):
            Series.open(data)
    with pytest.raises(LimitExceeded):
        Series(over, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"hello\nworld\n",
        b"a,b\n",
        b"1,2\n3\n",
        b"1,2\n3,x\n",
        b"1,x\n",
        b'1,"2\n',
        b"\xff\xfe1\n",
        b"\0\0\0",
        b"PK\x03\x04",
        b"\x93NUMPY",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        header("(5,)"),
        header("(-4,)"),
        header("4"),
        header("(4,)", "'<c8'"),
        header("(2,)", "'<U2'"),
        header("(4,)", "'nonsense'"),
        header("((4,),)"),
        npy(np.zeros((1, 2, 3))),
        npy(np.float32(1)),
        npz(other=np.zeros(3)),
        npz(values=np.zeros(3), rate=np.ones(2)),
        npy(np.zeros(3))[:-1],
        npz(values=np.zeros(300))[:-100],
    ],
)
def test_what_is_no_series_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        Series.open(data)


def test_headers_of_unbounded_length_are_refused() -> None:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.zeros(3), version=(2, 0))
    with pytest.raises(InvalidInput, match=r"version 1\.0"):
        Series.open(out.getvalue())


def test_a_wrong_checksum_is_noticed() -> None:
    data = bytearray(npz(values=np.ones(300)))
    data[1000] ^= 1
    with pytest.raises(InvalidInput, match="CRC"):
        Series.open(bytes(data))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv"])
def test_damage_never_raises_anything_else(suffix: str) -> None:
    rng = np.random.default_rng(3)
    data = Series(rng.standard_normal((2, 30)).astype(np.float32), 10).to_bytes(suffix)
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            broken[place] = rng.integers(0, 256)
        try:
            Series.open(bytes(broken))
        except (InvalidInput, LimitExceeded):
            refused += 1
    assert refused > 0
