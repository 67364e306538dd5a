"""The client: the codec interface over the network, and its errors."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from omnicodec import service
from omnicodec.codecs import (
    CorruptStream,
    FingerprintMismatch,
    Image,
    InvalidInput,
    LimitExceeded,
    OmnicodecError,
    Text,
    Tokens,
    Unavailable,
    UnknownCodec,
    available,
    compress,
    decompress,
    describe,
    load,
)
from omnicodec.codecs.errors import ERROR_CODES
from omnicodec.service import Client
from omnicodec.service.server import ServerOptions, running_server

LOCAL = "127.0.0.1:0"
TEXT = load("text/bytes")
RNG = np.random.default_rng(2)


def picture(height: int, width: int) -> Image:
    return Image(RNG.integers(0, 256, (height, width, 3), np.uint8))


def test_codecs(client: Client) -> None:
    assert client.codecs() == [describe(name) for name in available()]
    assert client.codec("image/vq@2").spec == describe("image/vq")


def test_results_are_those_in_process(client: Client, tmp_path: Path) -> None:
    images = [picture(40, 30), picture(1, 1), picture(0, 9), picture(17, 64)]
    codec = load("image/vq")
    tokens = client.encode(images, "image/vq")
    assert tokens == codec.encode(images)
    assert client.decode(tokens) == codec.decode(tokens)
    streams = client.compress(images, "image/vq")
    assert streams == [compress(image, "image/vq") for image in images]
    assert client.decompress(streams) == [decompress(stream) for stream in streams]
    path = tmp_path / "a.png"
    images[0].save(path)
    as_files = client.encode([path, str(path), path.read_bytes(), images[0]], "image/vq")
    assert as_files == tokens[:1] * 4
    assert client.encode((t for t in [Text("x"), b"x"]), "text/bytes") == TEXT.encode(
        [Text("x")] * 2
    )


def test_methods(client: Client, cased: str) -> None:
    texts = [Text("a b"), Text("C")]
    assert client.codec(cased).spec.methods == ("keep", "upper")
    assert client.encode(texts, cased) == load(cased).encode(texts)
    assert client.encode(texts, cased, method="upper") == load(cased).encode(texts, method="upper")
    assert client.compress(texts, cased, method="upper") == [
        compress(text, cased, method="upper") for text in texts
    ]


def test_mixed_tokens(client: Client) -> None:
    image, text = picture(20, 20), Text("caf\u00e9")
    mixed = load("image/vq").encode([image]) + TEXT.encode([text])
    assert client.decode(mixed) == [*load("image/vq").decode(mixed[:1]), text]


def test_damaged_streams(client: Client) -> None:
    text = Text(RNG.integers(0, 256, 200_000, np.uint8).tobytes())
    stream = compress(text, "text/bytes")
    damaged = stream[:100_000] + b"x" + stream[100_001:]
    with pytest.raises(CorruptStream, match="damaged"):
        client.decompress([damaged])
    expected = [decompress(damaged, partial=True), text]
    assert client.decompress([damaged, stream], partial=True) == expected


def test_empty_batches(client: Client) -> None:
    assert client.encode([], "text/bytes") == client.decode([]) == []
    assert client.compress([], "text/bytes") == client.decompress([]) == []
    with pytest.raises(UnknownCodec):
        client.encode([], "text/nothing")


@pytest.mark.parametrize("kind", [*ERROR_CODES, OmnicodecError])
def test_every_error_arrives_as_its_class(client: Client, gate, kind) -> None:
    gate.opened.set()
    gate.error = kind("plain words")
    with pytest.raises(OmnicodecError, match="plain words") as caught:
        client.encode([Text("a")], "text/gated")
    assert issubclass(type(caught.value), kind)
    with pytest.raises(kind, match="item 0: "):
        client.encode([Text("a"), Text("b")], "text/gated")


def test_errors_by_their_causes(client: Client) -> None:
    (tokens,) = TEXT.encode([Text("hello")])
    other = Tokens("text/bytes", "0" * 16, tokens.ids, tokens.grid)
    for error, call in (
        (UnknownCodec, lambda: client.codec("text/nothing")),
        (UnknownCodec, lambda: client.encode([Text("")], "text/bytes@7")),
        (UnknownCodec, lambda: client.decode([Tokens("x/y", "", tokens.ids, (5,))])),
        (InvalidInput, lambda: client.encode([Text("")], "text/bytes", quality=7)),
        (InvalidInput, lambda: client.encode([Text("")], "text/bytes", quality=-1)),
        (InvalidInput, lambda: client.encode([Text("")], "text/bytes", effort="much")),
        (InvalidInput, lambda: client.encode([Text("")], "text/bytes", method="other")),
        (InvalidInput, lambda: client.encode([Text("")], "\ud800")),
        (InvalidInput, lambda: client.encode([b"no picture"], "image/vq")),
        (InvalidInput, lambda: client.encode([7], "image/vq")),
        (InvalidInput, lambda: client.encode("one path", "image/vq")),
        (InvalidInput, lambda: client.encode(Text("one text"), "text/bytes")),
        (InvalidInput, lambda: client.encode(["/no/such/file"], "image/vq")),
        (FingerprintMismatch, lambda: client.decode([other])),
        (CorruptStream, lambda: client.decompress([b"nothing"])),
        (InvalidInput, lambda: client.decompress(b"a stream")),
        (InvalidInput, lambda: client.decompress(["a path"])),
        (InvalidInput, lambda: client.decode(tokens)),
        (InvalidInput, lambda: client.decode([Text("a")])),
        (LimitExceeded, lambda: client.encode([bytes(64 << 20)], "text/bytes")),
        (LimitExceeded, lambda: client.encode([Text(bytes(20 << 20))], "text/bytes")),
    ):
        with pytest.raises(error):
            call()


def calls_of(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the size of each request that the client sends."""
    sizes: list[int] = []
    call = client._call

    def counted(step):
        sizes.append(step.request.ByteSize())
        return call(step)

    monkeypatch.setattr(client, "_call", counted)
    return sizes


