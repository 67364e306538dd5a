"""Rows of a data set, counted by the readers that its format is made for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
import webdataset
from datasets import load_dataset

from omnicodec.service import batch

_STREAMING = """\
import sys
sys.path.append(sys.argv[1])
from streaming import StreamingDataset
print(sum(1 for _ in StreamingDataset(local=sys.argv[2], shuffle=False, batch_size=1)))
"""


def rows(folder: Path, manifest: dict[str, Any]) -> dict[str, int]:
    """Return how many rows each reader finds: `omnicodec.service.batch.open` and the others."""
    counted = _JUDGES[manifest["sink"]](folder / "data")
    return {"omnicodec.service.batch.open": len(batch.open(folder)), **counted}


def _parquet(data: Path) -> dict[str, int]:
    loaded = load_dataset(
        "parquet", data_dir=str(data), split="train", cache_dir=str(data.parent / ".tmp")
    )
    return {"pyarrow": pyarrow.dataset.dataset(data).count_rows(), "datasets": len(loaded)}


def _megatron(data: Path) -> dict[str, int]:
    """Read the index by Megatron-LM's layout rules."""
    index = (data / "tokens.idx").read_bytes()
    if index[:9] != b"MMIDIDX\0\0":
        sys.exit("megatron: no index")
    sequences, documents = np.frombuffer(index, "<u8", 2, 18)
    lengths = np.frombuffer(index, "<i4", int(sequences), 34)
    size = {8: 2, 4: 4}[index[17]]
    if int(lengths.sum()) * size != (data / "tokens.bin").stat().st_size:
        sys.exit("megatron: the index does not cover the tokens")
    return {"Megatron-LM's rules": int(documents) - 1}


def _torchtitan(data: Path) -> dict[str, int]:
    offsets = np.load(data / "document_offsets.npy", allow_pickle=False)
    if offsets[-1] * 4 != (data / "tokens.bin").stat().st_size:
        sys.exit("torchtitan: the offsets do not cover the tokens")
    return {"numpy": len(offsets) - 1}


def _mds(data: Path) -> dict[str, int]:
    if not (place := os.environ.get("OMNICODEC_STREAMING")):
        sys.exit("OMNICODEC_STREAMING has to name a folder with mosaicml-streaming")
    command = [sys.executable, "-P", "-c", _STREAMING, place, str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"streaming: {done.stderr[-2000:]}")
    return {"streaming": int(done.stdout.split()[-1])}


def _wds(data: Path) -> dict[str, int]:
    shards = sorted(map(str, data.glob("*.tar")))
    return {"webdataset": sum(1 for _ in webdataset.WebDataset(shards, shardshuffle=False))}


_JUDGES = {
    "parquet": _parquet,
    "megatron": _megatron,
    "torchtitan": _torchtitan,
    "mds": _mds,
    "wds": _wds,
}
