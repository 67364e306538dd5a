"""Admission: by requests, bytes and memory, and what those hear that are turned away."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from omnicodec.codecs import (
    Audio,
    Image,
    LimitExceeded,
    Text,
    Video,
    describe,
    load,
)
from omnicodec.service import Client, convert
from omnicodec.service.opener import COST_OF_UNIT
from omnicodec.service.server import ServerOptions, running_server
from omnicodec.service.server.admission import (
    ALWAYS,
    RETRY_SECONDS,
    WINDOW,
    Admission,
    Busy,
    Memory,
    Reservation,
)
from omnicodec.service.server.costs import UNITS_OF_FILE, ItemLimits
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

LOCAL = "127.0.0.1:0"
LIMITS = ItemLimits(nbytes=10_000, pixels=1000, seconds=2.0, tokens=300, cost=1 << 20)


def test_the_delay_follows_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("omnicodec.service.server.admission.time.monotonic", lambda: now[0])

    async def check() -> None:
        admission = Admission(40, 1 << 20)
        delays = []
        for seconds in (0.001, 0.1, 10.0):
            for _ in range(40):
                admission.enter(1)
            for _ in range(40):
                with pytest.raises(Busy, match="busy with 40 requests") as caught:
                    admission.enter(1)
                now[0] += seconds
                admission.leave(1)
                admission.enter(1)
            delays.append(caught.value.retry_seconds)
            for _ in range(40):
                admission.leave(1)
        assert RETRY_SECONDS[0] <= delays[0] < 0.1
        assert 1.0 < delays[1] < 3.0
        assert delays[2] == RETRY_SECONDS[1]

    asyncio.run(check())


def test_who_would_wait_too_long_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("omnicodec.service.server.admission.time.monotonic", lambda: now[0])

    async def check() -> None:
        admission = Admission(1000, 1 << 20, 1.0)

        def room(seconds: float) -> int:
            """Return how many requests are let in, when each of late took so long."""
            for _ in range(ALWAYS - 1):
                admission.enter(1)
            for _ in range(100):
                admission.enter(1)
                now[0] += seconds
                admission.leave(1)
            count = ALWAYS - 1
            with suppress(Busy):
                for _ in range(1000):
                    admission.enter(1)
                    count += 1
            for _ in range(count):
                admission.leave(1)
            return count

        assert 95 <= room(0.01) <= 105
        assert 18 <= room(0.05) <= 22
        assert room(10.0) == ALWAYS

    asyncio.run(check())


def test_an_idle_server_takes_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("omnicodec.service.server.admission.time.monotonic", lambda: now[0])

    async def check() -> None:
        admission = Admission(1000, 1 << 20, 0.5)
        for _ in range(100):  # one now and then, which says nothing of how many could have been
            admission.enter(1)
            now[0] += 60.0
            admission.leave(1)
        for _ in range(1000):
            admission.enter(1)
        with pytest.raises(Busy):
            admission.enter(1)

    asyncio.run(check())


def test_memory_is_taken_and_given_back() -> None:
    memory = Memory(1000)
    first, second = Reservation(memory), Reservation(memory)
    first.add(600)
    with pytest.raises(Busy, match="large items"):
        second.add(500)
    second.add(400)
    with pytest.raises(Busy):
        second.add(500, instead_of=400)
    first.close()
    second.add(900, instead_of=400)
    second.close()
    second.close()
    first.add(1000)  # of a thread that had not ended yet
    assert memory.taken == 0
    with pytest.raises(LimitExceeded, match=r"about 1,001 bytes of memory, over the limit") as e:
        Reservation(memory).add(1001)
    assert not isinstance(e.value, Busy)


def test_a_request_needs_no_more_than_its_window() -> None:
    memory = Memory(1000)
    many = Reservation(memory)
    for _ in range(10_000):
        many.add(10)
    assert memory.taken == 10 * WINDOW
    huge = Reservation(Memory(1000))
    for _ in range(3):
        huge.add(900)  # one after the other they fit


@pytest.mark.parametrize(
    ("codec", "item", "units"),
    [
        ("image/vq", Image(np.zeros((5, 7, 3), np.uint8)), 35),
        ("audio/rvq", Audio(np.zeros((2, 100), np.float32), 8000), 200),
        ("text/bytes", Text(b"abc"), 3),
        ("video/inr", Video(np.zeros((3, 4, 5, 3), np.uint8), Fraction(25)), 60),
    ],
)
def test_raw_media_tell_what_they_need(codec: str, item: object, units: int) -> None:
    message = convert.media_to_proto(item)
    cost = LIMITS.check_media(message, describe(codec), to_tokens=True)
    assert cost == units * COST_OF_UNIT


def test_files_are_guessed() -> None:
    spec = describe("image/vq")
    small, large = (media_pb2.Media(file=bytes(n)) for n in (10, 200_000))
    limits = ItemLimits(1 << 20, 1000, 2.0, 300, 1 << 30)
    assert limits.check_media(small, spec, to_tokens=True) == COST_OF_UNIT * UNITS_OF_FILE
    assert limits.check_media(large, spec, to_tokens=True) == COST_OF_UNIT * 400_000


@pytest.mark.parametrize(
    ("codec", "item", "message"),
    [
        ("image/vq", Image(np.zeros((40, 26, 3), np.uint8)), "1,040 pixels"),
        ("audio/rvq", Audio(np.zeros((1, 801), np.float32), 400), "2.0 seconds"),
        ("video/inr", Video(np.zeros((30, 9, 9, 3), np.uint8), Fraction(25)), "2,430 pixels"),
        ("video/inr", Video(np.zeros((30, 1, 1, 3), np.uint8), Fraction(1)), "30.0 seconds"),
        ("text/bytes", Text(bytes(301)), "301 is over the limit of 300 tokens"),
        ("audio/rvq", Audio(np.zeros((1, 400), np.float32), 400), "800 is over .* tokens"),
        ("text/bytes", Text(bytes(10_001)), "10,00. is over the limit of 10,000 bytes"),
    ],
)
def test_limits_of_an_item(codec: str, item: object, message: str) -> None:
    sent = convert.media_to_proto(item)
    with pytest.raises(LimitExceeded, match=message):
        LIMITS.check_media(sent, describe(codec), to_tokens=True)


def test_streams_may_stand_for_more_tokens_than_messages() -> None:
    text = convert.media_to_proto(Text(bytes(301)))
    assert LIMITS.check_media(text, describe("text/bytes"), to_tokens=False) > 0


def test_a_server_holds_its_limits() -> None:
    options = ServerOptions(
        listen=LOCAL, max_item_bytes=50_000, max_pixels=2000, max_seconds=2.0, max_tokens=400
    )
    image, sound = (
        Image(np.zeros((50, 50, 3), np.uint8)),
        Audio(np.zeros((1, 20_000), np.float32), 8000),
    )
    tokens = load("text/bytes").encode([Text(bytes(500))])
    with running_server(options) as server, Client(server.address) as client:
        for suffix in (None, ".png", ".webp", ".gif"):
            sent = image if suffix is None else image.to_bytes(suffix)
            with pytest.raises(LimitExceeded, match="2,500 pixels are over the limit of 2,000"):
                client.encode([sent], "image/vq")
        short = Audio(sound.samples[:, :100], 8000)
        for suffix in (".wav", ".flac", ".ogg"):
            with pytest.raises(LimitExceeded, match="item 1: .* seconds are over the limit of 2"):
                client.encode([short, sound.to_bytes(suffix)], "audio/rvq")
        with pytest.raises(LimitExceeded, match="tokens an item"):
            client.encode([Text(bytes(500))], "text/bytes")
        with pytest.raises(LimitExceeded, match="tokens an item"):
            client.decode(tokens)
        with pytest.raises(LimitExceeded, match="over the limit of 50,000 bytes"):
            client.compress([Text(bytes(50_001))], "text/bytes")
        assert client.encode([short], "audio/rvq")


def test_large_items_take_turns(gate) -> None:
    size = 40_000
    options = ServerOptions(
        listen=LOCAL, max_cost=COST_OF_UNIT * size * 3 // 2, preload=("text/bytes",)
    )
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        encode = CodecServiceStub(channel).Encode

        def request(codec: str, count: int) -> pb.EncodeRequest:
            return pb.EncodeRequest(codec=codec, items=[{"text": bytes(count)}])

        first = encode.future(request("text/gated", size))
        gate.wait_begun(1)
        with pytest.raises(grpc.RpcError) as caught:
            encode(request("text/bytes", size), timeout=20)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "busy with large items" in caught.value.details()
        info = error_details_pb2.RetryInfo()
        assert rpc_status.from_call(caught.value).details[0].Unpack(info)
        small = encode.future(request("text/bytes", 10))
        gate.opened.set()
        assert first.result(20).tokens
        assert small.result(20).tokens
        assert encode(request("text/bytes", size), timeout=20).tokens
        with pytest.raises(grpc.RpcError, match="bytes of memory, over the limit") as caught:
            encode(request("text/bytes", 2 * size), timeout=20)
        assert not rpc_status.from_call(caught.value).details


def test_reservations_are_safe_between_threads() -> None:
    memory = Memory(1 << 40)
    reservation = Reservation(memory)
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait(20)
        for _ in range(500):
            reservation.add(3)

    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(work) for _ in range(4)]:
            future.result(20)
    assert memory.taken == 3 * WINDOW
    reservation.close()
    assert memory.taken == 0
