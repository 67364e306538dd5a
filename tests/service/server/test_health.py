"""Health: of each codec, and for several who watch."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from omnicodec.codecs import available
from omnicodec.service import Client
from omnicodec.service.server import RunningServer, ServerOptions, running_server

Status = health_pb2.HealthCheckResponse.ServingStatus


@pytest.fixture
def server() -> Iterator[RunningServer]:
    options = ServerOptions(listen="127.0.0.1:0", preload=("text/bytes",))
    with running_server(options) as running:
        yield running


def named(service: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


def test_codecs_serve_once_they_are_warm(server: RunningServer) -> None:
    with grpc.insecure_channel(server.address) as channel, Client(server.address) as client:
        stub = health_pb2_grpc.HealthStub(channel)

        def status(codec: str) -> str:
            return Status.Name(stub.Check(named(f"omnicodec.codec.{codec}")).status)

        assert {name: status(name) for name in available()} == {
            name: "SERVING" if name == "text/bytes" else "NOT_SERVING" for name in available()
        }
        watch = stub.Watch(named("omnicodec.codec.image/vq"), timeout=60)
        assert next(watch).status == Status.NOT_SERVING
        client.encode([], "image/vq")
        assert next(watch).status == Status.SERVING
        assert status("image/vq") == "SERVING"
        with pytest.raises(grpc.RpcError) as caught:
            status("image/none")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_all_who_watch_hear_of_the_end(server: RunningServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        first, second, third = (stub.Watch(named(""), timeout=60) for _ in range(3))
        unknown = stub.Watch(named("none"), timeout=60)
        assert [next(w).status for w in (first, second, third)] == [Status.SERVING] * 3
        assert next(unknown).status == Status.SERVICE_UNKNOWN
        first.cancel()
        thread = threading.Thread(target=server.drain)
        thread.start()
        assert next(second).status == next(third).status == Status.NOT_SERVING
        thread.join()


@pytest.mark.parametrize("method", ["Check", "Watch"])
def test_what_is_no_request_is_the_clients_fault(server: RunningServer, method: str) -> None:
    with grpc.insecure_channel(server.address) as channel:
        path = f"/grpc.health.v1.Health/{method}"
        with pytest.raises(grpc.RpcError) as caught:
            next(channel.unary_stream(path)(b"\xff\xff"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(named("")).status == Status.SERVING
