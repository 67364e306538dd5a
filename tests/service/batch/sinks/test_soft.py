"""Real-valued tokens in the formats that keep raw items, as this package and others read them."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from omnicodec.codecs import CorruptStream, Tokens
from omnicodec.service.batch.layout import Layout
from omnicodec.service.batch.sinks.base import RawRow

from ..rows import FLAT, Parts, assert_same, latent, made, of_values, picture, soft_layout, text

FORMATS = ("parquet", "mds", "wds")
BITS = (16, 32)


def several(bits: int) -> list[list[Parts]]:
    one, other = latent(2, 3, bits), latent(1, 4, bits, seed=1, numbers=7)
    return [
        [(text(5),), (), (one, text(3), text(0), picture(1, 2), other)],
        [],
        [(one,), (latent(0, 3, bits),)],
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("soft")


def latents(bits: int) -> st.SearchStrategy[Tokens]:
    shapes = st.tuples(st.integers(0, 6), st.integers(1, 5))
    floats = st.floats(width=bits)  # type: ignore[arg-type]
    values = shapes.flatmap(lambda shape: numpy_st.arrays(f"f{bits // 8}", shape, elements=floats))
    return values.map(lambda soft: of_values(soft, (1, len(soft))))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("bits", BITS)
def test_rows_come_back(folders: Path, name: str, bits: int) -> None:
    parts = st.lists(latents(bits) | st.builds(text, st.integers(0, 9)), max_size=3).map(tuple)

    @settings(max_examples=10)
    @given(st.lists(st.lists(parts, max_size=5), max_size=2))
    def check(shards: list[list[Parts]]) -> None:
        folder = folders / f"{name}-{bits}"
        shutil.rmtree(folder, ignore_errors=True)
        sink, names, rows = made(name, folder, soft_layout(bits), shards)
        opened = sink.open(folder / "data", names)
        assert len(opened) == len(rows)
        for index, row in enumerate(rows):
            assert_same(row, opened[index])
        opened.close()

    check()


def assert_bits(one: Any, other: Any) -> None:
    """Assert that arrays are equal bit by bit, which NaNs are too."""
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("bits", BITS)
def test_tables_in_pyarrow_pandas_and_datasets(tmp_path: Path, bits: int) -> None:
    import datasets  # slow to import

    _, names, rows = made("parquet", tmp_path / "set", soft_layout(bits), several(bits))
    files = [str(tmp_path / "set" / "data" / name) for name in names]
    dtype = np.dtype(f"f{bits // 8}")
    table = pq.read_table(tmp_path / "set" / "data")
    facts = json.loads(table.schema.metadata[b"omnicodec"])
    assert facts["soft"] == {"image/soft": {"width": 4, "bits": bits}}
    loaded = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    kinds = (table.to_pylist(), table.to_pandas().to_dict("records"), loaded)
    for found in kinds:
        for row, other in zip(rows, found, strict=True):
            assert isinstance(row, RawRow)
            for part, stored in zip(row.parts, other["parts"], strict=True):
                values = np.asarray(stored["soft"], dtype)
                if part.soft is None:
                    assert (stored["width"], values.size) == (0, 0)
                    continue
                assert (stored["codebooks"], len(stored["ids"])) == (0, 0)
                assert_bits(values.reshape(-1, stored["width"]), part.soft)
    columns = table.to_pandas()["parts"]
    assert columns[2][0]["soft"].dtype == dtype


@pytest.mark.parametrize("bits", BITS)
def test_webdataset_opens_it(tmp_path: Path, bits: int) -> None:
    import webdataset as wds

    _, names, rows = made("wds", tmp_path / "set", soft_layout(bits), several(bits))
    tars = [str(tmp_path / "set/data" / name) for name in names if name.endswith(".tar")]
    samples = list(wds.WebDataset(tars, shardshuffle=False).decode())
    for row, sample in zip(rows, samples, strict=True):
        assert isinstance(row, RawRow)
        for number, part in enumerate(row.parts):
            assert_bits(sample[f"{number}.npy"], part.values)


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_said(tmp_path: Path, name: str) -> None:
    sink, names, rows = made(name, tmp_path / "set", soft_layout(16), several(16))
    data = tmp_path / "set" / "data"
    rng = random.Random(1)
    for file in [n for n in names if n != "index.json"]:
        whole = (data / file).read_bytes()
        for number in range(60):
            flipped = bytearray(whole)
            flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            content = bytes(flipped) if number else whole[:-1]
            (data / file).write_bytes(content)
            try:
                opened = sink.open(data, names)
                for index in range(len(opened) if len(opened) < 1000 else 0):
                    opened[index]
            except CorruptStream as e:
                assert "\n" not in str(e)
            else:
                assert number or len(opened) != len(rows), file
        (data / file).write_bytes(whole)


def test_files_without_real_values_have_no_place_for_them(tmp_path: Path) -> None:
    """What others wrote before is read, and written, as it was."""
    plain = Layout(FLAT, "raw")
    assert "soft" not in plain.facts()
    _, names, _ = made("parquet", tmp_path / "set", plain, [[(text(3),)]])
    schema = pq.read_schema(tmp_path / "set" / "data" / names[0])
    fields = [field.name for field in schema.field("parts").type.value_type]
    assert fields == ["codec", "fingerprint", "codebooks", "grid", "extent", "ids"]
