"""Kill `omnicodec tokenize` again and again, and compare what it makes with an undisturbed run.

    python scripts/kill_test.py --kills 50 -o docs/results/kill.json
    python scripts/kill_test.py --kills 10 --engine ray

A mixed data set is made (files of pictures and texts, broken ones, a tar of pairs) and turned into
tokens once. Then runs with one worker or two are ended at random moments: all their processes
by SIGKILL, by SIGINT, one worker by SIGKILL, or by a largest size of files, as of a full disk. The
same command goes on until it is done, and every byte must be that of the undisturbed run; then the
next data set begins, until there were so many ends.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from omnicodec.codecs.files import atomic_write
from omnicodec.service.evaluate import Environment

WAYS: Final = ("kill", "kill", "kill", "interrupt", "worker", "full")
SMALL: Final = 20_000
"""Bytes of the largest file where the disk is "full"."""

OK, INTERRUPTED, UNUSABLE = 0, 130, 3


def main() -> None:
    arguments = parse()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="omnicodec-kill-") as name:
        folder = Path(name)
        sources = make(folder / "sources", arguments.seed)
        whole = folder / "whole"
        start(sources, whole, "local", 1, arguments.format).wait()
        wanted = tree(whole)
        seconds = time.monotonic()
        start(sources, folder / "timed", arguments.engine, 2, arguments.format).wait()
        seconds = time.monotonic() - seconds
        # Ray's own files do not fit either where the disk is "full", and it does not start.
        ways = [way for way in WAYS if way != "full" or arguments.engine == "local"]
        assert "manifest.json" in wanted, "the undisturbed run did not end"
        ends: Counter[str] = Counter()
        done = 0
        while ends.total() < arguments.kills:
            out = folder / f"out-{done}"
            tries = 0
            while True:
                tries += 1
                way = chance.choice(ways) if ends.total() < arguments.kills else ""
                code = run(sources, out, way, arguments, chance.uniform(0.1, 1.1) * seconds, chance)
                if way and (code != OK or way == "worker"):
                    ends[way] += 1
                if code == OK:
                    break
                assert way, f"an undisturbed run ended with {code}"
            if tree(out) != wanted:
                raise SystemExit(
                    f"{out} differs behind {tries} runs: {differing(tree(out), wanted)}"
                )
            shutil.rmtree(out)
            done += 1
            print(f"{done} data sets the same, {ends.total()} ends: {dict(ends)}", flush=True)
    result = {
        "engine": arguments.engine,
        "format": arguments.format,
        "ends": dict(sorted(ends.items())),
        "data_sets": done,
        "same": done,
        "files": len(wanted),
        "seed": arguments.seed,
    }
    if arguments.output:
        facts = {"environment": asdict(Environment.here("cpu")), **result}
        atomic_write(arguments.output, json.dumps(facts, indent=1).encode() + b"\n")
    print(json.dumps(result))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="how many ends there are")
    parser.add_argument("--engine", default="local", choices=["local", "ray"])
    parser.add_argument("--format", default="megatron")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="where the result goes, as JSON")
    return parser.parse_args()


def make(folder: Path, seed: int) -> list[Path]:
    """Make the sources: a folder of files, and a tar of pictures with captions."""
    noise = np.random.default_rng(seed)
    files, packed = folder / "files", folder / "pairs.tar"
    files.mkdir(parents=True)
    for number in range(40):
        (files / f"{number:03d}.jpg").write_bytes(picture(noise))
        (files / f"{number:03d}.txt").write_text(f"The picture {number}. " * (1 + number % 30))
    (files / "broken.jpg").write_bytes(b"no picture")
    (files / "empty.jpg").touch()
    with tarfile.open(packed, "w") as tar:
        for number in range(40):
            for ending, data in (("jpg", picture(noise)), ("txt", f"caption {number}".encode())):
                member = tarfile.TarInfo(f"{number:03d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return [files, packed]


def picture(noise: np.random.Generator) -> bytes:
    """Return a small JPEG of smooth noise."""
    coarse = Image.fromarray(noise.integers(0, 256, (6, 6, 3), np.uint8))
    out = io.BytesIO()
    coarse.resize((96, 80), Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


def start(
    sources: list[Path], out: Path, engine: str, workers: int, form: str, *, small: bool = False
) -> subprocess.Popen[bytes]:
    """Start a run, as a process group of its own."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, SMALL))

    command = [sys.executable, "-P", "-m", "omnicodec.service.cli", "tokenize"]
    settings = ["-c", "image/vq", "-c", "text/bpe", "--shard-items", "8", "--format", form]
    return subprocess.Popen(
        [
            *(*command, *map(str, sources), "-o", str(out), *settings),
            *("--engine", engine, "--workers", str(workers)),
        ],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=limited if small else None,
    )


def run(
    sources: list[Path],
    out: Path,
    way: str,
    arguments: argparse.Namespace,
    moment: float,
    chance: random.Random,
) -> int:
    """Run it, end it in some way after so many seconds unless it is done, return its exit code."""
    workers = chance.choice((1, 2))
    small = way == "full"
    process = start(sources, out, arguments.engine, workers, arguments.format, small=small)
    try:
        if small or not way:
            code = process.wait(timeout=600)
            assert code == OK or (small and code == UNUSABLE), f"exit code {code}"
            return code
        try:
            return process.wait(moment)
        except subprocess.TimeoutExpired:
            pass
        match way:
            case "kill":
                os.killpg(process.pid, signal.SIGKILL)
            case "interrupt":
                os.killpg(process.pid, signal.SIGINT)
            case "worker":
                kill_worker(process.pid, chance)
        code = process.wait(timeout=600)
        allowed = {"kill": {-signal.SIGKILL}, "interrupt": {INTERRUPTED, OK}, "worker": {OK}}[way]
        # An interrupt while Python begins or ends is told in Python's own way.
        assert code in allowed or way == "interrupt", f"{way}: exit code {code}"
        return code
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def kill_worker(pid: int, chance: random.Random) -> None:
    """Kill one of a run's processes, if it has any."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            os.kill(int(chance.choice(children)), signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        pass  # it is just done


def tree(out: Path) -> dict[str, bytes]:
    """Return all files of a data set, without the lock and what is unfinished."""
    return {
        name: file.read_bytes()
        for file in sorted(out.rglob("*"))
        if file.is_file() and not (name := str(file.relative_to(out))).startswith((".tmp", ".lock"))
    }


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


if __name__ == "__main__":
    main()
