"""The Python that has tritonclient."""

from __future__ import annotations

import os
import subprocess

import pytest

VARIABLE = "OMNICODEC_TRITON_PYTHON"


@pytest.fixture(scope="session")
def triton_python() -> str:
    """Return the Python of an environment with tritonclient, which scripts/test.sh makes."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} names no Python with tritonclient: run scripts/test.sh")
    asked = "from importlib.metadata import version; print(version('tritonclient'))"
    found = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True)
    assert found.stdout.startswith("2.73."), found.stdout
    return python
