"""MDS, as MosaicML Streaming reads it; OMNICODEC_STREAMING names the folder that has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import LimitExceeded
from omnicodec.service.batch.sinks import mds
from omnicodec.service.batch.sinks.base import DocumentRow, PackedRow, RawRow

from ..rows import FLAT, PARALLEL, Parts, latent, layout_of, made, picture, soft_layout, sound, text

# An empty document has an array of no elements, which StreamingDataset reads too.
RAW: list[list[Parts]] = [[(picture(2, 3), text(4)), (), (text(0),)], [(text(300),)]]
PARALLEL_DOCUMENTS: list[list[Parts]] = [[(sound(9), text(3))], [], [(text(5),)]]
SOFT: list[list[Parts]] = [[(latent(2, 3, 16), text(4), latent(1, 4, 16, 1, numbers=7)), ()]]

READER = """
import json, sys
sys.path.append(sys.argv[1])
from streaming import StreamingDataset
out = []
for folder in sys.argv[2:]:
    rows = StreamingDataset(local=folder, shuffle=False, batch_size=1)
    out.append([
        {k: v if isinstance(v, (str, list)) else [list(v.shape), v.dtype.name, v.tolist()]
         for k, v in rows[i].items()}
        for i in range(len(rows))
    ])
print(json.dumps(out))
"""


def test_streaming_opens_it(tmp_path: Path) -> None:
    streaming = os.environ.get("OMNICODEC_STREAMING")
    if not streaming:
        pytest.skip("mosaicml-streaming is not here")
    cases = [
        layout_of(FLAT, "raw"),
        layout_of(PARALLEL, "document"),
        layout_of(FLAT, "packed"),
        soft_layout(16),
    ]
    contents = (RAW, PARALLEL_DOCUMENTS, RAW, SOFT)
    wanted = [
        made("mds", tmp_path / str(i), layout, contents[i])[2] for i, layout in enumerate(cases)
    ]
    folders = [str(tmp_path / str(i) / "data") for i in range(len(cases))]
    command = [sys.executable, "-P", "-c", READER, streaming, *folders]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])

    def array(ids: np.ndarray) -> list[object]:
        return [list(ids.shape), "int32", ids.tolist()]

    for rows, samples in zip(wanted, found, strict=True):
        for row, sample in zip(rows, samples, strict=True):
            match row:
                case RawRow():
                    ids = [part.ids.reshape(-1) for part in row.parts]
                    assert sample["ids"] == array(np.concatenate([np.empty(0, np.int32), *ids]))
                    assert sample["key"] == row.key
                    assert [part["codec"] for part in sample["parts"]] == [
                        part.codec for part in row.parts
                    ]
                    assert ("soft" in sample) == (rows is wanted[3])
                    assert_soft(row, sample)
                case DocumentRow():
                    assert sample["tokens"] == array(row.ids)
                    assert sample["source"] == row.source
                case PackedRow():
                    assert sample["tokens"] == array(row.ids[0])
                    assert sample["positions"] == array(row.positions)
                    assert sample["starts"] == array(row.starts)


def assert_soft(row: RawRow, sample: Mapping[str, Any]) -> None:
    """Assert that a sample has the real values of a row, part by part, bit by bit."""
    shape, dtype, values = sample.get("soft", ([0], "float16", []))
    flat = np.array(values, dtype)
    assert (dtype, shape) == ("float16", [flat.size])
    at = 0
    for part, facts in zip(row.parts, sample["parts"], strict=True):
        if part.soft is not None:
            found = flat[at : at + len(part) * facts["width"]]
            assert found.tobytes() == part.soft.tobytes()
            at += found.size
    assert at == flat.size


def test_files_are_cut_where_they_are_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mds, "_FILE_BYTES", 3000)
    shards: list[list[Parts]] = [[(text(200, i),) for i in range(7)], [(text(2000),)]]
    sink, names, rows = made("mds", tmp_path / "set", layout_of(FLAT, "document"), shards)
    assert len(names) == 5
    data = tmp_path / "set" / "data"
    index = json.loads((data / "index.json").read_text())
    assert [shard["samples"] for shard in index["shards"]] == [3, 3, 1, 1]
    for shard in index["shards"]:
        assert (data / shard["raw_data"]["basename"]).stat().st_size == shard["raw_data"]["bytes"]
    opened = sink.open(data, names)
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(opened[i].ids, row.ids)  # type: ignore[union-attr]


def test_what_is_too_long_for_the_format_is_said(tmp_path: Path) -> None:
    writer = mds.MdsWriter(tmp_path, 0, b"")

    class Long(bytes):
        def __len__(self) -> int:
            return 1 << 32

    writer._samples = [Long()]
    with pytest.raises(LimitExceeded, match="4 GiB"):
        writer.close()
