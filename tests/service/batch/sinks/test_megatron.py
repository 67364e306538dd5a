"""Megatron's files, read by a reader that knows nothing but their layout."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.service.batch.sinks import open_sink
from omnicodec.service.batch.sinks.base import DocumentRow

from ..rows import FLAT, PARALLEL, layout_of, made, sound, text, write

TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}


def read(folder: Path) -> tuple[np.dtype, list[np.ndarray], list[int]]:
    """Return the type, the sequences and the document indices of `tokens.bin` and `tokens.idx`."""
    index = (folder / "tokens.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, documents = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    at = 34
    lengths = np.frombuffer(index, "<i4", sequences, at)
    pointers = np.frombuffer(index, "<i8", sequences, at + 4 * sequences)
    at += 12 * sequences
    starts = np.frombuffer(index, "<i8", documents, at).tolist()
    assert len(index) == at + 8 * documents
    data = (folder / "tokens.bin").read_bytes()
    dtype = np.dtype(TYPES[code])
    found = [
        np.frombuffer(data, dtype, n, p) if n else np.empty(0, dtype)
        for n, p in zip(lengths.tolist(), pointers.tolist(), strict=True)
    ]
    assert len(data) == int(lengths.astype(np.int64).sum()) * dtype.itemsize
    assert (starts[0], starts[-1], len(starts)) == (0, sequences, documents)
    return dtype, found, starts


@given(st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=4))
@settings(max_examples=25)
def test_documents(tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]]) -> None:
    folder = tmp_path_factory.mktemp("megatron")
    shards = [[(text(size, size),) for size in shard] for shard in sizes]
    _, names, rows = made("megatron", folder / "set", layout_of(FLAT, "document"), shards)
    assert names == ["tokens.bin", "tokens.idx"]
    dtype, found, starts = read(folder / "set" / "data")
    assert dtype == np.int32, "65,536 codes and more do not fit in 16 bits"
    assert starts == list(range(len(rows) + 1))
    for row, ids in zip(rows, found, strict=True):
        assert isinstance(row, DocumentRow)
        np.testing.assert_array_equal(row.ids[0], ids)


@pytest.mark.parametrize(("size", "dtype"), [(65_499, "<u2"), (65_500, "<i4")])
def test_type_is_told_by_the_size_of_the_vocabulary(tmp_path: Path, size: int, dtype: str) -> None:
    facts = layout_of(FLAT, "document").facts() | {"size": size}
    largest = np.array([[size - 1, 0, 7]], np.int32)
    empty = np.empty((1, 0), np.int32)
    rows = [DocumentRow("", "", largest), DocumentRow("", "", empty)]
    sink = open_sink("megatron", facts)
    names = write(sink, tmp_path / "set", [rows])
    found_type, found, starts = read(tmp_path / "set" / "data")
    assert found_type == np.dtype(dtype)
    assert [ids.tolist() for ids in found] == [[size - 1, 0, 7], []]
    assert starts == [0, 1, 2]
    opened = sink.open(tmp_path / "set" / "data", names)
    assert [row.ids.tolist() for row in opened] == [[[size - 1, 0, 7]], [[]]]


def test_sequences_of_one_length(tmp_path: Path) -> None:
    layout = layout_of(PARALLEL, "packed", length=10)
    shards = [[(sound(3), text(25))], [(text(4),)]]
    _, _, rows = made("megatron", tmp_path / "set", layout, shards)
    dtype, found, starts = read(tmp_path / "set" / "data")
    assert dtype == np.uint16
    assert starts == list(range(len(rows) + 1))
    # All rows of a position stand together.
    assert {ids.size for ids in found} == {16 * 10}
    for row, ids in zip(rows, found, strict=True):
        np.testing.assert_array_equal(row.ids, ids.reshape(10, 16).T)


def test_another_index_is_refused(tmp_path: Path) -> None:
    from omnicodec.codecs import CorruptStream

    sink, names, _ = made("megatron", tmp_path / "set", layout_of(FLAT, "document"), [[(text(3),)]])
    index = tmp_path / "set" / "data" / "tokens.idx"
    whole = index.read_bytes()
    for at, value, message in [
        (0, b"XXXXXXXXX", "no index of Megatron's"),
        (9, b"\x02", "not one that omnicodec wrote"),
        (17, b"\x08", "ids of another type"),
        (18, b"\xff" * 8, "cut off"),
    ]:
        index.write_bytes(whole[:at] + value + whole[at + len(value) :])
        with pytest.raises(CorruptStream, match=message):
            sink.open(tmp_path / "set" / "data", names)
