"""Check that this environment makes the pinned results, and note its versions.

Runs the tests that compare with digests and golden streams: the mixer and the integer networks,
compiled and interpreted, with and without AVX, with one thread and two, and the streams of
every codec. Adds a row to docs/results/exactness.json. Run it in environments of several
versions of numba, numpy and torch.
Usage: python scripts/check_exactness.py
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from omnicodec.codecs.files import atomic_write
from omnicodec.service.evaluate import Environment

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "results" / "exactness.json"
TESTS = (
    "tests/codecs/prior/test_rans.py",
    "tests/codecs/prior/mixer/test_machines.py",
    "tests/codecs/prior/mixer/test_reference.py",
    "tests/models/exact/test_machines.py",
    "tests/models/exact/test_network.py",
    "tests/models/exact/test_tables.py",
    "tests/models/image/test_rate_contexts.py",
    "tests/models/image/test_rate_prior.py",
)
GOLDEN = ("tests/codecs/text", "tests/codecs/image", "tests/codecs/audio")
PACKAGES = ("numba", "llvmlite", "numpy", "torch", "zstandard", "constriction")


def passed(*arguments: str) -> int:
    """Return how many tests passed; ends the program when one did not."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.search(r"(\d+) passed", run.stdout)
    if run.returncode or not found:
        sys.exit(run.stdout[-4000:] + run.stderr[-2000:])
    return int(found[1])


def main() -> None:
    count = passed(*TESTS) + passed(*GOLDEN, "-k", "golden")
    row = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": "python scripts/check_exactness.py",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "cpu": Environment.here("cpu").cpu,
        "passed": count,
    }
    rows = json.loads(OUT.read_text()) if OUT.exists() else []
    atomic_write(OUT, (json.dumps([*rows, row], indent=1) + "\n").encode())
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
