"""The same bytes from other instructions, from uncompiled code and on several threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = "1bdb2e3c980f3ef835c005335735ea73ee2510ad34c593d7ec97eee40aeb44c3"
"""What digest.py prints. It may only change with `format.VERSION`."""


@pytest.mark.parametrize(
    ("threads", "settings"),
    [
        ("2", {}),
        ("1", {"NUMBA_DISABLE_JIT": "1"}),
        ("1", {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}),
    ],
    ids=["compiled, two threads", "interpreted", "without AVX"],
)
def test_results_are_the_same_in_another_process(threads: str, settings: dict[str, str]) -> None:
    script = str(Path(__file__).with_name("digest.py"))
    done = subprocess.run(
        [sys.executable, script, threads],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    digest, machine = done.stdout.splitlines()
    assert digest == GOLDEN
    assert ("generic" in machine) == ("NUMBA_CPU_NAME" in settings)
    assert (machine == "") == ("NUMBA_DISABLE_JIT" in settings)