def test_large_batches_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 1 << 15
    options = ServerOptions(listen=LOCAL, max_message_bytes=limit)
    with (
        running_server(options) as server,
        Client(server.address, max_message_bytes=limit, max_items=100) as client,
    ):
        sizes = calls_of(client, monkeypatch)
        images = [picture(40 + i, 48) for i in range(12)]  # 5 of them in a message, or 4
        tokens = client.encode(images, "image/vq")
        assert tokens == load("image/vq").encode(images)
        assert len(sizes) == 3
        assert max(sizes) <= limit
        sizes.clear()
        assert client.decode(tokens) == load("image/vq").decode(tokens)
        assert len(sizes) <= 5  # what does not fit is noticed once, not at every call
        sizes.clear()
        texts = [Text(bytes([i % 256])) for i in range(250)]
        assert client.decompress(client.compress(texts, "text/bytes")) == texts
        assert len(sizes) == 6


def test_a_server_with_lower_limits_than_the_client_knows() -> None:
    options = ServerOptions(listen=LOCAL, max_items=3, max_message_bytes=4096)
    with running_server(options) as server, Client(server.address) as client:
        texts = [Text(bytes(n)) for n in (0, 1, 2, 3, 400, 300, 600, 4, 5, 6)]
        assert client.encode(texts, "text/bytes") == TEXT.encode(texts)
        with pytest.raises(LimitExceeded, match="larger than max"):
            client.encode([Text(bytes(5000))], "text/bytes")
        # Its tokens are larger than a message, so they come in pieces.
        assert client.encode([Text(bytes(2000))], "text/bytes") == TEXT.encode([Text(bytes(2000))])


def test_a_busy_server_is_asked_again(gate) -> None:
    with (
        running_server(ServerOptions(listen=LOCAL, max_queue=1)) as server,
        Client(server.address) as client,
        Client(server.address, timeout=3) as hasty,
        ThreadPoolExecutor(3) as threads,
    ):
        answers = [threads.submit(client.encode, [Text("a")], "text/gated") for _ in range(3)]
        gate.wait_begun(1)
        with pytest.raises(Unavailable, match="busy"):
            hasty.encode([Text("a")], "text/bytes")
        gate.opened.set()
        assert all(answer.result(timeout=30) for answer in answers)


def test_a_server_that_is_not_there() -> None:
    began = time.monotonic()
    with Client("127.0.0.1:1") as client, pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        client.codecs()
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("gate")
def test_a_server_that_takes_too_long(client: Client) -> None:
    with (
        Client(client.target, timeout=0.3) as hasty,
        pytest.raises(Unavailable, match=r"no answer from .* within 0\.3 s"),
    ):
        hasty.encode([Text("a")], "text/gated")


def test_nothing_heavy_is_imported_with_the_package() -> None:
    code = (
        "import sys, omnicodec.service as s; assert 'grpc' not in sys.modules; "
        "s.Client; assert 'grpc' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="Sender"):
        service.Sender  # noqa: B018
