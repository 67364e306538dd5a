"""Parquet to Megatron with `text/bpe`, beside the library `tokenizers` on the same texts."""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any, Final

from benches._batch_media import parquet, texts
from benches._batch_rates import Rounds, speed

from omnicodec.codecs import load
from omnicodec.service.batch.engines.local import LocalEngine
from omnicodec.service.batch.prepare import Wishes, prepare

_GROUP: Final = 1000


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return texts a second of the engine and of the library, with and without its reading."""
    from tokenizers import Tokenizer

    values = texts(options.texts)
    path = folder / "texts.parquet"
    nbytes = parquet(path, "text", values, _GROUP)
    tokenizer = Tokenizer.from_str(load("text/bpe", device="cpu").to_json().decode())
    job, vocabulary = prepare(
        Wishes(
            sources=[str(path)],
            codecs=["text/bpe"],
            format="megatron",
            shard_items=max(_GROUP, options.texts // 60),
            device="cpu",
        )
    )
    numbers = itertools.count()
    stored: dict[str, float] = {}
    local = f"local, {options.workers} workers"

    def engine() -> float:
        out = folder / f"texts-{next(numbers)}"
        found = speed(job, vocabulary, out, LocalEngine(options.workers), options.workers)
        files = found.manifest.files.values()
        stored["bytes_per_token"] = sum(f.nbytes for f in files) / found.manifest.tokens
        stored["tokens_per_byte"] = found.manifest.tokens / sum(map(len, map(str.encode, values)))
        return found.items

    rounds = Rounds()
    rounds.measure(
        {
            local: engine,
            "tokenizers": lambda: _alone(tokenizer, values),
            "tokenizers and pyarrow": lambda: _reading(tokenizer, path, len(values)),
        },
        options.rounds,
    )
    ratios = [(local, "tokenizers"), (local, "tokenizers and pyarrow")]
    facts = {"texts": len(values), "parquet_bytes": nbytes, **stored}
    return {**rounds.to_dict(ratios), **facts}


def _alone(tokenizer: Any, values: list[str]) -> float:
    began = time.perf_counter()
    for at in range(0, len(values), _GROUP):
        for each in tokenizer.encode_batch_fast(values[at : at + _GROUP], add_special_tokens=False):
            _ = each.ids
    return len(values) / (time.perf_counter() - began)


def _reading(tokenizer: Any, path: Path, count: int) -> float:
    import pyarrow.parquet as pq

    began = time.perf_counter()
    for batch in pq.ParquetFile(path).iter_batches(_GROUP):
        column = batch.column(0).to_pylist()
        for each in tokenizer.encode_batch_fast(column, add_special_tokens=False):
            _ = each.ids
    return count / (time.perf_counter() - began)
