"""torchtitan's pretokenized source: `tokens.bin` and `document_offsets.npy`.

`tokens.bin` holds all ids as little-endian u32, `document_offsets.npy` int64 of shape (D + 1,):
document `i` is ids `offsets[i]` to `offsets[i + 1]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np

from omnicodec.codecs import CorruptStream
from omnicodec.service.batch.sinks import npy
from omnicodec.service.batch.sinks.flat import FlatSink, Offsets, Shards


class TorchtitanSink(FlatSink):
    """`tokens.bin` and `document_offsets.npy`."""

    name = "torchtitan"
    index_name = "document_offsets.npy"

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("<u4")

    def write_index(self, file: IO[bytes], shards: Shards) -> None:
        npy.write(file, "<i8", (len(shards) + 1,), shards.offsets(".lengths.npy"))

    def read_index(self, path: Path) -> Offsets:
        offsets: Offsets = npy.mapped(path)
        if offsets.dtype != np.int64 or offsets.ndim != 1 or not len(offsets):
            raise CorruptStream(f"{path.name} holds no offsets of documents")
        return offsets
