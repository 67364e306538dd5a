"""Bearer tokens: the file, and what their holders may do on a running server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from omnicodec.codecs import InvalidInput, Text, compress, describe, load
from omnicodec.service.convert import tokens_to_proto
from omnicodec.service.server import ServerOptions, running_server, watched
from omnicodec.service.server.tokens import Bucket, Limits, hash_token, parse_tokens
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

LOCAL = "127.0.0.1:0"
LISTED = pb.ListCodecsRequest()


def token(name: str) -> str:
    return f"{name}-0123456789abcdef"


def entry(name: str, limits: str = "") -> str:
    return f'[tokens.{name}]\nsha256 = "{hash_token(token(name))}"\n{limits}\n'


def texts(*items: str, codec: str = "text/bytes") -> pb.EncodeRequest:
    return pb.EncodeRequest(codec=codec, items=[{"text": item.encode()} for item in items])


@dataclass
class Door:
    """A server that asks for tokens, and the file of them."""

    address: str
    file: Path
    channel: grpc.Channel

    @property
    def codecs(self) -> CodecServiceStub:
        return CodecServiceStub(self.channel)

    @property
    def operations(self) -> operations_pb2_grpc.OperationsStub:
        return operations_pb2_grpc.OperationsStub(self.channel)


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Door]]:
    init = watched.Watched.__init__
    monkeypatch.setattr(
        watched.Watched,
        "__init__",
        lambda self, paths, read: init(self, paths, read, seconds=0.0),
    )
    contexts = []
    file = tmp_path / "tokens.toml"

    def begin(*entries: str, **options: object) -> Door:
        file.write_text("".join(entries))
        running = running_server(ServerOptions(listen=LOCAL, tokens=file, **options))
        server = running.__enter__()
        channel = grpc.insecure_channel(server.address)
        contexts.extend((running, channel))
        return Door(server.address, file, channel)

    yield begin
    for context in reversed(contexts):
        context.__exit__(None, None, None)


def bearer(name: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token(name)}")]


def failure(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def code(call: Callable[[], object]) -> str:
    return str(failure(call).code().name)


def retry_seconds(error: grpc.RpcError) -> float:
    (detail,) = rpc_status.from_call(error).details
    info = error_details_pb2.RetryInfo()
    assert detail.Unpack(info)
    return float(info.retry_delay.ToNanoseconds() / 1e9)


def test_calls_need_a_token(door: Callable[..., Door], health: Callable[..., str]) -> None:
    there = door(entry("own"))
    calls = [
        lambda **how: there.codecs.ListCodecs(LISTED, **how),
        lambda **how: there.codecs.Encode(texts("x" * 1_000_000), **how),
        lambda **how: there.operations.ListOperations(
            operations_pb2.ListOperationsRequest(), **how
        ),
        lambda **how: list(
            reflection_pb2_grpc.ServerReflectionStub(there.channel).ServerReflectionInfo(
                iter([reflection_pb2.ServerReflectionRequest(list_services="")]), **how
            )
        ),
    ]
    wrong = [
        None,
        [("authorization", token("own"))],
        [("authorization", f"Basic {token('own')}")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", f"Bearer {token('own')}x")],
        [("authorization", f"Bearer {hash_token(token('own'))}")],
        [("authorization", f"Bearer {token('own')}"), ("authorization", "Bearer x")],
        [("token", token("own"))],
    ]
    for call in calls:
        for metadata in wrong:
            assert code(lambda: call(metadata=metadata, timeout=10)) == "UNAUTHENTICATED"  # noqa: B023
    assert there.codecs.ListCodecs(LISTED, metadata=bearer("own")).codecs
    assert calls[3](metadata=bearer("own"))
    assert there.codecs.ListCodecs(
        LISTED, metadata=[("authorization", f"bearer {token('own')}")]
    ).codecs
    assert health(there.address) == "SERVING"


def test_codecs_and_methods(door: Callable[..., Door]) -> None:
    there = door(
        entry("images", 'codecs = ["image/*"]'),
        entry("reader", 'methods = ["List*", "omnicodec.v1.CodecService/GetCodec"]'),
    )
    (tokens,) = load("text/bytes").encode([Text("x")])
    versioned = f"text/bytes@{describe('text/bytes').version}"
    refused = [
        lambda: there.codecs.Encode(texts("x"), metadata=bearer("images")),
        lambda: there.codecs.Encode(texts("x", codec=versioned), metadata=bearer("images")),
        lambda: there.codecs.Decode(
            pb.DecodeRequest(tokens=[tokens_to_proto(tokens)]), metadata=bearer("images")
        ),
        lambda: there.codecs.Decompress(
            pb.DecompressRequest(streams=[compress(Text("x"), "text/bytes")]),
            metadata=bearer("images"),
        ),
        lambda: there.codecs.Encode(texts("x"), metadata=bearer("reader")),
    ]
    assert [code(call) for call in refused] == ["PERMISSION_DENIED"] * len(refused)
    there.codecs.ListCodecs(LISTED, metadata=bearer("reader"))
    there.codecs.GetCodec(pb.GetCodecRequest(name="text/bytes"), metadata=bearer("reader"))
    there.codecs.Encode(pb.EncodeRequest(codec="image/vq"), metadata=bearer("images"))


def test_requests_a_second(door: Callable[..., Door]) -> None:
    there = door(entry("slow", "requests_per_second = 0.01"), entry("other"))
    there.codecs.ListCodecs(LISTED, metadata=bearer("slow"))
    error = failure(lambda: there.codecs.ListCodecs(LISTED, metadata=bearer("slow")))
    assert error.code().name == "RESOURCE_EXHAUSTED"
    assert 50 < retry_seconds(error) <= 100
    there.codecs.ListCodecs(LISTED, metadata=bearer("other"))


def test_requests_at_a_time(door: Callable[..., Door], gate) -> None:
    there = door(entry("one", "concurrent = 1"), entry("other"))
    gated = texts("x", codec="text/gated")
    for _ in range(2):  # what has ended, or was cancelled, does not count
        first = there.codecs.Encode.future(gated, metadata=bearer("one"))
        gate.wait_begun(1)
        error = failure(lambda: there.codecs.ListCodecs(LISTED, metadata=bearer("one")))
        assert error.code().name == "RESOURCE_EXHAUSTED"
        assert 0 < retry_seconds(error) <= 1
        there.codecs.ListCodecs(LISTED, metadata=bearer("other"))
        gate.opened.set()
        assert first.result(timeout=20).tokens
        there.codecs.ListCodecs(LISTED, metadata=bearer("one"))
        gate.opened.clear()
        gate.begun.clear()


def test_bytes_a_minute(door: Callable[..., Door]) -> None:
    there = door(entry("small", "bytes_per_minute = 10_000"))

    def encode(size: int) -> None:
        there.codecs.Encode(texts("x" * size), metadata=bearer("small"))

    encode(6000)
    error = failure(lambda: encode(6000))
    assert error.code().name == "RESOURCE_EXHAUSTED"
    assert 1 < retry_seconds(error) < 60
    encode(1000)


def test_the_file_is_read_again(
    door: Callable[..., Door], caplog: pytest.LogCaptureFixture
) -> None:
    there = door(entry("first", "requests_per_second = 0.01"))
    there.codecs.ListCodecs(LISTED, metadata=bearer("first"))
    there.file.write_text(entry("second") + entry("first", "requests_per_second = 0.01"))
    there.codecs.ListCodecs(LISTED, metadata=bearer("second"))
    # Under the same limits, its use goes on.
    assert (
        code(lambda: there.codecs.ListCodecs(LISTED, metadata=bearer("first")))
        == "RESOURCE_EXHAUSTED"
    )
    with caplog.at_level(logging.INFO):
        there.file.write_text("[tokens")
        there.codecs.ListCodecs(LISTED, metadata=bearer("second"))
        there.file.unlink()
        there.codecs.ListCodecs(LISTED, metadata=bearer("second"))
    assert [record.levelname for record in caplog.records if "tokens" in record.message] == [
        "ERROR"
    ] * 2
    there.file.write_text(entry("first"))
    there.codecs.ListCodecs(LISTED, metadata=bearer("first"))
    assert (
        code(lambda: there.codecs.ListCodecs(LISTED, metadata=bearer("second")))
        == "UNAUTHENTICATED"
    )


def test_operations_are_of_the_token_that_made_them(
    door: Callable[..., Door], tmp_path: Path
) -> None:
    there = door(
        entry("anna"), entry("bert"), entry("chief", "admin = true"), jobs=tmp_path / "jobs"
    )
    request = pb.StartEncodeRequest(
        codec="text/bytes", item={"text": b"secret"}, request_id="the same"
    )
    of = {
        name: there.codecs.StartEncode(request, metadata=bearer(name)).name
        for name in ("anna", "bert")
    }
    assert of["anna"] != of["bert"]
    assert there.codecs.StartEncode(request, metadata=bearer("anna")).name == of["anna"]
    wait = operations_pb2.WaitOperationRequest(name=of["anna"])
    done = there.operations.WaitOperation(wait, metadata=bearer("anna"), timeout=20)
    assert done.done

    def listed(name: str) -> set[str]:
        listing = operations_pb2.ListOperationsRequest(filter='metadata.codec != "x"')
        return {
            o.name
            for o in there.operations.ListOperations(listing, metadata=bearer(name)).operations
        }

    assert listed("anna") == {of["anna"]}
    assert listed("chief") == set(of.values())
    get = operations_pb2.GetOperationRequest(name=of["anna"])
    cancel = operations_pb2.CancelOperationRequest(name=of["anna"])
    delete = operations_pb2.DeleteOperationRequest(name=of["anna"])
    for call in (
        lambda: there.operations.GetOperation(get, metadata=bearer("bert")),
        lambda: there.operations.WaitOperation(wait, metadata=bearer("bert")),
        lambda: there.operations.CancelOperation(cancel, metadata=bearer("bert")),
        lambda: there.operations.DeleteOperation(delete, metadata=bearer("bert")),
    ):
        error = failure(call)
        assert error.code().name == "NOT_FOUND"
    unknown = operations_pb2.GetOperationRequest(name="operations/none")
    same = failure(lambda: there.operations.GetOperation(unknown, metadata=bearer("bert")))
    assert same.details() == error.details()
    assert there.operations.GetOperation(get, metadata=bearer("chief")).name == of["anna"]
    there.operations.DeleteOperation(delete, metadata=bearer("anna"))


def test_many_at_once_with_tokens(door: Callable[..., Door]) -> None:
    there = door(*(entry(f"n{i}", "concurrent = 8") for i in range(8)))

    def call(i: int) -> int:
        how = bearer(f"n{i % 8}")
        return len(there.codecs.Encode(texts(str(i)), metadata=how, timeout=20).tokens)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(100))) == [1] * 100


def test_a_bucket() -> None:
    bucket = Bucket(a_second=1e-6, capacity=10)
    assert bucket.take(4) == 0
    assert bucket.take(7) > 0
    assert bucket.take(6) == 0
    assert bucket.take(100) == pytest.approx(1e7, rel=1e-3)  # a full one would be enough
    full = Bucket(a_second=1e-6, capacity=10)
    assert full.take(100) == 0
    assert full.take(1) > 1e7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tokens = 1", "tables"),
        ("tokens.a = 1", "tables"),
        ("[token.a]", "unknown key 'token'"),
        ("[tokens.a]", "no sha256"),
        ("[tokens.a]\nsha256 = []", "no sha256"),
        ("[tokens.a]\nsha256 = 'secret'", "64 digits"),
        ("[tokens.'a b']", "no name"),
        (entry("a", "admin = 1"), "admin of a must be true or false"),
        (entry("a", "concurrent = 0"), "concurrent of a"),
        (entry("a", "concurrent = 1.5"), "concurrent of a"),
        (entry("a", "requests_per_second = inf"), "requests_per_second of a"),
        (entry("a", "requests_per_second = -1"), "requests_per_second of a"),
        (entry("a", "bytes_per_minute = true"), "bytes_per_minute of a"),
        (entry("a", "codecs = 'image/*'"), "codecs of a must be a list"),
        (entry("a", "limit = 1"), "unknown key 'limit'"),
        (entry("a") + entry("a").replace("tokens.a", "tokens.b"), "another's"),
        ("[", "not TOML"),
    ],
)
def test_mistakes_in_the_file(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        parse_tokens(text)
    assert "secret" not in str(caught.value)


def test_two_hashes_of_one_name() -> None:
    digests = [hash_token(token(name)) for name in ("old", "new")]
    text = f"[tokens.a]\nsha256 = {digests}\nconcurrent = 2"
    assert parse_tokens(text) == {"a": (digests, Limits(concurrent=2))}


@pytest.mark.parametrize("weak", ["", "short", "with a space in it", "ü" * 20, "x" * 20 + "\n"])
def test_tokens_that_are_none(weak: str) -> None:
    with pytest.raises(InvalidInput):
        hash_token(weak)
