"""Tars, as webdataset and tarfile read them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from omnicodec.service.batch.sinks.base import DocumentRow, PackedRow, RawRow

from ..rows import FLAT, PARALLEL, Parts, layout_of, made, picture, sound, text

SHARDS: list[list[Parts]] = [[(picture(2, 3), text(4)), (), (text(0),)], [(text(7),)]]


@pytest.mark.parametrize("layout", ["raw", "document", "packed"])
def test_webdataset_opens_it(tmp_path: Path, layout: str) -> None:
    import webdataset as wds

    _, names, rows = made("wds", tmp_path / "set", layout_of(FLAT, layout), SHARDS)
    tars = [str(tmp_path / "set/data" / name) for name in names if name.endswith(".tar")]
    found = list(wds.WebDataset(tars, shardshuffle=False).decode())
    keys = [sample["__key__"] for sample in found]
    assert len(set(keys)) == len(keys) == len(rows)
    assert keys[0] == "00000000-00000000"
    for row, sample in zip(rows, found, strict=True):
        match row:
            case RawRow():
                assert (sample["json"]["key"], sample["json"]["source"]) == (row.key, row.source)
                for i, part in enumerate(row.parts):
                    np.testing.assert_array_equal(sample[f"{i}.npy"], part.ids)
                    assert tuple(sample["json"]["parts"][i]["grid"]) == part.grid
            case DocumentRow():
                assert sample["json"] == {"key": row.key, "source": row.source}
                np.testing.assert_array_equal(sample["npy"], row.ids[0])
            case PackedRow():
                np.testing.assert_array_equal(sample["npy"], row.ids[0])
                np.testing.assert_array_equal(sample["positions.npy"], row.positions)
                np.testing.assert_array_equal(sample["starts.npy"], row.starts)


def test_members_tell_of_no_machine(tmp_path: Path) -> None:
    layout = layout_of(PARALLEL, "raw")
    _, _, rows = made("wds", tmp_path / "set", layout, [[(sound(9),), (text(300),)]])
    with tarfile.open(tmp_path / "set/data/00000000.tar") as tar:
        members = tar.getmembers()
        facts = json.loads(tar.extractfile("00000000-00000001.json").read())  # type: ignore[union-attr]
    assert [member.name for member in members] == [
        "00000000-00000000.json",
        "00000000-00000000.0.npy",
        "00000000-00000001.json",
        "00000000-00000001.0.npy",
    ]
    assert {(m.mtime, m.uid, m.gid, m.mode, m.uname, m.type) for m in members} == {
        (0, 0, 0, 0o644, "", tarfile.REGTYPE)
    }
    assert facts["key"] == rows[1].key  # type: ignore[union-attr]
