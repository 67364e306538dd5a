"""Every command with a published codec of every family, on small networks with random weights.

    python scripts/check_hub.py [-o docs/results/hub_commands.json]

For each family: `codecs`, `encode`, `decode`, `compress`, `decompress`, `info`, `verify`,
`tokenize`, `verify` of the data set, `detokenize` and `evaluate` of a made-up file, and then
`encode`, `compress` and `decompress` of a server that was started with all of them. What decodes
has to be the same each way: from tokens, from a stream, from a data set, and from the server.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from checks.networks import NETWORKS, make

from omnicodec.codecs import Audio, Image, Text, Video
from omnicodec.codecs.files import atomic_write
from omnicodec.service.cli.run import run
from omnicodec.service.evaluate import Environment

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "hub_commands.json"

PACKAGES: Final = ("torch", "transformers", "diffusers", "tokenizers")

ENCODES_ONLY: Final = ("Chameleon's VQ-VAE",)
"""Families whose library has no decoder."""

_PORT_SECONDS: Final = 180


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=RESULTS, help="JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        media = _media(place / "media")
        folders = make(place)
        runs = {
            title: _local(place / f"out{number}", media[NETWORKS[title][0]], folder, title)
            for number, (title, folder) in enumerate(folders.items())
        }
        _served(place, media, folders, runs)
    result = {
        "command": "python scripts/check_hub.py",
        "environment": asdict(Environment.here("cpu")),
        "packages": {name: version(name) for name in PACKAGES},
        "families": runs,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.out, json.dumps(result, indent=1).encode() + b"\n")
    print(f"{len(runs)} families, every command: {options.out}")


def _media(folder: Path) -> dict[str, Path]:
    """Write one file of each kind, and return them by ending."""
    draw = np.random.default_rng(3)
    time_ = np.arange(30_000) / 22_050
    tone = 0.3 * np.sin(2 * np.pi * np.array([[220.0], [331.0]]) * time_)
    frames = draw.integers(0, 256, (6, 33, 50, 3), np.uint8)
    made = {
        "wav": Audio(tone.astype(np.float32), 22_050),
        "png": Image(frames[0]),
        "y4m": Video(frames, Fraction(25)),
        "txt": Text("Grüße, 世界! lorem ipsum\n".encode()),
    }
    found = {}
    for ending, item in made.items():
        found[ending] = folder / ending / f"item.{ending}"
        found[ending].parent.mkdir(parents=True)
        found[ending].write_bytes(item.to_bytes(f".{ending}"))
    return found


def _command(*words: object) -> str:
    """Run a command; return what it wrote. Ends the check where it fails."""
    arguments, out, said = [str(word) for word in words], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = run(arguments)
    if code:
        raise SystemExit(f"omnicodec {' '.join(arguments)}: {code}\n{said.getvalue()}")
    return out.getvalue()


def _local(out: Path, item: Path, folder: Path, title: str) -> dict[str, Any]:
    """Take one file through every command, and return what was seen."""
    codec, ending = ("-c", f"hf:{folder}"), item.suffix
    out.mkdir()
    (shown,) = json.loads(_command("codecs", "--json", f"hf:{folder}"))["codecs"]
    _command("encode", item, *codec, "-o", out / "tokens.npz")
    _command("compress", item, *codec, "-o", out / "item.omc")
    _command("info", out / "item.omc", *codec)
    _command("verify", out / "item.omc", *codec)
    data = out / "set"
    _command("tokenize", item.parent, *codec, "-o", data, "--format", "parquet", "--workers", "1")
    _command("verify", data, "--deep")
    seen = {"modality": shown["modality"], "summary": shown["summary"], "decodes": True}
    if title in ENCODES_ONLY:
        return {**seen, "decodes": False}
    _command("decode", out / "tokens.npz", *codec, "-o", out / f"a{ending}")
    _command("decompress", out / "item.omc", *codec, "-o", out / f"b{ending}")
    _command("detokenize", data, *codec, "-o", out / "back")
    _command("evaluate", *codec, item.parent, "--json")
    (back,) = (out / "back").rglob("item.*")
    files = [out / f"{way}{ending}" for way in "ab"]
    # A data set's video comes back as .mp4, whose encoder has threads: not the same each time.
    files += [back] if back.suffix == ending else []
    if len({file.read_bytes() for file in files}) != 1:
        raise SystemExit(f"{title}: what came back differs from way to way")
    return seen


def _served(
    place: Path, media: dict[str, Path], folders: dict[str, Path], runs: dict[str, Any]
) -> None:
    """Let a server that has all codecs encode, compress and decompress, and compare."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    preload = [word for folder in folders.values() for word in ("--preload", f"hf:{folder}")]
    command = [sys.executable, "-P", "-m", "omnicodec.service.cli", "serve", "--listen", address]
    server = subprocess.Popen([*command, *preload], stderr=subprocess.DEVNULL)
    try:
        _wait(address, server)
        for number, (title, folder) in enumerate(folders.items()):
            item, out = media[NETWORKS[title][0]], place / f"out{number}"
            there = ("--server", address)
            codec = ("-c", f"hf:{folder.name}")
            _command(*there, "encode", item, *codec, "-o", out / "there.npz")
            _command(*there, "compress", item, *codec, "-o", out / "there.omc")
            if title not in ENCODES_ONLY:
                back = out / f"there{item.suffix}"
                _command(*there, "decompress", out / "there.omc", "-o", back)
                if back.read_bytes() != (out / f"a{item.suffix}").read_bytes():
                    raise SystemExit(f"{title}: what a server gives back differs")
            runs[title]["served"] = True
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    host, port = address.split(":")
    for _ in range(_PORT_SECONDS):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        if server.poll() is not None:
            break
        time.sleep(1)
    raise SystemExit("the server did not come up")


if __name__ == "__main__":
    main()
