"""torchtitan's files, read as its own example of a pretokenized source does: with NumPy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import CorruptStream

from ..rows import FLAT, layout_of, made, picture, text


@pytest.mark.parametrize("layout", ["document", "packed"])
def test_documents(tmp_path: Path, layout: str) -> None:
    shards = [[(text(20), picture(2, 3)), (), (text(3),)], [], [(text(1),)] * 2]
    _, names, rows = made("torchtitan", tmp_path / "set", layout_of(FLAT, layout), shards)
    assert names[:2] == ["tokens.bin", "document_offsets.npy"]
    tokens = np.memmap(tmp_path / "set/data/tokens.bin", np.uint32, "r")
    offsets = np.load(tmp_path / "set/data/document_offsets.npy")
    assert (offsets.dtype, len(offsets)) == (np.int64, len(rows) + 1)
    for i, row in enumerate(rows):
        start, end = offsets[i : i + 2]
        np.testing.assert_array_equal(tokens[start:end], row.ids[0])
    assert offsets[-1] == len(tokens)


def test_offsets_of_another_type_are_refused(tmp_path: Path) -> None:
    layout = layout_of(FLAT, "document")
    sink, names, _ = made("torchtitan", tmp_path / "set", layout, [[(text(3),)]])
    for wrong in (np.zeros((2, 2), np.int64), np.zeros(2, np.int32), np.zeros(0, np.int64)):
        np.save(tmp_path / "set/data/document_offsets.npy", wrong)
        with pytest.raises(CorruptStream, match="no offsets of documents"):
            sink.open(tmp_path / "set/data", names)
