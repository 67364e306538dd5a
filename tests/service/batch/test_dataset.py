from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from omnicodec.codecs import InvalidInput
from omnicodec.service import batch
from omnicodec.service.batch.dataset import cu_seqlens, documents_of, mask
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.layout import Layout
from omnicodec.service.batch.manifest import Manifest
from omnicodec.service.batch.records import FileFacts
from omnicodec.service.batch.sinks import FORMATS
from omnicodec.service.batch.sinks.base import PackedRow, Row
from omnicodec.service.batch.sources.base import SourceSpec

from .rows import FLAT, PARALLEL, Parts, layout_of, made, picture, sound, text

Make = Callable[..., tuple[Path, list[Row]]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that makes a finished data set of items; returns its folder and rows."""

    def build(name: str, layout: Layout, shards: list[list[Parts]]) -> tuple[Path, list[Row]]:
        folder = tmp_path / f"{name}-{layout.layout}"
        _, names, rows = made(name, folder, layout, shards)
        job = Job(
            sources=(SourceSpec(location="x"),),
            codecs=(),
            vocabulary="",
            format=name,
            layout=layout.layout,
        )
        manifest = Manifest(
            job=job,
            job_digest=job.digest,
            plan="",
            vocabulary="",
            sink=name,
            facts=layout.facts(),
            codecs={
                entry.name: {"modality": entry.modality} for entry in layout.vocabulary.entries
            },
            items=0,
            written=0,
            rejects=0,
            reasons={},
            rows=len(rows),
            tokens=0,
            packing={},
            shards=[],
            files={file: FileFacts(0, "") for file in names},
        )
        layout.vocabulary.save(Folder(folder).vocabulary)
        Folder(folder).manifest.write_bytes(manifest.to_bytes())
        return folder, rows

    return build


SHARDS: list[list[Parts]] = [[(picture(2, 3), text(4)), (text(9),)], [], [(text(30), text(2))]]


@pytest.mark.parametrize("name", FORMATS)
def test_packed_rows_in_every_format(make: Make, name: str) -> None:
    folder, rows = make(name, layout_of(FLAT, "packed"), SHARDS)
    found = batch.open(folder)
    assert isinstance(found, Dataset)
    assert len(found) == len(rows)
    assert found.vocabulary == FLAT
    assert found.manifest.sink == name
    for row, item in zip(rows, (found[i] for i in range(len(found))), strict=True):
        assert isinstance(row, PackedRow)
        assert {array.dtype for array in item.values()} == {np.dtype(np.int64)}
        assert {array.shape for array in item.values()} == {(16,)}
        np.testing.assert_array_equal(item["ids"], row.ids[0])
        np.testing.assert_array_equal(item["positions"], row.positions)
        assert set(np.flatnonzero(item["ids"] == FLAT.pad)) == set(
            np.flatnonzero(item["documents"] == -1)
        )
        starts = np.flatnonzero(np.diff(item["documents"], prepend=-2))
        np.testing.assert_array_equal(starts, row.starts)
    found.close()


def test_raw_rows_are_laid_out_when_they_are_read(make: Make) -> None:
    folder, rows = make("parquet", layout_of(FLAT, "raw"), SHARDS)
    raw, laid_out = batch.open(folder), batch.open(folder, layout="document")
    for i, row in enumerate(rows):
        parts = raw[i]["parts"]
        assert [p["codec"] for p in parts] == [p.codec for p in row.parts]  # type: ignore[union-attr]
        assert [p["modality"] for p in parts] == (
            ["image", "text"] if i == 0 else ["text"] * (i or 1)
        )
        assert (raw[i]["key"], raw[i]["source"]) == (row.key, row.source)  # type: ignore[union-attr]
        wanted = FLAT.pack(row.parts, eos=True)  # type: ignore[union-attr]
        np.testing.assert_array_equal(laid_out[i]["ids"], wanted)
    with pytest.raises(InvalidInput, match="document"):
        raw.collate([raw[0]])
    with pytest.raises(InvalidInput, match="is raw, which cannot be read as packed"):
        batch.open(folder, layout="packed")


def test_documents_of_several_rows(make: Make) -> None:
    folder, rows = make("mds", layout_of(PARALLEL, "document"), [[(sound(5),), (text(3),)]])
    found = batch.open(folder)
    assert found[0]["ids"].shape == rows[0].ids.shape  # type: ignore[union-attr]
    joined = found.collate([found[0], found[1]])
    longest = found[0]["ids"].shape[1]
    assert joined["ids"].shape == (2, 16, longest)
    assert joined["mask"].sum(1).tolist() == [longest, 4]
    assert (joined["ids"][1, :, 4:] == PARALLEL.pad).all()
    assert found[-1]["key"] == found[1]["key"]
    with pytest.raises(IndexError):
        found[2]
    with pytest.raises(IndexError):
        found[-3]


@pytest.mark.parametrize("name", ["parquet", "wds"])
def test_worker_processes_of_a_loader(make: Make, name: str) -> None:
    layout = layout_of(FLAT, "packed", length=8)
    folder, rows = make(name, layout, [[(text(20, seed),) for seed in range(9)]] * 2)
    found = batch.open(folder)
    found[0]  # opens a file, which workers must not share
    order = found.order(seed=5)
    loader: DataLoader[dict[str, Any]] = DataLoader(
        found, batch_size=3, sampler=order, num_workers=1, multiprocessing_context="fork"
    )
    ids = torch.cat([batch["ids"] for batch in loader])
    wanted = [rows[i].ids[0] for i in found.order(seed=5)]  # type: ignore[union-attr]
    np.testing.assert_array_equal(ids.numpy(), np.stack(wanted))


def test_it_may_be_pickled(make: Make) -> None:
    folder, _ = make("megatron", layout_of(FLAT, "document"), SHARDS)
    found = batch.open(folder)
    again = pickle.loads(pickle.dumps(found))
    assert again[2]["ids"].tolist() == found[2]["ids"].tolist()
    assert [row["key"] for row in again.__getitems__([2, 0, 2])] == [
        "00000002",
        "00000000",
        "00000002",
    ]


def test_what_is_no_data_set_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no data set"):
        batch.open(tmp_path)
    folder, _ = make("parquet", layout_of(FLAT, "raw"), SHARDS)
    Folder(folder).vocabulary.unlink()
    with pytest.raises(InvalidInput, match=r"vocabulary\.json"):
        batch.open(folder)


def test_masks_keep_documents_apart() -> None:
    documents = torch.tensor([[0, 0, 1, -1], [0, 1, 1, 1]])
    found = mask(documents).int().tolist()
    assert found[0] == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert found[1] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]
    assert cu_seqlens(documents).tolist() == [0, 2, 3, 4, 5, 8]
    assert cu_seqlens(documents[0]).tolist() == [0, 2, 3, 4]
    assert cu_seqlens(documents).dtype == torch.int32


def test_padding_is_told_from_a_document() -> None:
    pad = FLAT.pad
    arrays = [np.array(a, np.int32) for a in ([[7, pad, 8, pad, pad]], [0, 1, 0, 0, 1], [0, 2, 3])]
    assert documents_of(PackedRow(*arrays), pad).tolist() == [0, 0, 1, -1, -1]
    full = [np.array(a, np.int32) for a in ([[7, 8]], [0, 0], [0, 1])]
    assert documents_of(PackedRow(*full), pad).tolist() == [0, 1]
