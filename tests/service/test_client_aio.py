"""`AsyncClient`, each part of it in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from omnicodec.service.server import ServerOptions, running_server

PROGRAM = Path(__file__).with_name("async_client.py")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    jobs = tmp_path_factory.mktemp("jobs")
    with running_server(ServerOptions(listen="127.0.0.1:0", jobs=jobs)) as server:
        yield server.address


@pytest.mark.parametrize("part", ["batches", "at_once", "errors", "streams", "operations"])
def test_as_the_synchronous_one(address: str, part: str) -> None:
    run(address, part)


def test_large_items() -> None:
    with running_server(ServerOptions(listen="127.0.0.1:0", max_message_bytes=1 << 20)) as server:
        run(server.address, "large")


def run(address: str, part: str) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), address, part],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
