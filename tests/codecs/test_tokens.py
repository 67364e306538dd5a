"""Tokens: validation, equality, and the .npz archive."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from omnicodec.codecs import InvalidInput, Tokens


def tokens(ids: object, grid: tuple[int, ...], **extent: int) -> Tokens:
    return Tokens("image/vq", "0123456789abcdef", np.asarray(ids), grid, extent)


@given(
    hnp.arrays(
        np.int32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9),
        elements=st.integers(0, 2**31 - 1),
    ),
    st.dictionaries(st.text(max_size=5), st.integers(-(2**53), 2**53), max_size=3),
)
def test_load_inverts_save(ids: np.ndarray, extent: dict[str, int]) -> None:
    before = Tokens("a/b", "f" * 16, ids, (ids.shape[1],), extent)
    file = io.BytesIO()
    before.save(file)
    assert Tokens.load(file.getvalue()) == before


def test_a_path_is_written_whole_or_not_at_all(tmp_path) -> None:
    before = tokens([[1, 2]], (1, 2), height=1, width=20)
    before.save(tmp_path / "a.npz")
    assert Tokens.load(tmp_path / "a.npz") == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    with pytest.raises(InvalidInput, match="cannot write"):
        before.save(tmp_path / "no" / "a.npz")


@pytest.mark.parametrize(
    ("ids", "grid"),
    [
        ([1, 2], (2,)),
        ([[1.5]], (1,)),
        ([[1, 2]], (3,)),
        ([[1, 2]], ()),
        ([[1, 2]], (-1, -2)),
        ([[-1]], (1,)),
        ([[2**31]], (1,)),
        ([["a"]], (1,)),
    ],
)
def test_what_does_not_fit_is_refused(ids: object, grid: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput):
        tokens(ids, grid)


def test_other_integer_types_are_converted() -> None:
    assert tokens(np.array([[7]], np.uint16), (1,)).ids.dtype == np.int32


def test_equality_sees_every_field() -> None:
    one = tokens([[1, 2]], (2,), n=2)
    assert one == tokens([[1, 2]], (2,), n=2)
    assert one != tokens([[1, 3]], (2,), n=2)
    assert one != tokens([[1, 2]], (1, 2), n=2)
    assert one != tokens([[1, 2]], (2,), n=3)
    assert one != "tokens"


def test_archives_of_others_are_refused(tmp_path) -> None:
    for data in (b"", b"PK", b"not a zip", zip_of({"ids.npy": b"junk"})):
        with pytest.raises(InvalidInput):
            Tokens.load(data)
    pickled = io.BytesIO()
    np.savez(pickled, ids=np.array([[object()]], dtype=object), meta=np.zeros(1, np.uint8))
    with pytest.raises(InvalidInput):
        Tokens.load(pickled.getvalue())
    with pytest.raises(InvalidInput, match="cannot read"):
        Tokens.load(tmp_path / "missing.npz")


REAL = np.array([[0.5, -0.0, np.nan], [np.inf, 1e-3, 7]], np.float32)


def soft(values: object, ids: object = None, grid: tuple[int, ...] = (2, 1)) -> Tokens:
    ids = np.zeros((0, 2), np.int32) if ids is None else ids
    return Tokens("image/kl", "0123456789abcdef", ids, grid, {"bits": 32}, values)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f2", ">f4"])
def test_real_values_come_back_bit_by_bit(dtype: str) -> None:
    before = soft(np.asfortranarray(REAL.astype(dtype)))
    file = io.BytesIO()
    before.save(file)
    after = Tokens.load(file.getvalue())
    assert after == before
    assert after.soft.dtype.isnative
    assert after.soft.flags.c_contiguous
    assert after.ids.shape == (0, 2)
    assert len(after) == 2
    assert after.values is after.soft


def test_equality_of_real_values_is_that_of_their_bits() -> None:
    one = soft(REAL)
    assert one == soft(REAL.copy())
    positive = REAL.copy()
    positive[0, 1] = 0.0
    assert one != soft(positive)
    assert one != soft(REAL.astype(np.float16))
    zeros = np.zeros((2, 3), np.float32)
    assert soft(zeros) != soft(None)
    assert soft(zeros) != soft(zeros.astype(np.float16))


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (REAL[0], None),
        (REAL[:, :, None], None),
        (REAL[:, :0], None),
        (REAL[:1], None),
        (REAL.astype(np.float64), None),
        (np.zeros((2, 3), np.int32), None),
        (REAL.astype(object), None),
        ([["a"], ["b"]], None),
        (REAL, np.zeros((1, 2), np.int32)),
        (REAL, np.zeros((0, 3), np.int32)),
    ],
)
def test_real_values_that_do_not_fit_are_refused(values: object, ids: object) -> None:
    with pytest.raises(InvalidInput):
        soft(values, ids)


def test_archives_of_strange_real_values_are_refused() -> None:
    good = io.BytesIO()
    soft(REAL).save(good)
    with np.load(io.BytesIO(good.getvalue())) as archive:
        ids, meta = archive["ids"], archive["meta"]
    for values in (REAL.astype(object), REAL.astype(np.float64), REAL.T, REAL.tobytes()):
        file = io.BytesIO()
        np.savez(file, ids=ids, meta=meta, soft=np.asarray(values))
        with pytest.raises(InvalidInput):
            Tokens.load(file.getvalue())


def test_an_archive_that_claims_more_than_it_holds_is_refused() -> None:
    header = io.BytesIO()
    claim = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1 << 10)}
    np.lib.format.write_array_header_1_0(header, claim)
    plain = io.BytesIO()
    soft(REAL).save(plain)
    with zipfile.ZipFile(io.BytesIO(plain.getvalue())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with pytest.raises(InvalidInput):
        Tokens.load(zip_of(files | {"soft.npy": header.getvalue()}))


def zip_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()
