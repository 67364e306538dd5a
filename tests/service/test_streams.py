"""EncodeStream and DecodeStream: as offline, live, bounded, and ended when they should be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from omnicodec.codecs import (
    Audio,
    CodecSpec,
    Decoder,
    Encoder,
    Image,
    StreamingCodec,
    Text,
    Tokens,
    compress,
    load,
)
from omnicodec.codecs.codec import Settings
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import compress_pieces, decompress
from omnicodec.codecs.text.bytes import ByteCodec
from omnicodec.service import Client
from omnicodec.service.convert import (
    media_to_proto,
    tokens_from_proto,
    tokens_to_proto,
)
from omnicodec.service.pieces import cut_bytes, cut_tokens, join_media, join_tokens
from omnicodec.service.server import ServerOptions, running_server
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

from .stream_calls import (
    SOUND,
    STREAM,
    Sender,
    decode_requests,
    decoded,
    encode_requests,
    encoded,
    failure,
    text,
)

LOCAL = "127.0.0.1:0"
RNG = np.random.default_rng(4)
PICTURE = Image(RNG.integers(0, 256, (100, 70, 3), np.uint8))


class Endless:
    """A stream of pieces for `text/live`, sent as fast as they are taken."""

    def __init__(self, piece: pb.EncodeStreamRequest, count: int = 1 << 30) -> None:
        self._piece, self._count = piece, count
        self._last = time.monotonic()

    def __iter__(self) -> Iterator[pb.EncodeStreamRequest]:
        yield LIVE
        for _ in range(self._count):
            yield self._piece
            self._last = time.monotonic()

    def wait_held_back(self) -> None:
        """Return once no further piece has been taken for a second."""
        while time.monotonic() - self._last < 1:
            time.sleep(0.05)


@dataclass
class Live:
    """What encoders of `text/live` have taken; each piece waits while `opened` is not set."""

    taken: int = 0
    begun: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def live(register: Callable[[str, type[AnyCodec]], None]) -> Iterator[Live]:
    """Register `text/live`, like `text/bytes` but streaming, for one test."""
    state = Live()
    state.opened.set()

    class LiveEncoder(Encoder[Text]):
        def __init__(self, codec: LiveCodec) -> None:
            self._codec = codec

        def push(self, piece: Text) -> Tokens:
            state.begun.set()
            assert state.opened.wait(30)
            state.taken += len(piece.data)
            return self._codec.encode([piece])[0]

        def finish(self) -> Tokens:
            return self._codec.encode([Text(b"")])[0]

    class LiveDecoder(Decoder[Text]):
        def __init__(self, codec: LiveCodec) -> None:
            self._codec = codec

        def push(self, tokens: Tokens) -> Text:
            return self._codec.decode([tokens])[0]

        def finish(self) -> Text:
            return Text(b"")

    class LiveCodec(ByteCodec, StreamingCodec[Text]):
        @classmethod
        def describe(cls) -> CodecSpec:
            fields = {"name": "text/live", "extent": ("bytes",), "streaming": True}
            return replace(ByteCodec.describe(), **fields)

        def _encode(self, item: Text, settings: Settings) -> Tokens:
            tokens = super()._encode(item, settings)
            return replace(tokens, extent={"bytes": len(item.data)})

        def open_encoder(self, *, quality: int | None = None, effort: str | None = None) -> Any:
            return LiveEncoder(self)

        def open_decoder(self) -> Any:
            return LiveDecoder(self)

        def extent_of(self, steps: int, extent: Mapping[str, int]) -> dict[str, int]:
            return {"bytes": steps}

        def conceal(self, ids: Any, missing: Any) -> Any:
            return ids

    register("text/live", LiveCodec)
    yield state
    state.opened.set()


@contextmanager
def serving(**options: Any) -> Iterator[CodecServiceStub]:
    given = ServerOptions(listen=LOCAL, **options)
    with running_server(given) as server, grpc.insecure_channel(server.address) as channel:
        yield CodecServiceStub(channel)


LIVE = pb.EncodeStreamRequest(config=pb.EncodeStreamConfig(codec="text/live"))


@pytest.mark.parametrize("most", [3_000, 1 << 20])
def test_sound_is_encoded_as_offline(stub: CodecServiceStub, most: int) -> None:
    codec = load("audio/rvq")
    (tokens,) = codec.encode([SOUND])
    item = media_to_proto(SOUND)
    answers = list(stub.EncodeStream(encode_requests(item, most, codec="audio/rvq")))
    assert encoded(answers, "samples") == tokens
    requests = encode_requests(item, most, codec="audio/rvq", output=STREAM, chunk_seconds=0.2)
    stream = b"".join(answer.stream for answer in stub.EncodeStream(requests))
    assert stream == b"".join(compress_pieces([SOUND], "audio/rvq", chunk_seconds=0.2))


@pytest.mark.parametrize("most", [100, 1 << 20])
def test_sound_is_decoded_as_offline(stub: CodecServiceStub, most: int) -> None:
    codec = load("audio/rvq")
    (tokens,) = codec.encode([SOUND])
    (heard,) = codec.decode([tokens])
    pieces = list(cut_tokens(tokens_to_proto(tokens), "samples", most))
    assert decoded(stub.DecodeStream(decode_requests(pieces)), Audio) == heard
    files = stub.DecodeStream(decode_requests(pieces, format=".wav"))
    assert join_media([answer.piece for answer in files]).file == heard.to_bytes(".wav")
    for stream in (
        compress(SOUND, "audio/rvq"),
        b"".join(compress_pieces([SOUND], "audio/rvq", chunk_seconds=0.1)),
    ):
        pieces = list(cut_bytes(stream, most))
        assert decoded(stub.DecodeStream(decode_requests(pieces)), Audio) == heard
        cut = decode_requests([stream[:-40]], partial=True)
        assert decoded(stub.DecodeStream(cut), Audio) == decompress(stream[:-40], partial=True)


def test_other_codecs_take_pieces_too(stub: CodecServiceStub) -> None:
    codec = load("image/vq")
    (tokens,) = codec.encode([PICTURE])
    for item in (media_to_proto(PICTURE), media_pb2.Media(file=PICTURE.to_bytes(".png"))):
        answers = stub.EncodeStream(encode_requests(item, 1000, codec="image/vq"))
        assert encoded(answers, "height") == tokens
    requests = encode_requests(media_to_proto(PICTURE), 1000, codec="image/vq", output=STREAM)
    stream = b"".join(answer.stream for answer in stub.EncodeStream(requests))
    assert stream == compress(PICTURE, "image/vq")
    (seen,) = codec.decode([tokens])
    pieces = list(cut_tokens(tokens_to_proto(tokens), "height", 100))
    assert len(pieces) == 2
    assert decoded(stub.DecodeStream(decode_requests(pieces)), Image) == seen
    assert decoded(stub.DecodeStream(decode_requests(cut_bytes(stream, 90))), Image) == seen


def test_items_may_be_larger_than_a_message() -> None:
    data = RNG.bytes(300_000)
    with serving(max_message_bytes=200_000, max_queue_bytes=4 << 20) as stub:
        requests = encode_requests(media_pb2.Media(text=data), 65_536, codec="text/bytes")
        answers = [answer.tokens for answer in stub.EncodeStream(requests)]
        tokens = tokens_from_proto(join_tokens(answers, ""))
        assert tokens == load("text/bytes").encode([Text(data)])[0]
        assert sum(map(media_pb2.Tokens.ByteSize, answers)) > 1_200_000
        assert decoded(stub.DecodeStream(decode_requests(answers)), Text) == Text(data)


@pytest.mark.usefixtures("live")
def test_answers_come_while_pieces_still_do(stub: CodecServiceStub) -> None:
    sender = Sender(LIVE, text(b"hello "))
    answers = stub.EncodeStream(iter(sender))
    assert tokens_from_proto(next(answers).tokens).extent == {"bytes": 6}
    sender.send(text(b"world"))
    assert len(tokens_from_proto(next(answers).tokens)) == 5
    sender.close()
    assert [len(answer.tokens.ids) for answer in answers] == [0]

    def both() -> Iterator[pb.DecodeStreamRequest]:
        tokens = load("text/live").encode([Text(b"hello"), Text(b"")])
        yield from decode_requests(map(tokens_to_proto, tokens))

    assert [answer.piece.text for answer in stub.DecodeStream(both())] == [b"hello"]


def test_a_reader_that_stops_holds_the_sender_back(live: Live) -> None:
    piece = text(bytes(256 << 10))
    count = 300
    with serving(max_queue_bytes=64 << 20) as stub:
        requests = Endless(piece, count)
        answers = stub.EncodeStream(iter(requests))
        requests.wait_held_back()
        assert live.taken < 16 << 20  # of 75 MiB; what fits into the windows of HTTP/2
        assert sum(len(answer.tokens.ids) for answer in answers) == 4 * count * (256 << 10)
        assert live.taken == count * (256 << 10)


@pytest.mark.usefixtures("live")
def test_idle_streams_end() -> None:
    with serving(stream_idle_seconds=0.3) as stub:
        for requests in (Sender(), Sender(LIVE), Sender(LIVE, text(b"a"))):
            error = failure(lambda requests=requests: list(stub.EncodeStream(iter(requests))))
            assert error.code().name == "DEADLINE_EXCEEDED"
            assert "nothing came for 0.3 seconds" in error.details()
            requests.close()
        info = error_details_pb2.ErrorInfo()
        assert rpc_status.from_call(error).details[0].Unpack(info)
        assert info.reason == "STREAM_IDLE"

        endless = Endless(text(bytes(256 << 10)))
        slow = stub.EncodeStream(iter(endless))
        endless.wait_held_back()
        error = failure(lambda: list(slow))  # as soon as it reads again
        assert error.code().name == "DEADLINE_EXCEEDED"
        assert "no answer was taken for 0.3 seconds" in error.details()


@pytest.mark.usefixtures("live")
def test_streams_are_counted() -> None:
    with serving(max_streams=2) as stub:
        senders = [Sender(LIVE, text(b"a")) for _ in range(2)]
        calls = [stub.EncodeStream(iter(sender)) for sender in senders]
        for call in calls:
            assert next(call).tokens.ids
        error = failure(lambda: list(stub.EncodeStream(iter([LIVE]))))
        assert (error.code().name, "busy" in error.details()) == ("RESOURCE_EXHAUSTED", True)
        assert rpc_status.from_call(error).details[0].Unpack(error_details_pb2.RetryInfo())
        assert stub.Encode(pb.EncodeRequest(codec="text/bytes", items=[{"text": b"a"}])).tokens
        calls[0].cancel()
        senders[1].close()
        assert not next(calls[1]).tokens.ids
        assert list(calls[1]) == []
        senders[0].close()
        requests = [LIVE, text(b"a")]
        _until(lambda: len(list(stub.EncodeStream(iter(requests)))) == 2)


def _until(works: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while True:
        try:
            assert works()
            return
        except grpc.RpcError:
            assert time.monotonic() < ends
            time.sleep(0.01)


def test_what_streams_keep_is_bounded() -> None:
    limits = {"max_message_bytes": 1 << 20, "max_queue_bytes": 1 << 20}
    start = pb.EncodeStreamRequest(config=pb.EncodeStreamConfig(codec="text/bytes"))
    with serving(**limits, max_item_bytes=700_000) as stub:
        error = failure(lambda: list(stub.EncodeStream(iter([start, *[text(bytes(300_000))] * 3]))))
        assert error.code().name == "RESOURCE_EXHAUSTED"
        assert "the item is over the limit of 700,000 bytes" in error.details()
        large = [start, text(bytes(600_000))]
        ends = time.monotonic() + 20
        refused = False
        while not refused:
            first = Sender(*large)
            waiting = stub.EncodeStream(iter(first))
            # Of both streams either may be the one without room; then the other way round.
            while waiting.is_active() and not refused:
                refused = not _has_room(stub, large)
                assert time.monotonic() < ends, "there was always room"
        assert waiting.is_active()
        first.close()
        assert sum(len(answer.tokens.ids) for answer in waiting) == 2_400_000
        while not _has_room(stub, large):
            assert time.monotonic() < ends, "the room was never free again"


def _has_room(stub: CodecServiceStub, requests: list[pb.EncodeStreamRequest]) -> bool:
    try:
        return bool(list(stub.EncodeStream(iter(requests))))
    except grpc.RpcError as e:
        assert (e.code().name, "other streams" in e.details()) == ("RESOURCE_EXHAUSTED", True)
        return False


def test_cancelled_and_late_streams_stop(live: Live, stub: CodecServiceStub) -> None:
    live.opened.clear()
    call = stub.EncodeStream(iter(Sender(LIVE, *[text(b"a")] * 5)))
    assert live.begun.wait(20)
    call.cancel()
    live.opened.set()
    late = Sender(LIVE, text(b"b"))
    error = failure(lambda: list(stub.EncodeStream(iter(late), timeout=0.5)))
    assert error.code().name == "DEADLINE_EXCEEDED"
    late.close()
    assert len(list(stub.EncodeStream(iter([LIVE, text(b"c")])))) == 2
    assert live.taken == 3


@pytest.mark.usefixtures("live")
def test_streams_end_within_the_grace() -> None:
    options = ServerOptions(listen=LOCAL, grace_seconds=20)
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        stub = CodecServiceStub(channel)
        sender = Sender(LIVE, text(b"a"))
        answers = stub.EncodeStream(iter(sender))
        assert next(answers).tokens.ids
        draining = threading.Thread(target=server.drain)
        draining.start()
        _until_refused(stub)
        sender.send(text(b"b"))
        assert next(answers).tokens.ids
        sender.close()
        assert len(list(answers)) == 1
        draining.join(20)
        assert not draining.is_alive()


def _until_refused(stub: CodecServiceStub) -> None:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        try:
            stub.GetCodec(pb.GetCodecRequest(name="text/bytes"))
        except grpc.RpcError as e:
            assert e.code().name == "UNAVAILABLE"
            return
    raise AssertionError("the server does not drain")


@pytest.mark.usefixtures("live")
def test_streams_without_an_end_are_cut_off_by_a_drain() -> None:
    options = ServerOptions(listen=LOCAL, grace_seconds=0.2)
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        sender = Sender(LIVE, text(b"a"))
        answers = CodecServiceStub(channel).EncodeStream(iter(sender))
        assert next(answers).tokens.ids
        server.drain()
        assert failure(lambda: list(answers)).code().name in ("UNAVAILABLE", "CANCELLED")
        sender.close()


@pytest.mark.usefixtures("live")
def test_streams_beside_other_calls(client: Client, stub: CodecServiceStub) -> None:
    sender = Sender(LIVE)
    answers = stub.EncodeStream(iter(sender))
    for number in range(5):
        sender.send(text(bytes([number]) * number))
        assert len(next(answers).tokens.ids) == 4 * number
        assert client.encode([Text(b"beside")], "text/bytes")
    sender.close()
    assert len(list(answers)) == 1
