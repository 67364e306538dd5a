"""`Encode`: batches of every kind, and a pipeline of Ray Data."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import Image, InvalidInput, Text, UnknownCodec, load
from omnicodec.service.batch import Encode
from omnicodec.service.batch.job import ItemLimits

from .ray_here import cluster  # noqa: F401  # a fixture

pa = pytest.importorskip("pyarrow")


def objects(values: list[Any]) -> Any:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def frame(columns: Mapping[str, list[Any]]) -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({name: objects(values) for name, values in columns.items()})


def arrays(columns: Mapping[str, list[Any]]) -> Any:
    return {name: objects(values) for name, values in columns.items()}


def rows(batch: Any) -> list[dict[str, Any]]:
    if isinstance(batch, dict):
        return [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)]
    found: list[dict[str, Any]]
    found = batch.to_pylist() if hasattr(batch, "to_pylist") else batch.to_dict("records")
    return found


def picture(side: int) -> bytes:
    pixels = np.arange(side * side * 3, dtype=np.uint32).reshape(side, side, 3) % 251
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.astype(np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize("make", [arrays, frame, pa.table], ids=["arrays", "frame", "table"])
def test_texts_of_any_batch_become_tokens_and_errors(make: Callable[[Any], Any]) -> None:
    texts = ["one", "zwei", "", None, "\U0001f600"]
    batch = make({"text": texts, "number": [1, 2, 3, 4, 5]})
    encoded = Encode("text/bytes", column="text", prefix="t_")(batch)
    assert isinstance(encoded, type(batch))
    found = rows(encoded)
    assert [int(row["number"]) for row in found] == [1, 2, 3, 4, 5]
    assert [row["text"] if row["text"] == row["text"] else None for row in found] == texts
    codec = load("text/bytes")
    for row, text in zip(found, texts, strict=True):
        if text is None:
            assert row["t_error"] == "InvalidInput: there is nothing in column 'text'"
            assert row["t_tokens"] is None or len(row["t_tokens"]) == 0
            with pytest.raises(InvalidInput, match="no tokens: InvalidInput"):
                Encode.tokens(row, "t_")
        else:
            assert row["t_error"] is None
            assert codec.decode([Encode.tokens(row, "t_")]) == [Text(text)]


def test_types_of_a_table() -> None:
    encoded = Encode("text/bytes", column="a", drop=True)(pa.table({"a": [b"xy", None]}))
    assert encoded.schema.field("tokens").type == pa.list_(pa.int32())
    assert encoded.schema.field("grid").type == pa.list_(pa.int32())
    assert encoded["tokens"].to_pylist() == [[120, 121], None]
    assert encoded.column_names == [
        "tokens", "codebooks", "grid", "extent", "codec", "fingerprint", "error",
    ]  # fmt: skip
    again = Encode("text/bytes", column="b")(encoded.append_column("b", pa.array(["z", "z"])))
    assert again["tokens"].to_pylist() == [[122], [122]]


def test_pictures_from_bytes_paths_records_and_pixels(tmp_path: Path) -> None:
    data = picture(20)
    (tmp_path / "a.png").write_bytes(data)
    pixels = Image.open(data).pixels
    values = [
        data,
        str(tmp_path / "a.png"),
        {"bytes": data, "path": "gone.png"},
        {"bytes": None, "path": str(tmp_path / "a.png")},
        pixels,
        data[:40],
        str(tmp_path / "no.png"),
        picture(64),
        7,
        b"",
    ]
    limits = ItemLimits(pixels=1000)
    found = rows(Encode("image/vq", column="x", limits=limits, threads=2)(arrays({"x": values})))
    (expected,) = load("image/vq").encode([Image(pixels)])
    for row in found[:5]:
        assert Encode.tokens(row) == expected
    errors = [row["error"].partition(":")[0] for row in found[5:]]
    assert errors == [
        "InvalidInput",
        "InvalidInput",
        "LimitExceeded",
        "InvalidInput",
        "InvalidInput",
    ]


def test_files_over_the_limit_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    encode = Encode("text/bytes", column="x", paths=True, limits=ItemLimits(nbytes=99))
    found = rows(encode(arrays({"x": [str(tmp_path / "a"), str(tmp_path)]})))
    assert found[0]["error"] == "LimitExceeded: 100 bytes are over the limit of 99"
    assert found[1]["error"].startswith("InvalidInput: ")


@pytest.mark.parametrize("make", [arrays, frame, pa.table], ids=["arrays", "frame", "table"])
@pytest.mark.parametrize("quality", [None, 16])
def test_real_values_of_any_batch(
    make: Callable[[Any], Any], quality: int | None, soft_codec: str
) -> None:
    pictures = [picture(9), b"none", picture(4)]
    encode = Encode(soft_codec, column="file", drop=True, quality=quality)
    batch = encode(make({"file": pictures}))
    codec = load(soft_codec)
    for row, data in zip(rows(batch), pictures, strict=True):
        assert not {"tokens", "codebooks"} & set(row)
        if data == b"none":
            assert row["error"].startswith("InvalidInput: ")
            assert row["width"] == 0
            continue
        (wanted,) = codec.encode([Image.open(data)], quality=quality)
        assert row["width"] == 3
        assert Encode.tokens(row) == wanted
    if make is pa.table:
        number = pa.float16() if quality else pa.float32()
        assert batch.schema.field("soft").type == pa.list_(number)
        assert encode(make({"file": [b"none"]})).schema == batch.schema


def test_what_is_wrong_as_a_whole_is_raised() -> None:
    with pytest.raises(UnknownCodec):
        Encode("image/none", column="x")
    with pytest.raises(InvalidInput, match="method"):
        Encode("text/bytes", column="x", method="none")
    encode = Encode("text/bytes", column="x", strict=True)
    with pytest.raises(InvalidInput, match="no column 'x'"):
        encode({"y": objects(["a"])})
    with pytest.raises(InvalidInput, match="not a list"):
        encode([1])
    with pytest.raises(InvalidInput, match="nothing in column"):
        encode({"x": objects([None])})


@settings(max_examples=30)
@given(st.lists(st.one_of(st.binary(max_size=9), st.none()), max_size=6))
def test_no_item_is_lost_or_moved(values: list[bytes | None]) -> None:
    table = pa.table({"x": pa.array(values, pa.binary())})
    found = Encode("text/bytes", column="x")(table).to_pylist()
    assert [row["tokens"] for row in found] == [v if v is None else list(v) for v in values]
    assert [row["error"] is None for row in found] == [v is not None for v in values]


@pytest.mark.usefixtures("cluster")
def test_a_pipeline_of_ray_data(tmp_path: Path) -> None:
    import pyarrow.parquet as pq
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    contents = [b"a", b"", None, b"\xff\x00", b"longer", b"\xf0\x9f"]
    items = ray.data.from_arrow(pa.table({"file": contents, "number": list(range(6))}))
    items.map_batches(
        Encode,
        fn_constructor_kwargs={"codec": "text/bytes", "column": "file", "drop": True},
        batch_format="pyarrow",
        batch_size=2,
        num_cpus=0.5,
        concurrency=1,
    ).write_parquet(str(tmp_path / "out"))
    table = pq.read_table(tmp_path / "out").sort_by("number")
    assert table.schema.field("tokens").type == pa.list_(pa.int32())
    assert [r["error"] is None for r in table.to_pylist()] == [c is not None for c in contents]
    found = items.map_batches(
        Encode,
        fn_constructor_kwargs={"codec": "text/bytes", "column": "file"},
        batch_format="numpy",
        num_cpus=0.5,
        concurrency=1,
    ).take_all()
    codec = load("text/bytes")
    for part in (table.to_pylist(), sorted(found, key=lambda row: int(row["number"]))):
        for row, content in zip(part, contents, strict=True):
            if content is None:
                assert row["error"].startswith("InvalidInput: ")
            else:
                assert codec.decode([Encode.tokens(row)]) == [Text(content)]
