"""WebDataset: a tar each shard, `00000012.tar`, and beside it where its samples begin.

The key of a sample is the numbers of its shard and row, `00000012-00000345`, which are unique and
hold no dots or slashes whatever an item's own key is; that stands in its `json`. Members:

    raw        json {key, source, parts: [{codec, fingerprint, grid, extent}, ...]};
               0.npy, 1.npy, ... for each part: int32 (codebooks, N), or real values (N, D)
    document   json {key, source}; npy int32 (N,), or (rows, N) where there are several
    packed     npy as above; positions.npy int32 (length,); starts.npy int32

Tars are USTAR, all members with mode 0644, owner 0 and time 0. `00000012.rows.npy`, int64, holds
the offset of each sample in the tar, and of its end.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import CorruptStream, LimitExceeded, Tokens
from omnicodec.service.batch.sinks import npy
from omnicodec.service.batch.sinks.base import (
    DocumentRow,
    Ids,
    PackedRow,
    RawRow,
    Row,
    Rows,
    ShardWriter,
    Sink,
)
from omnicodec.service.batch.sinks.files import ShardedRows, selected, soft_part

_BLOCK: Final = 512
_LARGEST: Final = 1 << 33  # 11 octal digits
_BUFFER: Final = 1 << 20


class WdsSink(Sink):
    """A tar each shard."""

    name = "wds"
    layouts = ("raw", "document", "packed")

    def open_shard(self, folder: Path, index: int) -> ShardWriter:
        return WdsWriter(folder, index)

    def open(self, data: Path, names: Sequence[str]) -> Rows:
        return WdsRows(selected(data, names, ".tar"), self.facts)


class WdsWriter(ShardWriter):
    """Writes members as rows come."""

    def __init__(self, folder: Path, index: int) -> None:
        self._path = folder / f"{index:08d}.tar"
        self._index = index
        self._file = open(self._path, "wb", buffering=_BUFFER)  # noqa: SIM115
        self._offsets = array("q", [0])

    def write(self, row: Row) -> None:
        key = f"{self._index:08d}-{len(self._offsets) - 1:08d}"
        members = b"".join(_member(f"{key}.{name}", data) for name, data in _members(row))
        self._file.write(members)
        self._offsets.append(self._offsets[-1] + len(members))

    def close(self) -> None:
        self._file.write(bytes(2 * _BLOCK))
        self._file.close()
        offsets = np.array(self._offsets, np.int64)
        self._path.with_suffix(".rows.npy").write_bytes(npy.to_bytes(offsets, "<i8"))

    def abandon(self) -> None:
        self._file.close()


def _members(row: Row) -> list[tuple[str, bytes]]:
    if isinstance(row, PackedRow):
        return [
            ("npy", npy.to_bytes(row.ids[0] if len(row.ids) == 1 else row.ids)),
            ("positions.npy", npy.to_bytes(row.positions)),
            ("starts.npy", npy.to_bytes(row.starts)),
        ]
    facts: dict[str, Any] = {"key": row.key, "source": row.source}
    if isinstance(row, DocumentRow):
        ids = row.ids[0] if len(row.ids) == 1 else row.ids
        return [("json", json.dumps(facts).encode()), ("npy", npy.to_bytes(ids))]
    facts["parts"] = [
        {
            "codec": part.codec,
            "fingerprint": part.fingerprint,
            "grid": part.grid,
            "extent": dict(sorted(part.extent.items())),
        }
        for part in row.parts
    ]
    arrays = [(f"{i}.npy", _array(part)) for i, part in enumerate(row.parts)]
    return [("json", json.dumps(facts).encode()), *arrays]


def _array(part: Tokens) -> bytes:
    if part.soft is None:
        return npy.to_bytes(part.ids)
    return npy.to_bytes(part.soft, f"<f{part.soft.itemsize}")


def _member(name: str, data: bytes) -> bytes:
    if len(data) >= _LARGEST:
        raise LimitExceeded("a part of 8 GiB of tokens has no place in a tar")
    fields = [
        name.encode().ljust(100, b"\0"),
        *(b"%07o\0" % number for number in (0o644, 0, 0)),
        *(b"%011o\0" % number for number in (len(data), 0)),
        b" " * 8,
        b"0".ljust(101, b"\0"),
        b"ustar\x0000",
    ]
    head = b"".join(fields).ljust(_BLOCK, b"\0")
    # The sum is taken with blanks in its own place.
    head = b"%s%06o\0 %s" % (head[:148], sum(head), head[156:])
    return head + data + bytes(-len(data) % _BLOCK)


class WdsRows(ShardedRows["_File"]):
    """Samples, each by one read at the place that the file beside the tar tells."""

    def __init__(self, paths: Sequence[Path], facts: Mapping[str, Any]) -> None:
        self._facts = facts
        super().__init__(paths)

    def _count(self, path: Path) -> int:
        offsets = _offsets(path)
        if path.stat().st_size != offsets[-1] + 2 * _BLOCK:
            raise CorruptStream(f"{path.name} is not as long as the file beside it says")
        return len(offsets) - 1

    def _open(self, path: Path) -> _File:
        return _File(path, self._facts["layout"])


def _offsets(path: Path) -> NDArray[np.int64]:
    beside = path.with_suffix(".rows.npy")
    offsets = npy.mapped(beside)
    if offsets.dtype != np.int64 or offsets.ndim != 1 or not len(offsets):
        raise CorruptStream(f"{beside.name} holds no offsets of samples")
    return offsets


class _File:
    def __init__(self, path: Path, layout: str) -> None:
        self._name, self._layout = path.name, layout
        self._offsets = _offsets(path)
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115

    def row(self, index: int) -> Row:
        members = self._members(int(self._offsets[index]), int(self._offsets[index + 1]))
        if self._layout == "packed":
            ids, positions, starts = (
                _ids_of(members[name]) for name in ("npy", "positions.npy", "starts.npy")
            )
            return PackedRow(ids.reshape(1, -1) if ids.ndim == 1 else ids, positions, starts)
        facts = json.loads(members["json"])
        if self._layout == "document":
            ids = _ids_of(members["npy"])
            ids = ids.reshape(1, -1) if ids.ndim == 1 else ids
            return DocumentRow(facts["key"], facts["source"], ids)
        parts = [_part(part, members[f"{i}.npy"]) for i, part in enumerate(facts["parts"])]
        return RawRow(facts["key"], facts["source"], tuple(parts))

    def _members(self, begin: int, end: int) -> dict[str, bytes]:
        """Return the members of a sample by what follows its key; all headers are ours."""
        if not 0 <= begin < end <= self._offsets[-1]:
            raise CorruptStream(f"a sample of {self._name} ends before it begins")
        data = os.pread(self._file.fileno(), end - begin, begin)
        found: dict[str, bytes] = {}
        at = 0
        while at < len(data):
            head = data[at : at + _BLOCK]
            if head[257:262] != b"ustar":
                raise CorruptStream(f"{self._name} is damaged: there is no member at {begin + at}")
            name = head[:100].rstrip(b"\0").decode()
            size = int(head[124:135], 8)
            at += _BLOCK
            found[name.partition(".")[2]] = data[at : at + size]
            at += size + -size % _BLOCK
        if at != len(data):
            raise CorruptStream(f"{self._name} is cut off")
        return found

    def close(self) -> None:
        self._file.close()


def _part(facts: Mapping[str, Any], data: bytes) -> Tokens:
    array = npy.from_bytes(data)
    if array.dtype.kind == "f":
        return soft_part({**facts, "width": array.shape[-1]}, facts["extent"], array)
    grid = tuple(facts["grid"])
    return Tokens(facts["codec"], facts["fingerprint"], _ids_of(data), grid, facts["extent"])


def _ids_of(data: bytes) -> Ids:
    array = npy.from_bytes(data)
    if array.dtype != np.int32:
        raise CorruptStream(f"a member holds {array.dtype}, not int32")
    return array
