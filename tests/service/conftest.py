"""A server on loopback, a client, and a codec that waits until it is told to go on."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from omnicodec.codecs import CodecSpec, Image, Text, Tokens
from omnicodec.codecs.codec import Settings
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.text.bytes import ByteCodec
from omnicodec.service import Client
from omnicodec.service.server import RunningServer, ServerOptions, running_server
from omnicodec.service.server import server as server_module
from omnicodec.service.server.admission import Admission
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

from .operation_calls import until

FITTED = Path(__file__).with_name("fitted.py")


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="session")
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


@pytest.fixture
def stub(server: RunningServer) -> Iterator[CodecServiceStub]:
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.address, options=unlimited) as channel:
        yield CodecServiceStub(channel)


@pytest.fixture
def health() -> Iterator[Callable[..., str]]:
    """Return the health of a service at an address, by name: "SERVING"."""
    channels: list[grpc.Channel] = []

    def check(address: str, service: str = "", wait: bool = False) -> str:
        channels.append(grpc.insecure_channel(address))
        stub = health_pb2_grpc.HealthStub(channels[-1])
        request = health_pb2.HealthCheckRequest(service=service)
        status = stub.Check(request, timeout=10, wait_for_ready=wait).status
        return health_pb2.HealthCheckResponse.ServingStatus.Name(status)

    yield check
    for channel in channels:
        channel.close()


@dataclass
class Admitted:
    """Tells when so many requests are in the server that was started last."""

    admissions: list[Admission] = field(default_factory=list)

    def wait_for(self, count: int, *, waits: bool = False) -> None:
        """Return once `count` are in: of those with work to do, or that wait for operations."""
        until(lambda: self.admissions[-1 if waits else -2]._requests == count)


@pytest.fixture
def admitted(monkeypatch: pytest.MonkeyPatch) -> Admitted:
    """Return what counts the requests of servers that are started from now on."""
    admitted = Admitted()

    def kept(*limits: Any, **more: Any) -> Admission:
        admitted.admissions.append(Admission(*limits, **more))
        return admitted.admissions[-1]

    monkeypatch.setattr(server_module, "Admission", kept)
    return admitted


@dataclass
class Gate:
    """Holds `text/gated` at each item until it is open; `begun` are the items it reached."""

    opened: threading.Event = field(default_factory=threading.Event)
    begun: list[bytes] = field(default_factory=list)
    error: Exception | None = None
    seconds: float = 0.0

    def wait_begun(self, count: int) -> None:
        ends = time.monotonic() + 20
        while len(self.begun) < count:
            assert time.monotonic() < ends, f"only {self.begun} of {count} items were begun"
            time.sleep(0.005)


@pytest.fixture
def gate(register: Callable[[str, type[AnyCodec]], None]) -> Iterator[Gate]:
    """Register the codec `text/gated`, like `text/bytes` but for its gate, for one test."""
    gate = Gate()

    class GatedCodec(ByteCodec):
        @classmethod
        def describe(cls) -> CodecSpec:
            return replace(ByteCodec.describe(), name="text/gated")

        def _encode(self, item: Text, settings: Settings) -> Tokens:
            gate.begun.append(item.data)
            time.sleep(gate.seconds)
            assert gate.opened.wait(30)
            if gate.error is not None:
                raise gate.error
            return super()._encode(item, settings)

    register("text/gated", GatedCodec)
    yield gate
    gate.opened.set()


@pytest.fixture
def fitted(
    register: Callable[[str, type[AnyCodec]], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ModuleType:
    """Register `image/fitted` for one test, which keeps a log of its work; see fitted.py."""
    spec = importlib.util.spec_from_file_location("fitted", FITTED)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    register(module.NAME, module.FittedCodec)
    monkeypatch.setenv(module.LOG, str(tmp_path / "fitted.log"))
    return module


@pytest.fixture
def fitted_log(tmp_path: Path) -> Callable[[], list[str]]:
    """Return a function that tells when work of `image/fitted` began and ended, in steps."""

    def read() -> list[str]:
        path = tmp_path / "fitted.log"
        return path.read_text().splitlines() if path.exists() else []

    return read


@pytest.fixture
def ramps() -> Image:
    """Return a small picture that a few columns and rows describe well."""
    y, x = np.mgrid[0:40, 0:50]
    return Image(np.stack([4 * y, 4 * x, y + x], 2).astype(np.uint8))


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@pytest.fixture
def start(jobs: Path) -> Iterator[Callable[..., Client]]:
    """Return a function that starts a server with a folder of jobs, and gives a client of it."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Client:
            given = ServerOptions(**{"listen": "127.0.0.1:0", "jobs": jobs, **options})
            server = stack.enter_context(running_server(given))
            return stack.enter_context(Client(server.address))

        yield begin


@pytest.fixture
def slow(fitted: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that says how long steps of `image/fitted` last."""
    monkeypatch.setenv(fitted.SLEEP, "0.2")
    return lambda seconds: monkeypatch.setenv(fitted.SLEEP, str(seconds))
