"""What Megatron and torchtitan have in common: all ids in one file, back to back.

A shard's files are parts of the final ones, and `finish` joins them:

    00000012.bin              the ids of its sequences
    00000012.lengths.npy      int64 (S,): ids in each sequence
    00000012.pieces.npy       packed only: int32 (P, 2), as below
    00000012.counts.npy       packed only: int64 (S,): pieces in each sequence

A document is one sequence; of several rows, all ids of a position stand together. Packed, a
sequence is one of the fixed length, and what its format has no place for stands beside it, for
`open` and for masks:

    tokens.pieces.npy         int32 (P, 2): where a document, a piece of one, or padding begins in
                              its sequence, and the position in its document
    tokens.sequences.npy      int64 (S + 1,): the first piece of each sequence
"""

from __future__ import annotations

import shutil
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from omnicodec.codecs import CorruptStream
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
from omnicodec.service.batch.sinks.files import guarded, in_rows, in_steps, replaced

Offsets = NDArray[np.int64]

_BUFFER = 1 << 20


class FlatWriter(ShardWriter):
    """Writes ids as they come, and keeps lengths until the end."""

    def __init__(self, folder: Path, index: int, dtype: DTypeLike, *, packed: bool) -> None:
        self._base = folder / f"{index:08d}"
        self._dtype, self._packed = np.dtype(dtype), packed
        self._file = open(self._base.with_suffix(".bin"), "wb", buffering=_BUFFER)  # noqa: SIM115
        self._lengths = array("q")
        self._counts = array("q")
        self._pieces: list[Ids] = []

    def write(self, row: Row) -> None:
        assert not isinstance(row, RawRow)
        ids = in_steps(row.ids)
        self._file.write(ids.astype(self._dtype).data)
        self._lengths.append(ids.size)
        if isinstance(row, PackedRow):
            self._counts.append(len(row.starts))
            self._pieces.append(np.stack([row.starts, row.positions[row.starts]], axis=1))

    def close(self) -> None:
        self._file.close()
        self._save(".lengths.npy", np.array(self._lengths, np.int64), "<i8")
        if self._packed:
            pieces = [np.empty((0, 2), np.int32), *self._pieces]
            self._save(".counts.npy", np.array(self._counts, np.int64), "<i8")
            self._save(".pieces.npy", np.concatenate(pieces), "<i4")

    def _save(self, suffix: str, array: NDArray[Any], dtype: str) -> None:
        self._base.with_suffix(suffix).write_bytes(npy.to_bytes(array, dtype))

    def abandon(self) -> None:
        self._file.close()


class FlatSink(Sink):
    """Joins the shards' files to one, and reads that."""

    layouts = ("document", "packed")
    index_name: ClassVar[str]

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of the ids, little-endian."""

    @abstractmethod
    def write_index(self, file: IO[bytes], shards: Shards) -> None:
        """Write the format's index."""

    @abstractmethod
    def read_index(self, path: Path) -> Offsets:
        """Return where each sequence begins, and the last one ends, in ids, int64 (S + 1,)."""

    def open_shard(self, folder: Path, index: int) -> ShardWriter:
        return FlatWriter(folder, index, self.dtype, packed=self.facts["layout"] == "packed")

    def finish(self, data: Path, shards: Sequence[Sequence[str]], temporary: Path) -> list[str]:
        """Join all shards; for as long as that takes, the ids are on the disk twice."""
        parts = Shards(data, [name.removesuffix(".bin") for s in shards for name in s
                              if name.endswith(".bin")])  # fmt: skip
        names = ["tokens.bin", self.index_name]
        with replaced(data / names[0], temporary) as out:
            for path in parts.paths(".bin"):
                with open(path, "rb") as file:
                    shutil.copyfileobj(file, out, _BUFFER)
        with replaced(data / names[1], temporary) as out:
            self.write_index(out, parts)
        if self.facts["layout"] == "packed":
            names += ["tokens.pieces.npy", "tokens.sequences.npy"]
            with replaced(data / names[2], temporary) as out:
                pieces = list(parts.arrays(".pieces.npy"))
                npy.write(out, "<i4", (sum(map(len, pieces)), 2), pieces)
            with replaced(data / names[3], temporary) as out:
                npy.write(out, "<i8", (len(parts) + 1,), parts.offsets(".counts.npy"))
        return names

    def open(self, data: Path, names: Sequence[str]) -> Rows:
        return FlatRows(self, data, names)


