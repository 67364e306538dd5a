"""A server under hostile requests: the right status each time, and the next request is served."""

from __future__ import annotations

import gc
import importlib.util
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import grpc
import pytest

from omnicodec.service.server import RunningServer, ServerOptions, running_server
from omnicodec.service.server.service import SERVICE
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

LOCAL = "127.0.0.1:0"


def _corpus() -> ModuleType:
    name = "omnicodec_hostile_corpus"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("corpus.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


corpus = _corpus()


@pytest.fixture(scope="module")
def target() -> Iterator[RunningServer]:
    options = ServerOptions(listen=LOCAL, device="cpu", open_seconds=20, max_queue=16)
    with running_server(options) as running:
        yield running


@pytest.fixture
def calls(target: RunningServer) -> Iterator[CodecServiceStub]:
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(target.address, options=unlimited) as channel:
        yield CodecServiceStub(channel)


def served(stub: CodecServiceStub) -> bool:
    """Return whether an honest request is served."""
    request = pb.EncodeRequest(codec="text/bytes", items=[{"text": b"ab"}])
    return stub.Encode(request, timeout=20).tokens[0].ids == b"a\0\0\0b\0\0\0"


@pytest.mark.parametrize("part", ["media_cases", "token_cases", "setting_cases"])
def test_the_corpus(calls: CodecServiceStub, part: str, caplog: pytest.LogCaptureFixture) -> None:
    wrong = []
    for case in getattr(corpus, part)():
        try:
            getattr(calls, case.method)(case.request, timeout=30)
            status, words = "OK", ""
        except grpc.RpcError as e:
            status, words = e.code().name, e.details() or ""
        if status not in case.statuses or "root:" in words or "Traceback" in words:
            wrong.append((case.name, status, words))
        assert served(calls), case.name
    assert not wrong
    crashed = [r.getMessage() for r in caplog.records if "process that opens files" in r.message]
    assert not crashed  # every file ends with words about it


def test_playlists_open_nothing(calls: CodecServiceStub) -> None:
    """A file that names an address: nobody may come to it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        port = listening.getsockname()[1]
        for text in (
            f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile tcp://127.0.0.1:{port}\n",
            f"<MPD><Period><BaseURL>http://127.0.0.1:{port}/</BaseURL></Period></MPD>",
        ):
            for codec in ("video/inr", "audio/rvq", "image/vq"):
                request = pb.EncodeRequest(codec=codec, items=[{"file": text.encode()}])
                with pytest.raises(grpc.RpcError) as caught:
                    calls.Encode(request, timeout=20)
                assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(TimeoutError):
            listening.accept()


def test_metadata_of_any_kind(target: RunningServer, calls: CodecServiceStub) -> None:
    request = pb.EncodeRequest(codec="text/bytes", items=[{"text": b"ab"}])
    for metadata in (
        [("omnicodec-priority", "x" * 4000)],
        [("omnicodec-priority", "bulk")] * 40,
        [("omnicodec-priority-bin", b"\xff\0")],
        [("grpc-timeout-x", "9"), ("traceparent", "00-zz")],
        [("authorization", "Bearer " + "A" * 3000)],
    ):
        assert calls.Encode(request, metadata=metadata, timeout=20).tokens
    too_much = [(f"key-{i}", "v" * 1000) for i in range(60)]
    with pytest.raises(grpc.RpcError) as caught:
        calls.Encode(request, metadata=too_much, timeout=20)
    assert caught.value.code() in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
    )
    with grpc.insecure_channel(target.address) as channel:
        assert served(CodecServiceStub(channel))


def test_connections_that_go_no_further(target: RunningServer, calls: CodecServiceStub) -> None:
    host, port = target.address.rsplit(":", 1)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = struct.pack(">I", 0)[1:] + b"\x04\x00" + bytes(4)
    headers = b"\x00\x00\x05\x01\x04\x00\x00\x00\x01" + b"\x83\x86\x84\x41\xff"
    begun = [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", preface, preface + settings,
             preface + settings + headers, preface + b"\xff" * 200, bytes(1000)]  # fmt: skip
    sockets = []
    try:
        for data in begun * 8:
            connection = socket.create_connection((host, int(port)), timeout=5)
            sockets.append(connection)
            connection.sendall(data)
        assert served(calls)
    finally:
        for connection in sockets:
            connection.close()
    assert served(calls)


def test_a_flood_of_cancellations(calls: CodecServiceStub) -> None:
    request = pb.EncodeRequest(codec="text/bytes", items=[{"text": bytes(5000)}] * 20)
    for _ in range(20):
        futures = [calls.Encode.future(request) for _ in range(20)]
        for future in futures:
            future.cancel()
    for _ in range(100):
        try:
            assert served(calls)
            return
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # those are on their way out
    pytest.fail("the queue stays full")


def test_streams_that_end_early_do_not_use_up_a_connection() -> None:
    """gRPC counts a call as open until it is freed, and Python's collector may be far away."""
    options = ServerOptions(listen=LOCAL, max_queue=4)  # so that 24 may be open
    wrong = pb.DecodeStreamRequest()
    gc.collect()
    gc.disable()
    try:
        with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
            stub = CodecServiceStub(channel)
            for _ in range(60):
                with pytest.raises(grpc.RpcError) as caught:
                    list(stub.DecodeStream(iter([wrong] * 3), timeout=20))
                assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert served(stub)
    finally:
        gc.enable()


def test_readers_that_read_nothing(target: RunningServer, calls: CodecServiceStub) -> None:
    """Answers that nobody takes are bounded by the queue, and the queue is free once they go."""
    host, port = target.address.rsplit(":", 1)
    name = f"/{SERVICE.full_name}/Encode"
    message = pb.EncodeRequest(
        codec="text/bytes", items=[{"text": bytes(100_000)}]
    ).SerializeToString()
    framed = b"\0" + struct.pack(">I", len(message)) + message
    literals = b"\x83\x86"
    for key, value in ((":path", name), (":authority", host), ("te", "trailers"),
                       ("content-type", "application/grpc")):  # fmt: skip
        literals += b"\x00" + bytes([len(key)]) + key.encode()
        literals += bytes([len(value)]) + value.encode()

    def frame(kind: int, flags: int, data: bytes) -> bytes:
        length = struct.pack(">I", len(data))[1:]
        return length + bytes([kind, flags]) + struct.pack(">I", 1) + data

    sockets = []
    try:
        for _ in range(8):
            connection = socket.create_connection((host, int(port)), timeout=10)
            sockets.append(connection)
            connection.sendall(
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\x00" + bytes(4)
            )
            connection.sendall(frame(1, 4, literals))
            for start in range(0, 65_535, 16_384):  # as much as the first window lets through
                part = framed[start : min(start + 16_384, 65_535)]
                connection.sendall(frame(0, 0, part))
        assert served(calls)
    finally:
        for connection in sockets:
            connection.close()
    assert served(calls)
