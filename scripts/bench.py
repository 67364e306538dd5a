"""Benchmarks: each prints a table and writes its figures to docs/results/.

    python scripts/bench.py image PICTURES    rate and speed, beside file formats and a VQGAN
    python scripts/bench.py grpc              encoding over gRPC beside encoding in process
    python scripts/bench.py text TEXTS        rate and speed, beside gzip, xz and zstd
    python scripts/bench.py import            importing the package, beside importing numpy

A speed means little alone: each is measured in turn with something else, in the same run,
and stated as a ratio. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from omnicodec.codecs import Image, InvalidInput, OmnicodecError, Unavailable, load
from omnicodec.codecs.files import atomic_write
from omnicodec.service.evaluate import Environment, evaluate
from omnicodec.service.evaluate.data import Source
from omnicodec.service.evaluate.measure import timed
from omnicodec.service.evaluate.table import markdown, number

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
SIDE = 256


@dataclass(frozen=True)
class Pairs:
    """The seconds that two ways to do the same work took, run in turn.

    `work` is the number of items of each run. Ratios are how many times as fast the first
    way is as the second, round by round.
    """

    work: int
    names: tuple[str, str]
    first: tuple[float, ...]
    second: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        ratios = sorted(b / a for a, b in zip(self.first, self.second, strict=True))
        both = (self.first, self.second)
        return {
            "per_second": {n: self.work / median(s) for n, s in zip(self.names, both, strict=True)},
            "ratio": {"min": ratios[0], "median": median(ratios), "max": ratios[-1]},
            "seconds": dict(zip(self.names, both, strict=True)),
            "work": self.work,
        }

    def row(self, title: str) -> list[str]:
        figures = self.to_dict()
        values = [*figures["per_second"].values(), *figures["ratio"].values()]
        return [title, *map(number, values)]


def alternate(steps: Mapping[str, Callable[[], object]], *, work: int, rounds: int) -> Pairs:
    """Time two steps, in turn, after one warm-up each; who is first changes every round."""
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds):
        for name in sorted(steps, key=list(steps).index, reverse=index % 2 == 1):
            seconds[name].append(timed(steps[name])[1])
    first, second = seconds
    return Pairs(work, (first, second), tuple(seconds[first]), tuple(seconds[second]))


def pictures(folder: Path | None, count: int) -> list[Image]:
    """Return `count` pictures of 256x256: middles of those in a folder, or generated ones."""
    if folder is None:
        return list(islice(_generated(), count))
    found = []
    for _, image in Source(folder, Image, report=print):
        assert isinstance(image, Image)
        y, x = (image.height - SIDE) // 2, (image.width - SIDE) // 2
        if y >= 0 and x >= 0:
            found.append(Image(np.ascontiguousarray(image.pixels[y : y + SIDE, x : x + SIDE])))
    if not found:
        raise InvalidInput(f"no pictures of {SIDE}x{SIDE} pixels or more in {str(folder)!r}")
    return list(islice(cycle(found), count))


def _generated() -> Iterator[Image]:
    """Yield gradients with noise for ever, always the same."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, SIDE)
    while True:
        a, b = rng.uniform(-120, 120, (2, 3))
        plane = 128 + a * ramp[:, None, None] + b * ramp[None, :, None]
        noisy = plane + rng.normal(0, rng.uniform(0, 30), (SIDE, SIDE, 3))
        yield Image(noisy.round().clip(0, 255).astype(np.uint8))


