"""The same integers from other instructions, other thread counts and uncompiled code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import hashlib, importlib.util, sys, warnings
import torch
from omnicodec.models import exact

warnings.simplefilter("error", RuntimeWarning)  # numpy's, where 32 bits overflow
spec = importlib.util.spec_from_file_location("networks", sys.argv[1])
networks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(networks)
digest = hashlib.sha256()
for layers in networks.SEQUENCE.values():
    network = networks.fill(exact.Network(layers()))
    ids = torch.arange(2 * 12 * 2).reshape(2, 12, 2) * 7 % torch.tensor([40, 9])
    digest.update(network(ids).to(torch.int32).numpy().tobytes())
    digest.update(exact.Stepper(network).run(ids[0].numpy()).tobytes())
for layers in networks.PICTURE.values():
    network = networks.fill(exact.Network(layers()))
    ids = torch.arange(12).reshape(1, 3, 4)
    digest.update(network(ids).to(torch.int32).numpy().tobytes())
    digest.update(exact.Stepper(network, (3, 4)).run(ids.flatten().numpy()).tobytes())
print(digest.hexdigest(), exact.default_backend("cpu"), torch.get_num_threads())
"""

GOLDEN = "c1ed52f852bee09a209998f52813c701209eaad786a9699699ec26900135b362"


@pytest.mark.parametrize(
    "settings",
    [
        {"OMP_NUM_THREADS": "2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
        {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default",
         "NUMBA_DISABLE_JIT": "1"},
    ],
    ids=["AVX2 and two threads", "SSE4.1 and no compiler"],
)  # fmt: skip
def test_results_are_the_same_in_another_process(settings: dict[str, str]) -> None:
    networks = str(Path(__file__).with_name("conftest.py"))
    command = [sys.executable, "-c", PROGRAM, networks]
    done = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    digest, backend, threads = done.stdout.split()
    assert digest == GOLDEN
    assert threads == settings["OMP_NUM_THREADS"]
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        assert backend == "float32"  # oneDNN may not use VNNI here, so `_int_mm` is not trusted
