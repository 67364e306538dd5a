"""What is about a run as a whole: its memory, going on with it, and what a driver bears."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from benches._batch_media import parquet

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.engines.base import Committed, Engine, Event
from omnicodec.service.batch.engines.ray import RayEngine
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.prepare import Wishes, prepare
from omnicodec.service.batch.run import tokenize
from omnicodec.service.batch.shards import write_shard

_SIDE: Final = 32
_SAMPLE_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.002
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def memory(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the memory of all processes of a run over many small pictures, as time goes on."""
    source = folder / "small.parquet"
    parquet(source, "image", _small(options.items), 1000)
    out = folder / "memory"
    command = _command(
        "tokenize", source, "-o", out, "-c", "image/vq", "--workers", options.workers,
        "--device", "cpu",
    )  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    samples: list[tuple[float, int]] = []
    begun: float | None = None
    while process.poll() is None:
        used = sum(map(_resident, _tree(process.pid)))
        samples.append((time.perf_counter() - began, used))
        if begun is None and Folder(out).committed():
            begun = samples[-1][0]
        time.sleep(_SAMPLE_SECONDS)
    if process.returncode:
        raise InvalidInput(f"omnicodec tokenize failed: {process.communicate()[1]}")
    steady = [used for at, used in samples if begun is not None and at >= begun]
    quarter = len(steady) // 4
    if not quarter:
        raise InvalidInput("the run was too short to see its memory")
    first, last = steady[:quarter], steady[-quarter:]
    told = {
        "items": options.items,
        "seconds": samples[-1][0],
        "first_quarter_peak_mb": max(first) / 1e6,
        "last_quarter_peak_mb": max(last) / 1e6,
        "first_quarter_median_mb": median(first) / 1e6,
        "last_quarter_median_mb": median(last) / 1e6,
        "peak_mb": max(used for _, used in samples) / 1e6,
    }
    every = max(1, len(samples) // 200)
    return {
        "told": told,
        "samples": [(round(at, 1), used // 10**6) for at, used in samples[::every]],
    }


def resume(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the seconds from the command to the first new shard, when many are done."""
    source = folder / "lines.parquet"
    parquet(source, "text", [f"text {n}" for n in range(options.shards + 4)], 1)
    job, vocabulary = prepare(
        Wishes(sources=[str(source)], codecs=["text/bytes"], shard_items=1, device="cpu")
    )
    out = folder / "resume"
    began = time.perf_counter()
    with contextlib.suppress(_Ended):
        tokenize(job, vocabulary, out, engine=_Here(options.shards))
    wrote = time.perf_counter() - began
    done = len(Folder(out).committed())
    command = _command(
        "tokenize", source, "-o", out, "-c", "text/bytes", "--shard-items", 1, "--workers", 1
    )
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started = committed = None
    while process.poll() is None:
        at = time.perf_counter() - began
        if started is None and _in_work(out):
            started = at
        if committed is None and Folder(out).record_of(done).exists():
            committed = at
        time.sleep(_POLL_SECONDS)
    if process.returncode or committed is None:
        raise InvalidInput(f"omnicodec tokenize failed: {process.communicate()[1]}")
    told = {
        "shards": done,
        "first_shard_begun_seconds": committed if started is None else min(started, committed),
        "first_shard_written_seconds": committed,
        "run_seconds": time.perf_counter() - began,
        "seconds_of_a_shard_of_one_text": wrote / done,
    }
    return {"told": told}


def driver(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return how many shards a second Ray's driver hands out, when they are no work at all."""
    place = Path(__file__).resolve().parents[1]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(place), before)))
    engine = RayEngine(workers=options.workers, function="benches._batch_long:no_work")
    home = folder / "driver"
    home.mkdir()
    at = [
        time.perf_counter() for event in engine.run(home, range(2000)) if type(event) is Committed
    ]
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    counted = at[len(at) // 4 :]
    return {"told": {"shards_per_second": (len(counted) - 1) / (counted[-1] - counted[0])}}


def no_work(*_: object, **__: object) -> None:
    """Stand in for writing a shard."""


class _Ended(BaseException):
    """The run is ended, as by a signal."""


class _Here(Engine):
    """Writes so many shards in this process, and ends the run."""

    def __init__(self, count: int) -> None:
        self._count = count

    def run(self, folder: Path, shards: Sequence[int]) -> Iterator[Event]:
        for shard in shards[: self._count]:
            write_shard(folder, shard, tell=lambda _: None, device="cpu")
            yield Committed(shard)
        raise _Ended


def _small(count: int) -> list[bytes]:
    """Return small JPEGs, some hundred of them again and again."""
    from PIL import Image

    rng = np.random.default_rng(0)
    found = []
    for _ in range(min(count, 300)):
        file = io.BytesIO()
        low = rng.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(low).resize((_SIDE, _SIDE)).save(file, "jpeg")
        found.append(file.getvalue())
    return [found[n % len(found)] for n in range(count)]


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-P", "-m", "omnicodec.service.cli", *map(str, arguments)]


def _in_work(out: Path) -> bool:
    try:
        return any(re.match(r"\d+-", name.name) for name in (out / ".tmp").iterdir())
    except OSError:
        return False


def _tree(root: int) -> list[int]:
    """Return a process and all below it."""
    found = [root]
    for pid in found:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _resident(pid: int) -> int:
    """Return the bytes of a process in memory that it does not share with files."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return _PAGE * (int(resident) - int(shared))
