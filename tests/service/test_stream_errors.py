"""Streams that are wrong: each gets its status, whatever came before."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from omnicodec.codecs import Audio, Tokens, compress, load
from omnicodec.service.convert import media_to_proto, tokens_to_proto
from omnicodec.service.pieces import cut_tokens
from omnicodec.service.server import RunningServer
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

from .stream_calls import SOUND, STREAM, decode_requests, decoded, failure, text

SOUND_PIECE = pb.EncodeStreamRequest(piece=media_to_proto(SOUND))
OTHER_RATE = media_to_proto(Audio(SOUND.samples, 8_000))


@pytest.mark.parametrize(
    ("requests", "status", "message"),
    [
        ([], "INVALID_ARGUMENT", "first message of a stream is its config"),
        ([text(b"a")], "INVALID_ARGUMENT", "first message of a stream is its config"),
        ([pb.EncodeStreamRequest()], "INVALID_ARGUMENT", "first message of a stream is its"),
        ([{"codec": "audio/rvq"}], "INVALID_ARGUMENT", "ended before its first piece"),
        ([{"codec": "audio/none"}, SOUND_PIECE], "NOT_FOUND", "unknown codec"),
        ([{"codec": "audio/rvq", "quality": 99}, SOUND_PIECE], "INVALID_ARGUMENT", "no quality 99"),
        ([{"codec": "audio/rvq", "method": "x"}, SOUND_PIECE], "INVALID_ARGUMENT", "no method x"),
        ([{"codec": "audio/rvq"}, text(b"a")], "INVALID_ARGUMENT", "encodes Audio, not Text"),
        ([{"codec": "audio/rvq"}, pb.EncodeStreamRequest()], "INVALID_ARGUMENT", "pieces only"),
        (
            [{"codec": "audio/rvq"}, SOUND_PIECE, {"codec": "audio/rvq"}],
            "INVALID_ARGUMENT",
            "pieces only",
        ),
        (
            [{"codec": "audio/rvq"}, SOUND_PIECE, pb.EncodeStreamRequest(piece=OTHER_RATE)],
            "INVALID_ARGUMENT",
            "cannot go on with",
        ),
        (
            [{"codec": "text/bytes"}, text(b"a"), SOUND_PIECE],
            "INVALID_ARGUMENT",
            "of an item are all of one kind",
        ),
        (
            [{"codec": "image/vq"}, pb.EncodeStreamRequest(piece={"file": b"no picture"})],
            "INVALID_ARGUMENT",
            "not a picture",
        ),
        (
            [{"codec": "audio/rvq", "output": STREAM, "chunk_seconds": -1}, SOUND_PIECE],
            "INVALID_ARGUMENT",
            "a chunk cannot last",
        ),
    ],
)
def test_wrong_pieces_to_encode(
    stub: CodecServiceStub, requests: list[Any], status: str, message: str
) -> None:
    sent = [pb.EncodeStreamRequest(config=r) if isinstance(r, dict) else r for r in requests]
    error = failure(lambda: list(stub.EncodeStream(iter(sent))))
    assert error.code().name == status, error.details()
    assert message in error.details()


def test_wrong_pieces_to_decode(stub: CodecServiceStub) -> None:
    (tokens,) = load("audio/rvq").encode([SOUND])
    message = tokens_to_proto(tokens)
    first, *rest = list(cut_tokens(message, "samples", 500))
    stream = compress(SOUND, "audio/rvq")
    damaged = bytearray(stream)
    damaged[-20] ^= 1

    def changed(**changes: Any) -> media_pb2.Tokens:
        other = media_pb2.Tokens()
        other.CopyFrom(message)
        other.MergeFrom(media_pb2.Tokens(**changes))
        return other

    outside = Tokens(
        tokens.codec, tokens.fingerprint, tokens.ids + 5000, tokens.grid, tokens.extent
    )
    cases: list[tuple[list[Any], str, str]] = [
        ([], "INVALID_ARGUMENT", "ended before its first piece"),
        ([changed(fingerprint="0" * 16)], "FAILED_PRECONDITION", "another model"),
        ([changed(codec="audio/none")], "NOT_FOUND", "unknown codec"),
        ([changed(grid=[1])], "INVALID_ARGUMENT", "grid"),
        ([changed(extent={"x": 1})], "INVALID_ARGUMENT", "extent"),
        ([tokens_to_proto(outside)], "INVALID_ARGUMENT", "ids must be"),
        ([first], "INVALID_ARGUMENT", "frames"),
        ([first, stream], "INVALID_ARGUMENT", "of one kind"),
        ([stream[:50], first], "INVALID_ARGUMENT", "of one kind"),
        ([b""], "DATA_LOSS", "empty"),
        ([b"something else"], "DATA_LOSS", "not an .omc stream"),
        ([stream[:-1]], "DATA_LOSS", "cut off"),
        ([stream[:20]], "DATA_LOSS", "cut off"),
        ([bytes(damaged)], "DATA_LOSS", "damaged"),
        ([stream, b"more"], "DATA_LOSS", "something else"),
        ([stream, stream], "DATA_LOSS", "something else"),
    ]
    for pieces, status, words in cases:
        error = failure(lambda pieces=pieces: list(stub.DecodeStream(decode_requests(pieces))))
        assert error.code().name == status, (pieces, error.details())
        assert words in error.details()
    assert decoded(stub.DecodeStream(decode_requests([first, *rest])), Audio)


def test_bytes_that_are_no_message(server: RunningServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_stream("/omnicodec.v1.CodecService/EncodeStream")
        for data, words in (
            (b"\xff\xff", "not a valid message"),
            (b"\x0a\x00" * 5000, "fields"),
        ):
            error = failure(lambda data=data: list(call(iter([data]))))
            assert error.code().name in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
            assert words in error.details()
