from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.run import tokenize

from .here import Here, small_job, table, tree

PROGRAM = (sys.executable, "-P", "-m", "omnicodec.service.cli", "tokenize")


def test_run_that_is_ended_at_any_step_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    source = table(tmp_path / "texts.parquet", 15)
    program = Path(__file__).with_name("ending.py")
    done = subprocess.run(
        [sys.executable, "-P", str(program), str(source), str(tmp_path), "megatron", "3"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = re.search(r"steps (\d+)\n", done.stdout)
    assert steps is not None
    assert int(steps[1]) > 40
    assert done.stdout.endswith("whole\n")


class Program:
    """`omnicodec tokenize` as a process group of its own."""

    def __init__(self, source: Path, out: Path) -> None:
        self.folder = Folder(out)
        self._log = out.with_name("log")
        arguments = [*PROGRAM, str(source), "-o", str(out), "-c", "text/bytes"]
        with open(self._log, "w") as log:
            self._process = subprocess.Popen(
                [*arguments, "--shard-items", "10", "--workers", "2"],
                stderr=log,
                start_new_session=True,
            )

    def until(self, shards: int) -> Program:
        """Wait until so many shards are committed."""
        ends = time.monotonic() + 60
        while len(self.folder.committed()) < shards:
            assert self._process.poll() is None, self.said
            assert time.monotonic() < ends
            time.sleep(0.002)
        return self

    def kill(self, number: int, *, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self._process.pid, number)

    def workers(self) -> list[int]:
        """Return its processes, as the system knows them."""
        pid = self._process.pid
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def wait(self) -> int:
        return self._process.wait(timeout=60)

    @property
    def said(self) -> str:
        return self._log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for workers in /proc")
def test_run_that_is_killed_interrupted_and_bereft_goes_on_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    source, out = table(tmp_path / "texts.parquet", 400), tmp_path / "out"
    job, vocabulary = small_job(source)
    tokenize(job, vocabulary, tmp_path / "whole", engine=Here())

    first = Program(source, out).until(2)
    first.kill(signal.SIGKILL, group=True)
    assert first.wait() == -signal.SIGKILL

    second = Program(source, out).until(8)
    second.kill(signal.SIGINT, group=True)  # as a terminal sends it
    assert second.wait() == 130
    assert second.said == "interrupted; the same command goes on from here\n"
    assert not (out / ".tmp").exists()

    third = Program(source, out).until(16)
    os.kill(third.workers()[0], signal.SIGKILL)
    assert third.wait() == 0, third.said
    assert "343 of 400 items" in third.said
    assert tree(out) == tree(tmp_path / "whole")
