"""Importing omnicodec.codecs in a new process, beside importing numpy alone."""

from __future__ import annotations

import argparse
import subprocess
import sys
from statistics import median
from typing import Any

from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.table import markdown, number


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
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
