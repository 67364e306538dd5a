"""Parquet, as others read it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from omnicodec.service.batch.sinks import open_sink
from omnicodec.service.batch.sinks.base import DocumentRow, PackedRow, RawRow

from ..rows import FLAT, PARALLEL, layout_of, made, picture, sound, text

SHARDS = [[(picture(2, 3), text(4)), (text(0),)], [(text(7),)]]


def test_raw_rows_in_pyarrow_and_pandas(tmp_path: Path) -> None:
    _, names, rows = made("parquet", tmp_path / "set", layout_of(FLAT, "raw"), SHARDS)
    assert names == ["00000000.parquet", "00000001.parquet"]
    frame = pq.read_table(tmp_path / "set" / "data").to_pandas()
    assert list(frame.columns) == ["key", "source", "parts"]
    for row, (_, found) in zip(rows, frame.iterrows(), strict=True):
        assert isinstance(row, RawRow)
        assert (found["key"], found["source"]) == (row.key, row.source)
        for part, other in zip(row.parts, found["parts"], strict=True):
            ids = other["ids"].reshape(other["codebooks"], -1)
            np.testing.assert_array_equal(ids, part.ids)
            assert tuple(other["grid"]) == part.grid
            assert {e["name"]: e["value"] for e in other["extent"]} == dict(part.extent)
            assert (other["codec"], other["fingerprint"]) == (part.codec, part.fingerprint)


@pytest.mark.parametrize("layout", ["raw", "document", "packed"])
def test_hugging_face_opens_it(tmp_path: Path, layout: str) -> None:
    import datasets  # slow to import

    _, names, rows = made("parquet", tmp_path / "set", layout_of(FLAT, layout), SHARDS)
    files = [str(tmp_path / "set" / "data" / name) for name in names]
    found = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(found) == len(rows)
    for row, other in zip(rows, found, strict=True):
        match row:
            case RawRow():
                ids = [np.array(part["ids"]) for part in other["parts"]]
                for part, flat in zip(row.parts, ids, strict=True):
                    np.testing.assert_array_equal(part.ids.reshape(-1), flat)
            case DocumentRow():
                assert other == {
                    "key": row.key,
                    "source": row.source,
                    "tokens": row.ids[0].tolist(),
                }
            case PackedRow():
                assert other["tokens"] == row.ids[0].tolist()
                assert other["positions"] == row.positions.tolist()
                assert other["starts"] == row.starts.tolist()


def test_schema_tells_what_the_ids_are(tmp_path: Path) -> None:
    layout = layout_of(PARALLEL, "document")
    _, names, rows = made("parquet", tmp_path / "set", layout, [[(sound(5),)]])
    table = pq.read_table(tmp_path / "set" / "data" / names[0])
    facts = json.loads(table.schema.metadata[b"omnicodec"])
    assert facts == json.loads(json.dumps(layout.facts()))
    assert facts["rows"] == 16
    assert not any(field.nullable for field in table.schema)
    # All rows of a position stand together.
    assert isinstance(rows[0], DocumentRow)
    tokens = table["tokens"][0].values.to_numpy()
    np.testing.assert_array_equal(tokens.reshape(-1, 16).T, rows[0].ids)


def test_row_groups_are_small(tmp_path: Path) -> None:
    layout = layout_of(FLAT, "document")
    writer = open_sink("parquet", layout.facts()).open_shard(tmp_path, 0)
    long = DocumentRow("key", "source", np.zeros((1, 1 << 17), np.int32))
    for row in [long] * 5 + [DocumentRow("key", "source", np.zeros((1, 9), np.int32))] * 1030:
        writer.write(row)
    writer.close()
    metadata = pq.read_metadata(tmp_path / "00000000.parquet")
    counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert counts == [2, 2, 1024, 7]
    column = metadata.row_group(0).column(2)
    assert column.compression == "ZSTD"
