"""Calls that are over are freed at once: gRPC counts those that are not as going on.

A connection may have 19 calls at a time here; each kind of call is made 60 times, while Python's
collector, which would free them some day, is off.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from omnicodec.service.server import ServerOptions, running_server
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

TIMES = 60
TOKEN = {"metadata": (("authorization", "Bearer secret"),), "timeout": 60}
GOOD = pb.EncodeRequest(codec="text/bytes", items=[media_pb2.Media(text=b"good")])

Kind = Callable[[CodecServiceStub, grpc.Channel], object]


def stream(*messages: pb.EncodeStreamRequest) -> Iterator[pb.EncodeStreamRequest]:
    return iter(messages)


CONFIG = pb.EncodeStreamRequest(config=pb.EncodeStreamConfig(codec="text/bytes"))
PIECE = pb.EncodeStreamRequest(piece=GOOD.items[0])


def cancelled(stub: CodecServiceStub, _: grpc.Channel) -> None:
    call = stub.Encode.future(GOOD, **TOKEN)
    call.cancel()


def left_alone(stub: CodecServiceStub, _: grpc.Channel) -> None:
    call = stub.EncodeStream(stream(CONFIG, PIECE), **TOKEN)
    next(call)
    call.cancel()


KINDS: dict[str, Kind] = {
    "OK": lambda stub, _: stub.Encode(GOOD, **TOKEN),
    "INVALID_ARGUMENT": lambda stub, _: stub.Encode(
        pb.EncodeRequest(codec="image/vq", items=GOOD.items), **TOKEN
    ),
    "NOT_FOUND": lambda stub, _: stub.Encode(pb.EncodeRequest(codec="a/b"), **TOKEN),
    "UNAUTHENTICATED": lambda stub, _: stub.Encode(GOOD, timeout=60),
    "PERMISSION_DENIED": lambda stub, _: stub.Compress(
        pb.CompressRequest(codec="text/bytes"), **TOKEN
    ),
    "UNIMPLEMENTED": lambda stub, _: stub.StartEncode(
        pb.StartEncodeRequest(codec="text/bytes", item=GOOD.items[0]), **TOKEN
    ),
    "cancelled": cancelled,
    "late": lambda stub, _: stub.Encode(GOOD, **{**TOKEN, "timeout": 1e-4}),
    "a stream": lambda stub, _: list(stub.EncodeStream(stream(CONFIG, PIECE), **TOKEN)),
    "a wrong stream": lambda stub, _: list(stub.EncodeStream(stream(PIECE), **TOKEN)),
    "a stream left alone": left_alone,
    "health": lambda _, channel: health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest()
    ),
    "reflection": lambda _, channel: list(
        reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), **TOKEN
        )
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_calls_are_freed(kind: str, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    hashed = hashlib.sha256(b"secret").hexdigest()
    tokens.write_text(
        f'[tokens.one]\nsha256 = "{hashed}"\n'
        'methods = ["Encode", "EncodeStream", "StartEncode", "GetCodec"]\n'
    )
    options = ServerOptions(listen="127.0.0.1:0", tokens=tokens, max_queue=1, max_streams=1)
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        stub = CodecServiceStub(channel)
        stub.Encode(GOOD, **TOKEN)
        gc.collect()
        gc.disable()
        try:
            for _ in range(TIMES):
                try:
                    KINDS[kind](stub, channel)
                    code = "OK"
                except grpc.RpcError as e:
                    code = e.code().name
                assert code != "UNAVAILABLE"
                assert code == kind or not kind.isupper()
            for _ in range(TIMES):
                with suppress(grpc.RpcError):  # the only place may be taken still
                    stub.Encode(GOOD, **TOKEN)
                    break
            else:
                pytest.fail("then nothing is served")
        finally:
            gc.enable()
