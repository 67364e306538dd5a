"""A server process that is killed in the middle of its jobs, and the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from omnicodec.codecs import Image, compress, load
from omnicodec.service import Client
from omnicodec.service.client import State

Serve = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def serve(fitted: ModuleType, tmp_path: Path) -> Iterator[Serve]:
    """Return a function that runs `omnicodec serve` as a process, and gives its address."""
    processes: list[subprocess.Popen[str]] = []

    def begin(listen: str, sleep: float) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, fitted.__file__, "serve", "--listen", listen,
             "--jobs", str(tmp_path / "jobs"), "--max-jobs", "1"],
            env={**os.environ, fitted.SLEEP: str(sleep)},
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        processes.append(process)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("listening on 127.0.0.1:"), line + process.stderr.read()
        return process, line.split()[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def test_jobs_outlive_a_server_that_is_killed(
    serve: Serve, fitted_log: Callable[[], list[str]], ramps: Image
) -> None:
    process, address = serve("127.0.0.1:0", 0.1)
    with Client(address) as client:
        done = client.start_encode(ramps, "image/fitted", quality=10)
        quick = done.result(30)
        begun = client.start_encode(ramps, "image/fitted", effort="best", request_id="begun")
        waits = client.start_encode(ramps, "image/fitted", compress=True)
        reached = _reach(begun, 12)
        process.kill()
        process.wait()

        process, _ = serve(address, 0.0)
        # The client that waits need not know that this is another server.
        assert begun.wait(30) is State.SUCCEEDED
        assert waits.wait(30) is State.SUCCEEDED
        first, end, second, again, *rest = fitted_log()
        assert (first, end, second) == ("begun at 0", "done at 20", "begun at 0")
        # From the last checkpoint; they are 5 steps apart, and none was before the report.
        step = int(again.removeprefix("begun at "))
        assert reached - reached % 5 <= step < 60
        assert step % 5 == 0
        assert rest == ["done at 60", "begun at 0", "done at 20"]
        assert begun.result() == load("image/fitted").encode([ramps], effort="best")[0]
        assert waits.result() == compress(ramps, "image/fitted")
        assert client.operation(done.name).result() == quick
        same = client.start_encode(ramps, "image/fitted", effort="best", request_id="begun")
        assert same.name == begun.name
        assert len(list(client.operations("metadata.state = SUCCEEDED"))) == 3
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


def _reach(operation: Any, step: int) -> int:
    ends = time.monotonic() + 30
    while (progress := operation.progress()) is None or progress.step < step:
        assert time.monotonic() < ends
        time.sleep(0.02)
    return int(progress.step)
