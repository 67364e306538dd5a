"""Megatron-LM: `tokens.bin` and `tokens.idx`, as `IndexedDataset` of megatron.core reads them.

All little-endian. `tokens.idx`:

    0    9 bytes   MMIDIDX, 0, 0
    9    u64       version, 1
    17   u8        type of ids: 8 for u16, 4 for i32
    18   u64       S, the number of sequences
    26   u64       S + 1
    34   i32[S]    length of each sequence, in ids
         i64[S]    where each begins in tokens.bin, in bytes
         i64[S+1]  the first sequence of each document: 0 ... S, as each document is one sequence

`tokens.bin` holds the ids back to back: u16 for vocabularies below 65,500 ids, else i32.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Any

import numpy as np

from omnicodec.codecs import CorruptStream, LimitExceeded
from omnicodec.service.batch.sinks.flat import FlatSink, Offsets, Shards

_HEAD = struct.Struct("<9sQBQQ")
_MAGIC = b"MMIDIDX\0\0"
_SMALL = 65_500
_CHUNK = 1 << 16


class MegatronSink(FlatSink):
    """`tokens.bin` and `tokens.idx`."""

    name = "megatron"
    index_name = "tokens.idx"

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("<u2" if self.facts["size"] < _SMALL else "<i4")

    def write_index(self, file: IO[bytes], shards: Shards) -> None:
        code = 8 if self.dtype.itemsize == 2 else 4
        count = len(shards)
        file.write(_HEAD.pack(_MAGIC, 1, code, count, count + 1))
        for lengths in shards.arrays(".lengths.npy"):
            if len(lengths) and int(lengths.max()) >= 1 << 31:
                raise LimitExceeded(
                    "a document of 2^31 ids or more has no place in Megatron's index"
                )
            file.write(lengths.astype("<i4").data)
        written = 0
        for offsets in shards.offsets(".lengths.npy"):
            # The last one is where the file ends, which the index does not tell.
            some = offsets[: count - written]
            file.write((some * self.dtype.itemsize).astype("<i8").data)
            written += len(some)
        for start in range(0, count + 1, _CHUNK):
            file.write(np.arange(start, min(start + _CHUNK, count + 1), dtype="<i8").data)

    def read_index(self, path: Path) -> Offsets:
        with open(path, "rb") as file:
            head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(_MAGIC):
            raise CorruptStream(f"{path.name} is no index of Megatron's")
        _, version, code, count, documents = _HEAD.unpack(head)
        nbytes = _HEAD.size + 12 * count + 8 * documents
        if version != 1 or documents != count + 1 or path.stat().st_size != nbytes:
            raise CorruptStream(f"{path.name} is cut off, or not one that omnicodec wrote")
        if code != (8 if self.dtype.itemsize == 2 else 4):
            raise CorruptStream(f"{path.name} is of ids of another type")
        if not count:
            return np.zeros(1, np.int64)
        lengths = np.memmap(path, "<i4", "r", _HEAD.size, (count,))
        offsets = np.zeros(count + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return offsets
