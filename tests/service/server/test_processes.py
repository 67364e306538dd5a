"""Several processes on one port, as a service manager sees them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

from omnicodec.codecs import Unavailable
from omnicodec.service.server.processes import Reserved
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

from ..operation_calls import until

Start = Callable[..., "Processes"]


class Processes:
    """`omnicodec serve --processes 2` with metrics, and what can be seen of it."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "omnicodec.service.cli", "serve", "--listen", "127.0.0.1:0",
             "--processes", "2", "--metrics-listen", "127.0.0.1:0", *arguments],
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.metrics = self.line("metrics on http://").split()[-1]
        self.address = self.line("listening on ").split()[2].rstrip(",")

    def line(self, begins: str) -> str:
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line.startswith(begins), line + self.process.stderr.read()
        return line

    def call(self) -> bool:
        """Make a call on a connection of its own; return whether it was answered."""
        with grpc.insecure_channel(
            self.address, [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            stub = CodecServiceStub(channel)
            try:
                stub.GetCodec(pb.GetCodecRequest(name="text/bytes"), timeout=10)
            except grpc.RpcError:
                return False
            return True

    def samples(self, name: str) -> dict[str, float]:
        with urllib.request.urlopen(self.metrics, timeout=20) as answer:
            text = answer.read().decode()
        found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
        return {labels: float(value) for labels, value in found}

    def children(self) -> set[int]:
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {
            int(child)
            for child in found
            if "resource_tracker" not in Path(f"/proc/{child}/cmdline").read_text()
        }

    def end(self) -> tuple[int, str]:
        assert self.process.stderr is not None
        rest = self.process.stderr.read()
        return self.process.wait(timeout=30), rest


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Processes] = []

    def begin(*arguments: str) -> Processes:
        started.append(Processes(*arguments))
        return started[-1]

    yield begin
    for processes in started:
        if processes.process.poll() is None:
            os.killpg(processes.process.pid, signal.SIGKILL)
        processes.process.communicate()


def test_they_share_a_port_and_are_started_again(start: Start, tmp_path: Path) -> None:
    there = start("--jobs", str(tmp_path / "jobs"))
    first = there.children()
    assert len(first) == 2
    for _ in range(20):
        assert there.call()
    counted = until(lambda: there.samples("omnicodec_requests_total"))
    (count,) = counted.values()
    assert count == 20
    assert len(there.samples("omnicodec_process_resident_memory_bytes")) == 2
    assert there.samples("omnicodec_process_starts_total") == {"": 2}

    # Whichever process takes the connection, there is one folder of jobs.
    name = ""
    for i in range(8):
        with grpc.insecure_channel(
            there.address, [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            request = pb.StartEncodeRequest(
                codec="text/bytes", item={"text": b"x"}, request_id="one"
            )
            operation = CodecServiceStub(channel).StartEncode(request, timeout=20)
            name = name or operation.name
            assert operation.name == name, i
            stub = operations_pb2_grpc.OperationsStub(channel)
            wait = operations_pb2.WaitOperationRequest(name=name)
            assert stub.WaitOperation(wait, timeout=20).done
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetOperation(operations_pb2.GetOperationRequest(name="operations/none"))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert "sock" not in str(caught.value)

    # One that is killed leaves its counts, and another one takes its place.
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    assert "-9" in there.line("process ")
    until(lambda: len(there.children() - {victim}) == 2)
    until(there.call)
    assert there.samples("omnicodec_process_starts_total") == {"": 3}
    counts = there.samples("omnicodec_requests_total")
    assert sum(v for labels, v in counts.items() if "GetCodec" in labels) >= 20
    assert victim not in there.children()

    # A signal to the whole group, as of Ctrl-C or systemd, drains once.
    os.killpg(there.process.pid, signal.SIGTERM)
    code, rest = there.end()
    assert code == 0
    assert rest == f"stopped listening on {there.address}\n"


def test_without_the_first_process_the_others_end(start: Start) -> None:
    there = start()
    children = there.children()
    there.process.kill()
    there.process.wait()
    until(lambda: not any(_alive(child) for child in children))


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match="cannot listen"):
            Reserved(address)
    held = Reserved(address)
    assert held.address == address
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", int(address.rpartition(":")[2])))
    held.close()


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text("[")
    done = subprocess.run(
        [sys.executable, "-m", "omnicodec.service.cli", "serve", "--listen", "127.0.0.1:0",
         "--processes", "2", "--tokens", str(tokens)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 7
    assert len(done.stderr.splitlines()) == 1
    assert "not TOML" in done.stderr


def _alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
