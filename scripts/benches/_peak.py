"""Peak memory of the command line, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from omnicodec.codecs import InvalidInput

# A program's peak begins with that of the process which started it: this one is small.
_LAUNCHER: Final = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak(arguments: Sequence[str | Path]) -> dict[str, float]:
    """Run `omnicodec` with these arguments; return its peak in 10^6 bytes and its seconds.

    Both include the interpreter, its libraries and their start.
    """
    begun = time.perf_counter()
    program = [sys.executable, "-m", "omnicodec.service.cli", *map(str, arguments)]
    told = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, *program], capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - begun
    if told.returncode:
        raise InvalidInput(f"omnicodec {arguments[0]} failed: {told.stderr}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return {"peak_mb": int(told.stdout) * unit / 1e6, "seconds": took}
