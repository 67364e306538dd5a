"""Real-valued tokens through a server: every bit as in process, limits, and messages that lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from omnicodec.codecs import FingerprintMismatch, Image, LimitExceeded, Tokens, compress, load
from omnicodec.codecs.registry import AnyCodec
from omnicodec.service import Client
from omnicodec.service.convert import media_to_proto, tokens_from_proto, tokens_to_proto
from omnicodec.service.pieces import cut_media, cut_tokens, join_media, join_tokens
from omnicodec.service.server import ServerOptions, running_server
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

RNG = np.random.default_rng(8)
PICTURES = [Image(RNG.integers(0, 256, (h, w, 3), np.uint8)) for h, w in ((30, 21), (8, 9), (0, 5))]


@pytest.fixture
def local(soft_codec: str) -> AnyCodec:
    return load(soft_codec)


@pytest.fixture
def tokens(local: AnyCodec) -> Tokens:
    return local.encode(PICTURES[:1], quality=16)[0]


@pytest.mark.parametrize("quality", [None, 16, 32])
def test_the_client_does_what_this_process_does(
    client: Client, local: AnyCodec, quality: int | None
) -> None:
    name = local.spec.name
    remote = client.codec(name)
    assert remote.spec == local.spec
    expected = local.encode(PICTURES, quality=quality)
    assert remote.encode(PICTURES, quality=quality) == expected
    assert client.encode([PICTURES[0].to_bytes(".png")], name, quality=quality) == expected[:1]
    assert remote.decode(expected) == local.decode(expected)
    streams = remote.compress(PICTURES, quality=quality)
    assert streams == [compress(item, local, quality=quality) for item in PICTURES]
    assert remote.decompress(streams) == local.decode(expected)


def test_jobs(start: Callable[..., Client], local: AnyCodec) -> None:
    client, name = start(), local.spec.name
    (expected,) = local.encode(PICTURES[:1], quality=16)
    assert client.start_encode(PICTURES[0], name, quality=16).result(20) == expected
    stream = client.start_encode(PICTURES[0], name, compress=True).result(20)
    assert stream == compress(PICTURES[0], local)


@pytest.mark.parametrize("quality", [16, 32])
def test_items_in_pieces(stub: CodecServiceStub, local: AnyCodec, quality: int) -> None:
    (expected,) = local.encode(PICTURES[:1], quality=quality)
    config = pb.EncodeStreamConfig(codec=local.spec.name, quality=quality)

    def sent() -> Iterator[pb.EncodeStreamRequest]:
        yield pb.EncodeStreamRequest(config=config)
        for piece in cut_media(media_to_proto(PICTURES[0]), 300):
            yield pb.EncodeStreamRequest(piece=piece)

    found = [answer.tokens for answer in stub.EncodeStream(sent())]
    assert tokens_from_proto(join_tokens(found, "height")) == expected

    def given() -> Iterator[pb.DecodeStreamRequest]:
        yield pb.DecodeStreamRequest(config=pb.DecodeStreamConfig())
        for piece in cut_tokens(tokens_to_proto(expected), "height", 300):
            yield pb.DecodeStreamRequest(tokens=piece)

    media = join_media([answer.piece for answer in stub.DecodeStream(given())])
    (back,) = local.decode([expected])
    assert media == media_to_proto(back)


def test_streams_in_pieces(client: Client, local: AnyCodec) -> None:
    stream = compress(PICTURES[0], local)
    cuts = (stream[at : at + 100] for at in range(0, len(stream), 100))
    rows = [piece.pixels for piece in client.decompress_pieces(cuts)]
    (expected,) = local.decode(local.encode(PICTURES[:1]))
    assert np.array_equal(np.concatenate(rows), expected.pixels)


def test_numbers_count_as_tokens(local: AnyCodec, tokens: Tokens) -> None:
    name, numbers = local.spec.name, tokens.soft.size
    for most in (numbers, numbers - 1):
        with (
            running_server(ServerOptions(listen="127.0.0.1:0", max_tokens=most)) as server,
            Client(server.address) as client,
        ):
            if most == numbers:
                assert client.encode(PICTURES[:1], name, quality=16) == [tokens]
                assert client.decode([tokens]) == local.decode([tokens])
                continue
            with pytest.raises(LimitExceeded, match="tokens an item"):
                client.encode(PICTURES[:1], name)
            with pytest.raises(LimitExceeded, match="tokens an item"):
                client.decode([tokens])


def decodes(stub: CodecServiceStub, tokens: media_pb2.Tokens) -> list[Callable[[], object]]:
    """Return the calls that decode these tokens, at once and in pieces."""
    pieces = [
        pb.DecodeStreamRequest(config=pb.DecodeStreamConfig()),
        pb.DecodeStreamRequest(tokens=tokens),
    ]
    return [
        lambda: stub.Decode(pb.DecodeRequest(tokens=[tokens])),
        lambda: list(stub.DecodeStream(iter(pieces))),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"soft": b""}, "needs|do not fit"),
        ({"soft": bytes(7)}, "needs|do not fit"),
        ({"soft_bits": 32}, "needs|do not fit"),
        ({"soft_bits": 8}, "16 or 32 bits"),
        ({"soft_width": 0}, "at least 1 value"),
        ({"soft_width": 1 << 31}, "needs|do not fit"),
        ({"codebooks": 1}, "not both"),
        ({"extent": {"bits": 32}}, "the tokens are float16"),
        ({"extent": {"bits": 17}}, "16 or 32 bits"),
        ({"extent": {"height": 31}}, "does not fit the extent"),
        ({"soft": b"\0\x7c" * 495}, "finite"),
        ({"soft": b"", "soft_bits": 0, "soft_width": 0, "codebooks": 1, "ids": bytes(660)}, "code"),
        ({"soft": b"", "soft_bits": 0, "soft_width": 0}, "at least 1 codebook"),
        ({"soft_width": 1, "soft_bits": 16, "soft": bytes(330)}, "not 1"),
    ],
    ids=str,
)
def test_messages_that_lie(
    stub: CodecServiceStub, tokens: Tokens, changes: dict[str, Any], message: str
) -> None:
    good = tokens_to_proto(tokens)
    assert len(good.soft) == 2 * 3 * 15 * 11
    for name, value in changes.items():
        if name == "extent":
            good.extent.update(value)
        else:
            good.ClearField(name)
            good.MergeFrom(media_pb2.Tokens(**{name: value}))
    for call in decodes(stub, good):
        with pytest.raises(grpc.RpcError, match=message) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_real_values_of_a_codec_of_ids(stub: CodecServiceStub, tokens: Tokens) -> None:
    for name in ("text/bytes", "audio/rvq"):
        spoiled = tokens_to_proto(tokens)
        spoiled.codec, spoiled.fingerprint = name, load(name).spec.fingerprint
        for call in decodes(stub, spoiled):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_another_model(client: Client, tokens: Tokens) -> None:
    own = {name: getattr(tokens, name) for name in Tokens.__dataclass_fields__}
    with pytest.raises(FingerprintMismatch):
        client.decode([Tokens(**{**own, "fingerprint": "0" * 16})])
