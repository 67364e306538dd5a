"""Requests that are wrong or hostile: each gets its status, and the server stays up."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from omnicodec.codecs import Text, Tokens, compress, describe, load
from omnicodec.codecs.stream import frames
from omnicodec.service.convert import tokens_to_proto
from omnicodec.service.server import RunningServer
from omnicodec.service.server.service import SERVICE
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub
from omnicodec.v1.stream_pb2 import StreamHeader

TEXT = load("text/bytes")

Health = Callable[..., str]


def texts(*items: bytes, codec: str = "text/bytes", **settings: object) -> pb.EncodeRequest:
    return pb.EncodeRequest(codec=codec, items=[{"text": item} for item in items], **settings)


def failure(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def tokens(**changes: object) -> media_pb2.Tokens:
    message = tokens_to_proto(TEXT.encode([Text("hello")])[0])
    message.MergeFrom(media_pb2.Tokens(**changes))
    return message


STREAM = compress(Text("hello"), "text/bytes")
HEADER = StreamHeader(
    codec="text/bytes",
    fingerprint=bytes.fromhex(TEXT.spec.fingerprint),
    prior=bytes.fromhex(TEXT.prior.fingerprint),
    grid=[1 << 31],
    chunk_positions=1 << 20,
)
BOMB = b"".join(frames.write_frames(HEADER.SerializeToString(), []))
RAW = media_pb2.RawImage(height=10**9, width=10**9, pixels=b"x")
WIDE = tokens_to_proto(
    Tokens("image/vq", describe("image/vq").fingerprint, np.zeros((1, 1 << 19), np.int32),
           (1 << 10, 1 << 9), {"height": 1 << 14, "width": 1 << 13})
)  # fmt: skip


@pytest.mark.parametrize(
    ("method", "request_", "status", "message"),
    [
        ("GetCodec", pb.GetCodecRequest(), "NOT_FOUND", "unknown codec"),
        ("GetCodec", pb.GetCodecRequest(name="x" * 100_000), "NOT_FOUND", "xxx..."),
        ("GetCodec", pb.GetCodecRequest(name="\U0001f600" * 10_000), "NOT_FOUND", "..."),
        ("Encode", pb.EncodeRequest(), "NOT_FOUND", "unknown codec ''"),
        ("Encode", pb.EncodeRequest(codec="../vq"), "NOT_FOUND", "unknown codec"),
        ("Encode", texts(b"", codec="text/bytes@9"), "NOT_FOUND", "is here in version "),
        ("Encode", texts(b"", quality=50), "INVALID_ARGUMENT", "has no quality 50"),
        ("Encode", texts(b"a", codec="image/vq"), "INVALID_ARGUMENT", "encodes Image, not Text"),
        (
            "Encode",
            pb.EncodeRequest(codec="text/bytes", items=[{"text": b"a"}, {}]),
            "INVALID_ARGUMENT",
            "item 1: a media message is empty",
        ),
        (
            "Encode",
            pb.EncodeRequest(codec="image/vq", items=[{"file": b"\x89PNG"}]),
            "INVALID_ARGUMENT",
            "not a picture",
        ),
        (
            "Compress",
            pb.CompressRequest(codec="image/vq", items=[{"image": RAW}]),
            "INVALID_ARGUMENT",
            "needs 3,000,000,000,000,000,000 bytes, not 1",
        ),
        ("Encode", texts(*[b""] * 1025), "RESOURCE_EXHAUSTED", "1025 items are over the limit"),
        ("Encode", texts(bytes(17 << 20)), "RESOURCE_EXHAUSTED", "tokens an item"),
        ("Encode", texts(bytes(65 << 20)), "RESOURCE_EXHAUSTED", "larger than max"),
        ("Decode", pb.DecodeRequest(tokens=[{}]), "INVALID_ARGUMENT", "grid"),
        ("Decode", pb.DecodeRequest(tokens=[tokens(ids=b"1")]), "INVALID_ARGUMENT", "bytes"),
        (
            "Decode",
            pb.DecodeRequest(tokens=[tokens(ids=b"\0\1\0\0" * 5)]),
            "INVALID_ARGUMENT",
            "token 256 at position 0",
        ),
        ("Decode", pb.DecodeRequest(tokens=[tokens(grid=[1])]), "INVALID_ARGUMENT", "rank 1"),
        (
            "Decode",
            pb.DecodeRequest(tokens=[tokens(codec="image/vq")]),
            "FAILED_PRECONDITION",
            "tokens were made by image/vq",
        ),
        (
            "Decode",
            pb.DecodeRequest(tokens=[tokens(), tokens(fingerprint="0" * 16)]),
            "FAILED_PRECONDITION",
            "item 1: tokens were made by text/bytes 0000000000000000",
        ),
        ("Decode", pb.DecodeRequest(tokens=[WIDE]), "RESOURCE_EXHAUSTED", "decoded item is over"),
        (
            "Decode",
            pb.DecodeRequest(tokens=[tokens()], format=".png\n\x00"),
            "INVALID_ARGUMENT",
            None,
        ),
        ("Decompress", pb.DecompressRequest(streams=[b""]), "DATA_LOSS", "empty"),
        ("Decompress", pb.DecompressRequest(streams=[STREAM[:-1]]), "DATA_LOSS", "cut off"),
        ("Decompress", pb.DecompressRequest(streams=[STREAM + b"!"]), "DATA_LOSS", "followed by"),
        ("Decompress", pb.DecompressRequest(streams=[BOMB]), "RESOURCE_EXHAUSTED", "decoded item"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalpha() else "",
)
def test_bad_requests_get_their_status(
    stub: CodecServiceStub,
    server: RunningServer,
    health: Health,
    method: str,
    request_: pb.EncodeRequest,
    status: str,
    message: str | None,
) -> None:
    if message is None:
        getattr(stub, method)(request_)  # a text has one format, whatever its ending
        return
    error = failure(lambda: getattr(stub, method)(request_))
    assert (error.code().name, message in error.details()) == (status, True), error.details()
    assert health(server.address) == "SERVING"
    assert stub.Encode(texts(b"ab")).tokens[0].ids == b"a\0\0\0b\0\0\0"


def raw_call(server: RunningServer, data: bytes, **options: object) -> Callable[[], bytes]:
    def call() -> bytes:
        with grpc.insecure_channel(server.address) as channel:
            method = channel.unary_unary(f"/{SERVICE.full_name}/Encode")
            return method(data, timeout=20, **options)

    return call


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"\x0a\xff\xff\xff\xff\x7f", b"\x0a\x01\xff", b"\x12\x02\x08\x01\x07", b"\0" * 99],
)
def test_bytes_that_are_no_message(server: RunningServer, data: bytes) -> None:
    error = failure(raw_call(server, data))
    assert error.code().name == "INVALID_ARGUMENT"
    assert error.details() == "the request is not a valid message of its type"


@pytest.mark.parametrize(
    "data",
    [
        b"\x12\x00" * (2 << 20),
        b"\x0a\x00" * (2 << 20),
        b"\x78\x00" * (2 << 20),
        b"\x12\x80\x80\x80\x01" + b"\x12\x00" * (1 << 20),
    ],
    ids=["empty items", "one string again and again", "unknown fields", "inside an item"],
)
def test_messages_that_explode_when_parsed(server: RunningServer, data: bytes) -> None:
    began = time.monotonic()
    error = failure(raw_call(server, data))
    assert (error.code().name, "fields" in error.details()) == ("RESOURCE_EXHAUSTED", True)
    assert time.monotonic() - began < 5


def test_compressed_requests_are_not_unpacked(server: RunningServer, health: Health) -> None:
    call = raw_call(server, bytes(1 << 20), compression=grpc.Compression.Gzip)
    assert failure(call).code().name == "UNIMPLEMENTED"
    assert health(server.address) == "SERVING"
