"""Batches: items of all requests together, and results that do not depend on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import grpc
import numpy as np
import pytest

from omnicodec.codecs import CodecSpec, Image, InvalidInput, Text, Tokens, load
from omnicodec.codecs.codec import Settings
from omnicodec.codecs.image._side_by_side import side_by_side
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.text.bytes import ByteCodec
from omnicodec.service import Client
from omnicodec.service.convert import media_to_proto
from omnicodec.service.server import ServerOptions, running_server
from omnicodec.service.server.batching import (
    INTERACTIVE_ITEMS,
    Batchable,
    Owners,
    says_bulk,
)
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

from .operation_calls import until

LOCAL = "127.0.0.1:0"
RNG = np.random.default_rng(3)
WIDTH = 8
BATCHING = ("image/vq", "image/vq8")


def picture(height: int, width: int) -> Image:
    y, x = np.mgrid[0:height, 0:width]
    a, b = RNG.uniform(0.02, 0.3, (2, 3))
    waves = 128 + 90 * np.sin(y[..., None] * a + x[..., None] * b)
    return Image((waves + RNG.normal(0, 12, waves.shape)).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("name", BATCHING)
def test_tokens_do_not_depend_on_neighbours(name: str) -> None:
    codec = load(name, device="cpu")
    pictures = [picture(20, 40) for _ in range(64)]
    alone = [codec.encode([item], width=WIDTH)[0] for item in pictures]
    assert codec.encode(pictures, width=WIDTH) == alone
    assert codec.encode(pictures[5:13], width=WIDTH) == alone[5:13]
    decoded = codec.decode(alone[:12], width=WIDTH)
    for _ in range(3):
        order = RNG.permutation(64)[: int(RNG.integers(2, 30))]
        others = [picture(int(h), 40) for h in RNG.integers(1, 50, 4)]
        mixed = [pictures[i] for i in order] + others
        places = RNG.permutation(len(mixed))
        found = codec.encode([mixed[i] for i in places], width=WIDTH)
        for place, tokens in zip(places, found, strict=True):
            if place < len(order):
                assert tokens == alone[order[place]]
    assert [codec.decode([tokens], width=WIDTH)[0] for tokens in alone[:12]] == decoded


def test_large_pictures_share_batches_with_their_own_tiles() -> None:
    codec = load("image/vq", device="cpu")
    wide, small = picture(40, 1500), picture(40, 64)
    (alone,) = codec.encode([wide], width=2)
    assert codec.encode([small, wide, small], width=2)[1] == alone
    assert codec.decode([alone], width=2) == codec.decode([alone, alone], width=2)[:1]


def test_side_by_side_runs_one_shape_always() -> None:
    shapes: list[tuple[int, ...]] = []

    def run(batch: Any) -> Any:
        shapes.append(batch.shape)
        return batch + 1

    arrays = [np.full((2, n), i) for i, n in enumerate([3, 3, 4, 3, 4, 3, 3])]
    found = dict(side_by_side(arrays, 4, run))
    assert sorted(found) == list(range(7))
    assert all((found[i] == arrays[i] + 1).all() for i in found)
    assert shapes == [(4, 2, 3), (4, 2, 4), (4, 2, 3)]


class Latch:
    """Keeps a device busy until it is opened."""

    def __init__(self, owners: Owners) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

        def hold(device: str) -> str:
            self.entered.set()
            assert self.opened.wait(20)
            return device

        self.future = owners.turn(hold)
        assert self.entered.wait(20)


@pytest.fixture
def owners() -> Iterator[Callable[..., Owners]]:
    made: list[Owners] = []

    def make(*devices: str, **settings: Any) -> Owners:
        made.append(Owners(devices or ("cpu",), **settings))
        return made[-1]

    yield make
    for each in made:
        each.shutdown(wait=True, cancel_futures=True)


def item(key: Hashable, payload: Any, log: list[list[Any]], **settings: Any) -> Batchable:
    def work(payloads: list[Any], device: str) -> list[Any]:
        log.append(payloads)
        if "bad" in payloads:
            raise InvalidInput(f"{len(payloads)} with a bad one")
        return [f"{each} on {device}" for each in payloads]

    return Batchable("a/codec", key, payload, work, **settings)


def test_items_of_one_key_share_a_batch(owners: Callable[..., Owners]) -> None:
    queue, log = owners(max_batch=3), list[list[Any]]()
    latch = Latch(queue)
    futures = [queue.batch(item("k", i, log)) for i in range(7)]
    other = queue.batch(item("other", 9, log))
    latch.opened.set()
    assert [f.result(20) for f in futures] == [f"{i} on cpu" for i in range(7)]
    assert other.result(20) == "9 on cpu"
    assert log == [[0, 1, 2], [3, 4, 5], [6], [9]]


def test_an_error_is_the_error_of_its_item(owners: Callable[..., Owners]) -> None:
    queue, log = owners(max_batch=8), list[list[Any]]()
    latch = Latch(queue)
    futures = [queue.batch(item("k", each, log)) for each in ("a", "bad", "b")]
    latch.opened.set()
    assert [futures[i].result(20) for i in (0, 2)] == ["a on cpu", "b on cpu"]
    with pytest.raises(InvalidInput, match="1 with"):
        futures[1].result(20)


def test_what_is_not_wanted_any_more_is_left_out(owners: Callable[..., Owners]) -> None:
    queue, log = owners(max_batch=8), list[list[Any]]()
    latch = Latch(queue)

    def late() -> None:
        raise TimeoutError

    kept = queue.batch(item("k", "kept", log))
    cancelled = queue.batch(item("k", "cancelled", log))
    expired = queue.batch(item("k", "expired", log, check=late))
    assert cancelled.cancel()
    latch.opened.set()
    assert kept.result(20) == "kept on cpu"
    with pytest.raises(TimeoutError):
        expired.result(20)
    assert log == [["kept"]]


def test_batches_wait_for_what_is_on_its_way_only(owners: Callable[..., Owners]) -> None:
    queue, log = owners(max_batch=3, max_wait=30.0), list[list[Any]]()
    assert queue.batch(item("k", 0, log)).result(5) == "0 on cpu"  # nothing is on its way
    queue.expect("a/codec", 2)
    first = queue.batch(item("k", 1, log))
    queue.expect("a/codec", -1)
    queue.turn(lambda _: None).result(5)
    assert not first.done()
    second = queue.batch(item("k", 2, log))
    queue.expect("a/codec", -1)
    assert [first.result(5), second.result(5)] == ["1 on cpu", "2 on cpu"]
    assert log[-1] == [1, 2]


def test_bulk_gives_way_but_not_for_ever(
    owners: Callable[..., Owners], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("omnicodec.service.server.batching.time.monotonic", lambda: now[0])
    queue, order = owners(), list[str]()
    latch = Latch(queue)
    turns: list[Future[Any]] = []

    def add(name: str, bulk: bool) -> None:
        turns.append(queue.turn(lambda _: order.append(name), bulk=bulk))

    add("bulk", True)
    now[0] += 0.1
    add("small", False)
    now[0] += 0.2
    add("late small", False)
    latch.opened.set()
    for turn in turns:
        turn.result(20)
    assert order == ["small", "bulk", "late small"]


def test_devices_share_a_queue(owners: Callable[..., Owners]) -> None:
    queue = owners("one", "two")
    latches = [Latch(queue), Latch(queue)]
    own = queue.submit(lambda: threading.current_thread().name)
    for latch in latches:
        latch.opened.set()
    assert {latch.future.result(20) for latch in latches} == {"one", "two"}
    assert own.result(20) == "omnicodec-compute_0"


def test_closing_cancels_what_has_not_begun(owners: Callable[..., Owners]) -> None:
    queue = owners()
    latch = Latch(queue)
    waiting = [queue.turn(lambda _: None), queue.batch(item("k", 0, []))]
    queue.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    latch.opened.set()
    assert latch.future.result(20) == "cpu"
    with pytest.raises(RuntimeError):
        queue.submit(print)


def test_metadata_can_only_lower_a_call() -> None:
    assert says_bulk([("other", "x"), ("omnicodec-priority", "bulk")])
    assert not says_bulk([("omnicodec-priority", "interactive")])
    assert not says_bulk(None)


@dataclass
class Seen:
    """What `text/beside` was given, batch by batch, and what holds it up."""

    batches: list[list[bytes]] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def beside(register: Callable[[str, type[AnyCodec]], None]) -> Seen:
    """Register `text/beside`, which runs texts of one length side by side, for one test."""
    seen = Seen()

    class BesideCodec(ByteCodec):
        width = 4

        @classmethod
        def describe(cls) -> CodecSpec:
            return replace(ByteCodec.describe(), name="text/beside")

        def shape_class(self, item: Text, settings: Settings) -> Hashable | None:
            return len(item.data)

        def tokens_class(self, tokens: Tokens, width: int) -> Hashable | None:
            return tokens.grid

        def _encode_all(self, items: Sequence[Text], settings: Settings) -> list[Tokens]:
            assert settings.width == 4
            seen.batches.append([item.data for item in items])
            assert seen.opened.wait(20)
            return [self._encode(item, settings) for item in items]

    register("text/beside", BesideCodec)
    return seen


def test_requests_share_batches(beside: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    came = threading.Semaphore(0)
    submit = Owners.batch

    def batch(self: Owners, entry: Batchable, *, bulk: bool = False) -> Future[Any]:
        future = submit(self, entry, bulk=bulk)
        came.release()
        return future

    monkeypatch.setattr(Owners, "batch", batch)
    options = ServerOptions(listen=LOCAL, max_batch=4, max_wait_ms=20)
    texts = [f"{i:02}".encode() for i in range(13)]
    with (
        running_server(options) as server,
        Client(server.address) as client,
        ThreadPoolExecutor(14) as threads,
    ):
        first = threads.submit(client.encode, [Text(b"longer")], "text/beside")
        assert came.acquire(timeout=20)
        waiting = [threads.submit(client.encode, [Text(t)], "text/beside") for t in texts]
        for _ in texts:
            assert came.acquire(timeout=20)
        beside.opened.set()
        assert first.result(20)[0].ids.shape == (1, 6)
        found = [future.result(20)[0] for future in waiting]
        assert [bytes(t.ids[0].astype(np.uint8)) for t in found] == texts
        assert client.decode(found) == [Text(t) for t in texts]
    first_batch, *others = beside.batches
    assert first_batch == [b"longer"]
    assert sorted(len(batch) for batch in others) == [1, 4, 4, 4]
    assert sorted(text for batch in others for text in batch) == texts


def test_a_bulk_request_fills_batches_of_its_own(beside: Seen) -> None:
    beside.opened.set()
    options = ServerOptions(listen=LOCAL, max_batch=4)
    texts = [bytes(1 + i % 2) for i in range(3 * INTERACTIVE_ITEMS)]
    with running_server(options) as server, Client(server.address) as client:
        found = client.encode([Text(t) for t in texts], "text/beside")
        with pytest.raises(InvalidInput, match="item 1: .* encodes Text"):
            client.encode([Text(b""), picture(2, 2)], "text/beside")
    assert [t.ids.shape[1] for t in found] == [len(t) for t in texts]
    assert all(len({len(t) for t in batch}) == 1 for batch in beside.batches)
    assert max(len(batch) for batch in beside.batches) == 4
    assert len(beside.batches) <= 16


def test_pictures_in_batches_are_those_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = load("image/vq", device="cpu")
    monkeypatch.setattr(codec, "width", WIDTH)
    pictures = [picture(*size) for size in [(33, 20), (40, 64), (33, 20), (16, 16), (48, 17)] * 3]
    expected = codec.encode(pictures)
    options = ServerOptions(listen=LOCAL, device="cpu", max_batch=WIDTH)
    with (
        running_server(options) as server,
        Client(server.address) as client,
        ThreadPoolExecutor(5) as threads,
    ):
        parts = [threads.submit(client.encode, pictures[i::5], "image/vq") for i in range(5)]
        for i, part in enumerate(parts):
            assert part.result(60) == expected[i::5]
        assert client.decode(expected) == codec.decode(expected)
        streams = client.compress(pictures[:4], "image/vq")
        assert client.decompress(streams) == codec.decode(expected[:4])


def test_codecs_that_batch_anything_get_many_at_once(
    register: Callable[[str, type[AnyCodec]], None],
) -> None:
    sizes: list[int] = []

    class TogetherCodec(ByteCodec):
        batched = True

        @classmethod
        def describe(cls) -> CodecSpec:
            return replace(ByteCodec.describe(), name="text/together")

        def _encode_all(self, items: Sequence[Text], settings: Settings) -> list[Tokens]:
            sizes.append(len(items))
            if any(item.data == b"bad" for item in items):
                raise InvalidInput("a bad one")
            return [self._encode(item, settings) for item in items]

    register("text/together", TogetherCodec)
    texts = [Text(f"{i}") for i in range(200)]
    with running_server(ServerOptions(listen=LOCAL)) as server, Client(server.address) as client:
        found = client.encode(texts, "text/together")
        assert [t.ids.tolist() for t in found] == [
            t.ids.tolist() for t in load("text/bytes").encode(texts)
        ]
        assert max(sizes) >= 32
        with pytest.raises(InvalidInput, match="^item 150: a bad one"):
            client.encode([*texts[:150], Text(b"bad"), *texts[:9]], "text/together")


def test_what_takes_minutes_keeps_nobody_waiting(
    fitted: ModuleType,
    slow: Callable[[float], None],
    fitted_log: Callable[[], list[str]],
    ramps: Image,
) -> None:
    slow(0.05)
    request = pb.EncodeRequest(codec=fitted.NAME, items=[media_to_proto(ramps)], effort="best")
    small = pb.EncodeRequest(codec="text/bytes", items=[{"text": b"a"}])
    options = ServerOptions(listen=LOCAL)
    with running_server(options) as server, grpc.insecure_channel(server.address) as channel:
        encode = CodecServiceStub(channel).Encode
        call = encode.future(request)
        until(fitted_log)
        assert encode(small, timeout=20).tokens
        assert len(fitted_log()) == 1
        call.cancel()
        request.effort = "fast"
        slow(0.0)
        assert encode(request, timeout=20).tokens
        assert fitted_log() == ["begun at 0", "begun at 0", "done at 20"]
