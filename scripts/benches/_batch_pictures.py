"""JPEG files to Parquet: engines beside the codec in process, which opens the same files."""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benches._batch_media import jpegs
from benches._batch_rates import Rounds, speed

from omnicodec.codecs import Image, load
from omnicodec.service.batch.engines.base import Engine
from omnicodec.service.batch.engines.local import LocalEngine
from omnicodec.service.batch.engines.ray import RayEngine
from omnicodec.service.batch.prepare import Wishes, prepare

_SHARD: Final = 16


def measure(options: argparse.Namespace, folder: Path, parts: Sequence[str]) -> dict[str, Any]:
    """Return the figures of each codec: items a second of each way, and their ratios."""
    source = folder / "pictures"
    nbytes = jpegs(source, options.pictures, options.side)
    found = {}
    for codec in options.codecs.split(","):
        figures = _codec(options, codec, source, folder, parts)
        found[codec] = {
            **figures,
            "pictures": options.pictures,
            "side": options.side,
            "jpeg_bytes": nbytes,
        }
    return found


def _codec(
    options: argparse.Namespace, codec: str, source: Path, folder: Path, parts: Sequence[str]
) -> dict[str, Any]:
    job, vocabulary = prepare(
        Wishes(sources=[str(source)], codecs=[codec], shard_items=_SHARD, device="cpu")
    )
    numbers, starts = itertools.count(), {}
    stored: dict[str, float] = {}

    def engine(name: str, make: Callable[[int], Engine], workers: int) -> Callable[[], float]:
        def run() -> float:
            out = folder / f"out-{next(numbers)}"
            found = speed(job, vocabulary, out, make(workers), workers)
            starts.setdefault(name, []).append(found.start)
            files = found.manifest.files.values()
            stored["bytes_per_token"] = sum(f.nbytes for f in files) / found.manifest.tokens
            return found.items

        return run

    many = options.workers
    ways: dict[str, Callable[[], float]] = {
        "in process, 1 thread": lambda: _in_process(codec, source, 1),
        f"local, {many} workers": engine("local", LocalEngine, many),
    }
    ratios = []
    if "pictures" in parts:
        ways["local, 1 worker"] = engine("local", LocalEngine, 1)
        ways[f"in process, {many} threads"] = lambda: _in_process(codec, source, many)
        ratios += [
            ("local, 1 worker", "in process, 1 thread"),
            (f"local, {many} workers", f"in process, {many} threads"),
            (f"local, {many} workers", "local, 1 worker"),
        ]
    if "ray" in parts:
        ways[f"Ray, {many} workers"] = engine("Ray", lambda n: RayEngine(workers=n), many)
        ratios.append((f"Ray, {many} workers", f"local, {many} workers"))
    rounds = Rounds()
    rounds.measure(ways, options.rounds)
    return {**rounds.to_dict(ratios), "first_shard_seconds": starts, **stored}


def _in_process(codec: str, source: Path, threads: int) -> float:
    """Return the pictures a second of opening and encoding one after the other."""
    import torch

    network = load(codec, device="cpu")
    paths = sorted(source.iterdir())
    before, variable = torch.get_num_threads(), os.environ.get("OMNICODEC_THREADS")
    torch.set_num_threads(threads)
    os.environ["OMNICODEC_THREADS"] = str(threads)
    try:
        network.encode([Image.open(path) for path in paths[:_SHARD]])
        began = time.perf_counter()
        for at in range(0, len(paths), _SHARD):
            network.encode([Image.open(path) for path in paths[at : at + _SHARD]])
        return len(paths) / (time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
        if variable is None:
            del os.environ["OMNICODEC_THREADS"]
        else:
            os.environ["OMNICODEC_THREADS"] = variable
