"""Encoding batches in process beside encoding them over gRPC, on loopback."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benches._pairs import alternate
from benches._pictures import SIDE, pictures

from omnicodec.codecs import OmnicodecError, Unavailable, load
from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.table import markdown


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, nargs="?", help="folder; default: generated")
    parser.add_argument("--codec", default="image/vq", help="default: %(default)s")
    parser.add_argument("--pictures", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="default: %(default)s")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
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
