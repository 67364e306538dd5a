"""Benchmarks: each prints a table and writes its figures to docs/results/.

    python scripts/bench.py image PICTURES    curves, BD-rates, priors, losses, speed, memory
    python scripts/bench.py audio SOUNDS      rate, quality, speed, delay, beside Opus and EnCodec
    python scripts/bench.py text TEXTS        rate and speed, beside zstd, xz and gzip
    python scripts/bench.py bpe TEXTS         speed beside the library that it is made with
    python scripts/bench.py patch TEXTS       lengths of patches, speed of cutting and coding
    python scripts/bench.py grpc              encoding over gRPC beside encoding in process
    python scripts/bench.py service           the server under load, at idle and overloaded
    python scripts/bench.py batch             whole data sets: engines, workers, memory, resuming
    python scripts/bench.py cost              core-seconds of tokens, for scripts/scale.py
    python scripts/bench.py hub               published codecs beside the libraries they stand on
    python scripts/bench.py inr --images PICTURES --clips CLIPS
                                              curves and speed beside formats, and HNeRV
    python scripts/bench.py import            importing the package, beside importing numpy

Each is a file in benches/ with `arguments` and `run`. A speed means little alone: it is measured
in turn with something else, in the same run, and stated as a ratio. Nothing else should run on
the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import pkgutil
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from omnicodec.codecs import OmnicodecError
from omnicodec.codecs.files import atomic_write
from omnicodec.service.evaluate import Environment

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "docs" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="benchmark", required=True)
    for file in pkgutil.iter_modules([str(HERE / "benches")]):
        if file.name.startswith("_"):
            continue
        bench = import_module(f"benches.{file.name}")
        name = file.name.rstrip("_")
        command = commands.add_parser(name, help=bench.__doc__, description=bench.__doc__)
        command.add_argument(
            "-o", "--out", type=Path, default=RESULTS / f"{name}.json", help="JSON file"
        )
        bench.arguments(command)
        command.set_defaults(run=bench.run)
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