class Shards:
    """The files of all shards, read one after another."""

    def __init__(self, data: Path, bases: Sequence[str]) -> None:
        self._data, self._bases = data, bases
        self._sequences = sum(map(len, self.arrays(".lengths.npy")))

    def __len__(self) -> int:
        """Return the number of sequences in all."""
        return self._sequences

    def paths(self, suffix: str) -> Iterator[Path]:
        return (self._data / f"{base}{suffix}" for base in self._bases)

    def arrays(self, suffix: str) -> Iterator[NDArray[Any]]:
        """Yield the array of each shard, mapped rather than read."""
        return (guarded(path, npy.mapped) for path in self.paths(suffix))

    def offsets(self, suffix: str) -> Iterator[Offsets]:
        """Yield the running sum of all lengths or counts, from 0, in pieces."""
        end = 0
        yield np.zeros(1, np.int64)
        for lengths in self.arrays(suffix):
            yield np.cumsum(lengths, dtype=np.int64) + end
            end += int(lengths.sum())


class FlatRows(Rows):
    """Sequences of mapped files. They have no keys: that of a row is its number, in 8 digits.

    May be pickled or forked.
    """

    def __init__(self, sink: FlatSink, data: Path, names: Sequence[str]) -> None:
        packed = sink.facts["layout"] == "packed"
        wanted = ["tokens.bin", sink.index_name]
        wanted += ["tokens.pieces.npy", "tokens.sequences.npy"] if packed else []
        for name in wanted:
            if name not in names:
                raise CorruptStream(f"a {sink.name} data set has a file {name!r}; here is none")
        self._sink, self._data, self._packed = sink, data, packed
        self._map()

    def _map(self) -> None:
        sink, data = self._sink, self._data
        self._offsets = guarded(data / sink.index_name, sink.read_index)
        bin_path = data / "tokens.bin"
        nbytes = guarded(bin_path, lambda path: path.stat().st_size)
        end = int(self._offsets[-1])
        if nbytes != end * sink.dtype.itemsize:
            raise CorruptStream(f"tokens.bin has {nbytes} bytes; its index tells of {end} ids")
        # An empty file cannot be mapped.
        self._ids: NDArray[Any] = (
            guarded(bin_path, lambda path: np.memmap(path, sink.dtype, "r"))
            if nbytes
            else np.empty(0, sink.dtype)
        )
        if self._packed:
            self._pieces = guarded(data / "tokens.pieces.npy", npy.mapped)
            self._firsts = guarded(data / "tokens.sequences.npy", npy.mapped)
            if self._firsts.shape != self._offsets.shape or self._firsts[-1] != len(self._pieces):
                raise CorruptStream("tokens.sequences.npy is not that of this data set")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        start, stop = int(self._offsets[index]), int(self._offsets[index + 1])
        if not 0 <= start <= stop <= len(self._ids):
            raise CorruptStream(f"{self._sink.index_name}: sequence {index} ends before it begins")
        ids = in_rows(np.asarray(self._ids[start:stop]), self._sink.facts["rows"])
        if not self._packed:
            return DocumentRow(f"{index:08d}", "", ids)
        pieces = np.asarray(self._pieces[self._firsts[index] : self._firsts[index + 1]])
        starts, length = pieces[:, 0], ids.shape[1]
        if not len(starts) or starts[0] or (np.diff([*starts, length]) <= 0).any():
            raise CorruptStream(f"tokens.pieces.npy: the pieces of sequence {index} overlap")
        shifts = np.repeat(pieces[:, 1] - starts, np.diff([*starts, length]))
        positions = np.arange(length, dtype=np.int32) + shifts
        return PackedRow(ids, positions.astype(np.int32), starts.copy())

    def __getstate__(self) -> dict[str, Any]:
        return {"_sink": self._sink, "_data": self._data, "_packed": self._packed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()
