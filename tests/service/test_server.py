"""The server, through its own protocol: results, errors, hostile requests, health."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

from omnicodec.codecs import (
    Image,
    InvalidInput,
    OmnicodecError,
    Text,
    Unavailable,
    UnknownCodec,
    available,
    compress,
    describe,
    load,
)
from omnicodec.service import Client
from omnicodec.service.convert import media_to_proto, spec_from_proto, tokens_to_proto
from omnicodec.service.server import RunningServer, ServerOptions, running_server
from omnicodec.service.server.service import SERVICE
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

LOCAL = "127.0.0.1:0"
TEXT = load("text/bytes")
PIXELS = np.random.default_rng(1).integers(0, 256, (33, 47, 3), np.uint8)

Health = Callable[..., str]


def texts(*items: bytes, codec: str = "text/bytes", **settings: object) -> pb.EncodeRequest:
    return pb.EncodeRequest(codec=codec, items=[{"text": item} for item in items], **settings)


def failure(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def test_results_are_those_in_process(stub: CodecServiceStub) -> None:
    image = Image(PIXELS)
    items = [media_to_proto(image), media_pb2.Media(file=image.to_bytes(".png"))]
    (tokens,) = load("image/vq").encode([image])
    answer = stub.Encode(pb.EncodeRequest(codec="image/vq", items=items))
    assert list(answer.tokens) == [tokens_to_proto(tokens)] * 2
    raw = stub.Decode(pb.DecodeRequest(tokens=answer.tokens))
    (decoded,) = load("image/vq").decode([tokens])
    assert list(raw.items) == [media_to_proto(decoded)] * 2
    files = stub.Decode(pb.DecodeRequest(tokens=answer.tokens[:1], format=".png"))
    assert Image.open(files.items[0].file) == decoded
    streams = stub.Compress(pb.CompressRequest(codec="image/vq@2", items=items[:1])).streams
    assert list(streams) == [compress(image, "image/vq")]
    assert list(stub.Decompress(pb.DecompressRequest(streams=streams)).items) == [raw.items[0]]


def test_codecs_are_described(stub: CodecServiceStub) -> None:
    codecs = stub.ListCodecs(pb.ListCodecsRequest()).codecs
    assert [spec_from_proto(codec) for codec in codecs] == [describe(n) for n in available()]
    assert stub.GetCodec(pb.GetCodecRequest(name="image/vq")) in codecs


def test_empty_batches(stub: CodecServiceStub) -> None:
    assert not stub.Encode(pb.EncodeRequest(codec="text/bytes")).tokens
    assert not stub.Compress(pb.CompressRequest(codec="text/bytes")).streams
    assert not stub.Decode(pb.DecodeRequest()).items
    assert not stub.Decompress(pb.DecompressRequest()).items


def test_health_and_reflection(server: RunningServer, health: Health) -> None:
    assert health(server.address) == health(server.address, SERVICE.full_name) == "SERVING"
    error = failure(lambda: health(server.address, "something.else"))
    assert error.code().name == "NOT_FOUND"
    with grpc.insecure_channel(server.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {SERVICE.full_name, "grpc.health.v1.Health"} <= set(database.get_services())
        found = database.FindFileContainingSymbol(SERVICE.full_name)
    assert [m.name for m in found.service[0].method] == [m.name for m in SERVICE.methods]


def test_unknown_errors_do_not_leak(gate, stub: CodecServiceStub, caplog, capfd) -> None:
    gate.opened.set()
    words = [f"unsayable{i}" for i in range(3)]  # not in the source, which tracebacks quote
    try:
        raise KeyError(words[0])
    except KeyError as e:
        gate.error = ValueError(words[1])
        gate.error.__cause__ = e
    with caplog.at_level(logging.DEBUG):
        error = failure(lambda: stub.Encode(texts(words[2].encode(), codec="text/gated")))
    assert error.code().name == "INTERNAL"
    assert error.details().startswith("internal error; the server's log has it as ")
    request_id = error.details().split()[-1]
    seen = str(error.trailing_metadata()) + error.debug_error_string()
    logged = caplog.text + "".join(capfd.readouterr())
    assert request_id in logged
    assert "ValueError" in logged
    assert "conftest.py" in logged
    assert not [word for word in words if word in seen + logged]


def test_errors_of_ours_keep_their_text(gate, stub: CodecServiceStub) -> None:
    gate.opened.set()
    for kind, status in ((Unavailable, "UNAVAILABLE"), (OmnicodecError, "INTERNAL")):
        gate.error = kind("plain words")
        error = failure(lambda: stub.Encode(texts(b"", codec="text/gated")))
        assert (error.code().name, error.details()) == (status, "plain words")


def test_cancelled_work_stops(gate, admitted) -> None:
    with (
        running_server(ServerOptions(listen=LOCAL)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = CodecServiceStub(channel)
        running = stub.Encode.future(texts(*[b"first"] * 50, codec="text/gated"))
        gate.wait_begun(1)
        waiting = stub.Encode.future(texts(b"second", codec="text/gated"))
        running.cancel()
        late = failure(lambda: stub.Encode(texts(b"third", codec="text/gated"), timeout=1))
        assert late.code().name == "DEADLINE_EXCEEDED"
        admitted.wait_for(1)  # the server has heard of both
        gate.opened.set()
        assert waiting.result(timeout=20).tokens
        assert stub.Encode(texts(b"last", codec="text/gated"), timeout=20).tokens
        assert gate.begun == [b"first", b"second", b"last"]


def test_a_deadline_stops_a_batch(gate, stub: CodecServiceStub) -> None:
    gate.opened.set()
    gate.seconds = 0.2
    error = failure(lambda: stub.Encode(texts(*[b"a"] * 100, codec="text/gated"), timeout=1.5))
    assert error.code().name == "DEADLINE_EXCEEDED"
    time.sleep(0.4)
    begun = len(gate.begun)
    assert 1 <= begun <= 9
    time.sleep(0.4)
    assert len(gate.begun) == begun


def test_small_requests_pass_between_the_items_of_large_ones(gate, stub: CodecServiceStub) -> None:
    gate.opened.set()
    gate.seconds = 0.03
    large = stub.Encode.future(texts(*[b"large"] * 40, codec="text/gated"))
    gate.wait_begun(3)
    stub.Encode(texts(b"small", codec="text/gated"), timeout=20)
    assert not large.done()
    assert len(large.result(timeout=20).tokens) == 40


def test_a_full_server_says_so_and_is_healthy(gate, admitted, health: Health) -> None:
    options = ServerOptions(listen=LOCAL, max_queue=2)
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        stub = CodecServiceStub(channel)
        calls = [stub.Encode.future(texts(b"", codec="text/gated")) for _ in range(2)]
        admitted.wait_for(2)
        error = failure(lambda: stub.Encode(texts(b"")))
        assert error.code().name == "RESOURCE_EXHAUSTED"
        assert "busy" in error.details()
        info = error_details_pb2.RetryInfo()
        assert rpc_status.from_call(error).details[0].Unpack(info)
        assert info.retry_delay.ToMilliseconds() > 0
        assert health(server.address) == "SERVING"
        gate.opened.set()
        assert all(call.result(timeout=20).tokens for call in calls)
        assert stub.Encode(texts(b"a")).tokens


def test_bytes_are_bounded_too(gate) -> None:
    options = ServerOptions(listen=LOCAL, max_message_bytes=1 << 20, max_queue_bytes=1 << 20)
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        stub = CodecServiceStub(channel)
        calls = [stub.Encode.future(texts(bytes(200_000), codec="text/gated"))]
        gate.wait_begun(1)
        error = failure(lambda: stub.Encode(texts(bytes(900_000))))
        assert (error.code().name, "busy" in error.details()) == ("RESOURCE_EXHAUSTED", True)
        calls.append(stub.Encode.future(texts(bytes(100), codec="text/gated")))
        gate.opened.set()
        assert all(call.result(timeout=20).tokens for call in calls)


def test_cancelled_calls_leave_the_queue(gate, admitted) -> None:
    options = ServerOptions(listen=LOCAL, max_queue=2)
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        stub = CodecServiceStub(channel)
        for _ in range(3):
            calls = [stub.Encode.future(texts(b"", codec="text/gated")) for _ in range(2)]
            admitted.wait_for(2)
            gate.wait_begun(1)
            for call in calls:
                call.cancel()
            admitted.wait_for(0)  # while the gate is shut
        gate.opened.set()
        assert stub.Encode(texts(b"a"), timeout=20).tokens


def test_requests_from_many_threads(client: Client) -> None:
    def work(number: int) -> bool:
        items = [Text(f"{number} {i}" * i) for i in range(30)]
        tokens = client.encode(items, "text/bytes")
        image = Image(np.full((20, 20, 3), number, np.uint8))
        streams = client.compress([image], "image/vq")
        right = tokens == TEXT.encode(items) and client.decode(tokens) == items
        return right and streams == [compress(image, "image/vq")]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(16)))


def test_slow_priors_use_all_cores(
    client: Client, crew: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNICODEC_THREADS", "2")
    crew.at_once = 2
    items = [Text(bytes([i]) * i) for i in range(1, 40)]
    streams = client.compress(items, crew.name)
    assert streams == [compress(item, crew.name) for item in items]
    assert crew.most == 2
    crew.most = 0
    assert client.decompress(streams) == items
    assert crew.most == 2
    crew.broken = {7: InvalidInput("seven"), 9: InvalidInput("nine")}
    with pytest.raises(InvalidInput, match="item 6: seven"):
        client.compress(items, crew.name)


def test_options_that_make_no_sense() -> None:
    for listen in ("", "50051", ":50051", "localhost", "localhost:", "localhost:http"):
        with pytest.raises(InvalidInput, match="HOST:PORT"):
            ServerOptions(listen=listen)
    for name in ("max_message_bytes", "max_items", "max_queue", "cpu_threads"):
        with pytest.raises(InvalidInput, match=name):
            ServerOptions(**{name: 0})
    with pytest.raises(InvalidInput, match="2 GiB"):
        ServerOptions(max_message_bytes=1 << 31, max_queue_bytes=1 << 31)
    with pytest.raises(InvalidInput, match="max_queue_bytes"):
        ServerOptions(max_queue_bytes=1)
    with pytest.raises(InvalidInput, match="grace_seconds"):
        ServerOptions(grace_seconds=float("nan"))


def test_servers_that_cannot_start(server: RunningServer) -> None:
    for options, error in (
        (ServerOptions(listen=server.address), Unavailable),
        (ServerOptions(listen="no.such.host.invalid:1"), Unavailable),
        (ServerOptions(listen=LOCAL, preload=("text/nothing",)), UnknownCodec),
        (ServerOptions(listen=LOCAL, device="toaster"), InvalidInput),
    ):
        with pytest.raises(error), running_server(options):
            pass
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("omnicodec-server") == 1


def test_addresses() -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        if host == "[::1]" and not socket.has_ipv6:
            continue
        options = ServerOptions(listen=f"{host}:0", preload=("text/bytes",))
        with running_server(options) as server, Client(server.address) as client:
            assert server.address.startswith(f"{host}:")
            assert not server.address.endswith(":0")
            assert client.codec("text/bytes").spec == describe("text/bytes")
