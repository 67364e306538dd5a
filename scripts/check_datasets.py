"""Every source, sink and engine of `omnicodec tokenize`, on media of one's own.

    python scripts/check_datasets.py DATA [--items 4] [-o docs/results/datasets.json]

The smallest pictures, sounds, videos and texts in DATA become a folder, a tar, Parquet, Arrow, JSON
lines, a data set saved by Hugging Face's library, interleaved documents and a URL, with some broken
files beside them. All of it goes into one run, through each sink, on one worker, two, and on Ray.
The folders of the three engines have to be the same byte by byte; `omnicodec verify --deep` and the
readers that each format is made for have to agree on how many rows there are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from checks import judges, sources

from omnicodec.codecs.files import atomic_write
from omnicodec.service.evaluate import Environment

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "datasets.json"

CLI: Final = (sys.executable, "-P", "-m", "omnicodec.service.cli")

SINKS: Final = {
    "parquet": ("--format", "parquet"),
    "parquet, documents": ("--format", "parquet", "--layout", "document"),
    "parquet, packed": ("--format", "parquet", "--pack", "2048"),
    "megatron": ("--format", "megatron"),
    "torchtitan": ("--format", "torchtitan"),
    "mds": ("--format", "mds"),
    "wds": ("--format", "wds"),
}

ENGINES: Final = {
    "1 worker": ("--workers", "1"),
    "2 workers": ("--workers", "2"),
    "ray": ("--engine", "ray", "--workers", "2"),
}

PACKAGES: Final = ("pyarrow", "ray", "datasets", "webdataset")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of media")
    parser.add_argument("--items", type=int, default=4, help="files of each modality (default 4)")
    parser.add_argument("--sinks", nargs="*", choices=SINKS, default=list(SINKS))
    parser.add_argument("--engines", nargs="*", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("-o", "--out", type=Path, default=RESULTS, help="JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = sources.make(options.data, Path(folder) / "sources", options.items)
        runs = [
            _check(sink, made, Path(folder) / f"out{number}", options.engines)
            for number, sink in enumerate(options.sinks)
        ]
    result = {
        "command": f"python scripts/check_datasets.py DATA --items {options.items}",
        "environment": asdict(Environment.here("cpu")),
        "packages": {name: version(name) for name in PACKAGES},
        "sources": {source.name: source.items for source in made},
        "runs": runs,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(options.out, json.dumps(result, indent=1).encode() + b"\n")


def _check(sink: str, made: list[sources.Made], out: Path, engines: list[str]) -> dict[str, Any]:
    """Run one sink on all engines, and have its readers look; exits where they do not agree."""
    digests: dict[str, str] = {}
    manifest: dict[str, Any] = {}
    for number, engine in enumerate(engines):
        folder = out.with_name(f"{out.name}-{number}")
        began = time.monotonic()
        manifest = _tokenize(made, folder, *SINKS[sink], *ENGINES[engine])
        digests[engine] = digest_of(folder)
        print(f"{sink:20} {engine:10} {time.monotonic() - began:5.1f} s  {digests[engine][:16]}")
    if len(set(digests.values())) > 1:
        sys.exit(f"{sink}: the engines do not agree: {digests}")
    planned = sum(source.items for source in made)
    if manifest["items"] != planned or manifest["written"] + manifest["rejects"] != planned:
        sys.exit(f"{sink}: {planned} items went in: {manifest['items']} were found")
    _run("verify", str(folder), "--deep")
    rows = judges.rows(folder, manifest)
    for reader, count in rows.items():
        if count != manifest["rows"]:
            sys.exit(f"{sink}: {manifest['rows']} rows, {count} by {reader}")
    print(f"{sink:20} {manifest['rows']} rows by {', '.join(rows)}")
    return {
        "sink": sink,
        "engines": list(digests),
        "sha256": digests[engines[0]],
        "readers": list(rows),
        **{name: manifest[name] for name in ("items", "written", "rejects", "rows", "tokens")},
    }


def _tokenize(made: list[sources.Made], out: Path, *options: str) -> dict[str, Any]:
    locations = [source.location for source in made]
    settings = ("--shard-items", "8", "--max-rejects", "50%")
    _run("tokenize", *locations, "-o", str(out), *settings, *options)
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_bytes())
    return manifest


def _run(*arguments: str) -> None:
    done = subprocess.run([*CLI, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"omnicodec {' '.join(arguments)}\n{done.stderr}")


def digest_of(folder: Path) -> str:
    """SHA-256 over names and contents of all files that a data set has."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".lock":
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