def bench_image(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Rate and quality beside file formats; speed beside VQ-16."""
    report = evaluate(
        options.codec,
        options.data,
        against=options.against.split(","),
        device=options.device,
        max_items=options.max_items,
        report=lambda line: print(line, file=sys.stderr),
    )
    encoding, decoding, batch = _beside_vq16(options)
    table = markdown(
        ["256x256 pictures", *encoding.names, "ratio min", "median", "max"],
        [encoding.row("encode pictures/s"), decoding.row("decode pictures/s")],
    )
    text = (
        f"{report.to_table()}\n{table}\n\n"
        "VQ-16 is the tokenizer of LlamaGen and Janus, transformers.JanusVQVAE, with random "
        f"weights in float32, in batches of {batch}, the better of 1 and 8; only its network "
        f"is timed, while {options.codec} starts from 8-bit pictures and ends with them.\n"
    )
    figures = {
        "evaluation": report.to_dict(),
        "vq16": {"encode": encoding.to_dict(), "decode": decoding.to_dict(), "batch": batch},
    }
    return text, figures


def _beside_vq16(options: argparse.Namespace) -> tuple[Pairs, Pairs, int]:
    """Return the codec beside VQ-16 on the same pictures, and VQ-16's better batch size.

    Its architecture for 256x256 pictures does not depend on its weights, nor does its
    speed, so that nothing has to be downloaded.
    """
    import torch

    try:
        from transformers import JanusVQVAE, JanusVQVAEConfig
    except ImportError as e:
        raise Unavailable("VQ-16 needs transformers: pip install transformers") from e
    codec = load(options.codec, device=options.device)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # `num_patches` only says how many tokens decode() is to lay out as a square.
    network = JanusVQVAE(JanusVQVAEConfig(num_patches=SIDE // 16)).to(device)
    network.train(False)
    images = pictures(options.data, options.pictures)
    stacked = np.stack([image.pixels for image in images])
    pixels = torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div(127.5).sub(1).to(device)

    @torch.inference_mode()
    def encode(batch: int) -> torch.Tensor:
        parts = [network.encode(part).image_tokens for part in pixels.split(batch)]
        return torch.cat(parts).view(len(images), -1).cpu()

    best = min((1, 8), key=lambda batch: min(timed(lambda: encode(batch))[1] for _ in range(3)))
    indices = encode(best).to(device)
    tokens = codec.encode(images)

    @torch.inference_mode()
    def decode() -> torch.Tensor:
        return torch.cat([network.decode(part) for part in indices.split(best)]).cpu()

    encoding = {options.codec: lambda: codec.encode(images), "VQ-16": lambda: encode(best)}
    decoding = {options.codec: lambda: codec.decode(tokens), "VQ-16": decode}
    work, rounds = len(images), options.rounds
    return (
        alternate(encoding, work=work, rounds=rounds),
        alternate(decoding, work=work, rounds=rounds),
        best,
    )


def bench_import(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Importing omnicodec.codecs in a new process, beside importing numpy alone."""
    seconds: dict[str, list[float]] = {"omnicodec.codecs": [], "numpy": []}
    for _ in range(options.rounds):
        for module, times in seconds.items():
            code = f"import time; t = time.perf_counter(); import {module}"
            code += "; print(time.perf_counter() - t)"
            run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
            times.append(float(run.stdout))
    rows = [[module, *map(number, (min(t), median(t), max(t)))] for module, t in seconds.items()]
    environment = Environment.here("cpu")
    table = markdown(["import, seconds", "min", "median", "max"], rows)
    return f"{table}\n\n{environment}\n", {"seconds": seconds}


def bench_grpc(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Encoding batches in process beside encoding them over gRPC, on loopback."""
    import torch

    from omnicodec.service.client import Client

    codec = load(options.codec, device=options.device)
    images = pictures(options.data, options.pictures)
    with (
        _server(options, torch.get_num_threads()) as address,
        Client(address, timeout=None) as client,
    ):
        if client.encode(images, options.codec) != codec.encode(images):
            raise OmnicodecError("the server's tokens differ from those made in process")
        steps = {
            "over gRPC": lambda: client.encode(images, options.codec),
            "in process": lambda: codec.encode(images),
        }
        pairs = alternate(steps, work=len(images), rounds=options.rounds)
    title = f"{options.codec}, {len(images)} pictures of {SIDE}x{SIDE} a call"
    header = [title, *pairs.names, "ratio min", "median", "max"]
    environment = Environment.here(options.device)
    table = markdown(header, [pairs.row("encode pictures/s")])
    return f"{table}\n\n{environment}\n", {"codec": options.codec, "encode": pairs.to_dict()}


@contextmanager
def _server(options: argparse.Namespace, threads: int) -> Iterator[str]:
    """Run a server in a process of its own, with as many threads; yield its address."""
    command = [sys.executable, "-m", "omnicodec.service.cli", "serve", "--listen", "127.0.0.1:0"]
    command += ["--preload", options.codec, "--device", options.device]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            for line in process.stderr or ():
                said += line
                if found := re.search(r"127\.0\.0\.1:\d+", line):
                    yield found[0]
                    return
            raise Unavailable(f"the server did not start: {said.strip()}")
        finally:
            process.terminate()


def bench_text(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Rate and speed beside general compressors."""
    report = evaluate(
        options.codec,
        options.data,
        against=options.against.split(","),
        max_items=options.max_items,
        report=lambda line: print(line, file=sys.stderr),
    )
    return report.to_table(), {"evaluation": report.to_dict()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="benchmark", required=True)
    for name, run, codec, against in (
        ("image", bench_image, "image/vq", "jpeg,webp,avif,jxl"),
        ("grpc", bench_grpc, "image/vq", None),
        ("text", bench_text, "text/bytes", "gzip,xz,zstd"),
        ("import", bench_import, None, None),
    ):
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("--out", type=Path, default=RESULTS / f"{name}.json", help="JSON file")
        if name != "text":
            command.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
        if codec is None:
            continue
        command.add_argument("--codec", default=codec, help="default: %(default)s")
        if against is None:
            command.add_argument("data", type=Path, nargs="?", help="folder; default: generated")
        else:
            command.add_argument("data", type=Path, help="folder, file or .tar shard")
            command.add_argument("--against", default=against, help="default: %(default)s")
            command.add_argument("--max-items", type=int, help="default: all")
        if name != "text":
            count = 8 if name == "image" else 32
            command.add_argument("--pictures", type=int, default=count, help="default: %(default)s")
            command.add_argument("--device", default="auto", help="default: %(default)s")
    options = parser.parse_args()
    try:
        text, figures = options.run(options)
        environment = Environment.here(getattr(options, "device", "cpu"))
        result = {"benchmark": options.benchmark, "environment": asdict(environment), **figures}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(options.out, json.dumps(result, indent=1).encode() + b"\n")
    except OmnicodecError as e:
        sys.exit(f"bench: {e}")
    print(text)


if __name__ == "__main__":
    main()
