"""StartEncode: results, progress, what is refused, and servers that stop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.longrunning import operations_pb2

from omnicodec.codecs import (
    Audio,
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
from omnicodec.service import Client
from omnicodec.service.client import State
from omnicodec.service.server import ServerOptions, running_server
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

from .operation_calls import standard, status, until

Start = Callable[..., Client]
NAME = "image/fitted"


@pytest.mark.usefixtures("fitted")
def test_results_are_those_in_process(start: Start, ramps: Image) -> None:
    client = start()
    (expected,) = load(NAME).encode([ramps], quality=10, effort="best")
    tokens = client.start_encode(ramps, NAME, quality=10, effort="best").result(20)
    assert tokens == expected
    operation = client.start_encode(ramps.to_bytes(".png"), NAME, compress=True)
    stream = operation.result(20)
    assert stream == compress(ramps, NAME)
    assert isinstance(stream, bytes)
    assert decompress(stream).pixels.shape == ramps.pixels.shape
    assert operation.state() is State.SUCCEEDED
    progress = operation.progress()
    assert progress is not None
    assert (progress.share, progress.step, progress.preview) == (1, 20, None)
    again = client.operation(operation.name)
    assert again.result() == stream


@pytest.mark.usefixtures("fitted")
def test_clients_see_which_codecs_are_resumable(client: Client) -> None:
    assert client.codec(NAME).spec == describe(NAME)
    assert {spec.name for spec in client.codecs() if spec.resumable} == {
        name for name in available() if describe(name).resumable
    }
    assert client.codec(NAME).spec.resumable
    assert not client.codec("text/bytes").spec.resumable


def test_codecs_that_are_quick_will_do(start: Start) -> None:
    client = start()
    operation = client.start_encode(Text("words"), "text/bytes")
    assert operation.result(20) == load("text/bytes").encode([Text("words")])[0]
    assert operation.progress() is None
    version = describe("text/bytes").version
    stream = client.start_encode(b"words", f"text/bytes@{version}", compress=True).result(20)
    assert isinstance(stream, bytes)
    assert decompress(stream) == Text("words")


def test_progress_and_previews(start: Start, slow: Any, ramps: Image) -> None:
    client = start()
    quiet = client.start_encode(ramps, NAME, effort="best")
    progress = until(quiet.progress)
    assert 0 < progress.share < 1
    assert progress.step >= 1
    assert progress.bits > 0
    assert progress.psnr > 0
    assert progress.seconds_left > 0
    assert progress.preview is None
    quiet.cancel()
    large = Image(np.tile(ramps.pixels, (10, 10, 1)))
    seen = client.start_encode(large, NAME, effort="best", previews=0.5)
    until(lambda: (found := seen.progress()) and found.preview)
    picture = seen.progress().preview()  # type: ignore[union-attr, misc]
    assert max(picture.pixels.shape) == 256
    (listed, *_) = client.operations("done = false")
    assert listed.name == seen.name
    assert not listed._metadata.preview
    slow(0)
    assert isinstance(seen.result(20), Tokens)


@pytest.mark.usefixtures("fitted")
def test_targets_end_early(start: Start, ramps: Image) -> None:
    client = start()
    operation = client.start_encode(ramps, NAME, effort="best", target_psnr=25)
    assert operation.result(20) != load(NAME).encode([ramps], effort="best")[0]
    progress = operation.progress()
    assert progress is not None
    assert progress.psnr >= 25
    assert progress.step < 60
    small = client.start_encode(ramps, NAME, target_bytes=10**6)
    small.result(20)
    assert small.progress().step == 1  # type: ignore[union-attr]
    for targets in ({"target_psnr": 0}, {"target_psnr": float("nan")}, {"target_bytes": 0}):
        with pytest.raises(InvalidInput, match="target"):
            client.start_encode(ramps, NAME, **targets)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="text/bytes does not work towards a target"):
        client.start_encode(Text(""), "text/bytes", target_psnr=30)


def test_without_a_folder_nothing_is_kept(client: Client) -> None:
    for call in (
        lambda: client.start_encode(Text("words"), "text/bytes"),
        lambda: client.operation("operations/0"),
        lambda: list(client.operations()),
    ):
        with pytest.raises(Unavailable, match="serve --jobs FOLDER"):
            call()
    stub = CodecServiceStub(client._channel)
    request = pb.StartEncodeRequest(codec="text/bytes", item={"text": b""})
    assert status(lambda: stub.StartEncode(request)) == "UNIMPLEMENTED"


@pytest.mark.usefixtures("fitted")
def test_what_cannot_be_encoded_is_refused_at_once(start: Start, ramps: Image) -> None:
    client = start()
    for error, call in (
        (UnknownCodec, lambda: client.start_encode(ramps, "image/none")),
        (UnknownCodec, lambda: client.start_encode(ramps, f"{NAME}@9")),
        (InvalidInput, lambda: client.start_encode(b"no picture", NAME)),
        (InvalidInput, lambda: client.start_encode(Audio(np.zeros((1, 9), "f4"), 8000), NAME)),
        (InvalidInput, lambda: client.start_encode(ramps, NAME, quality=50)),
        (InvalidInput, lambda: client.start_encode(ramps, NAME, effort="none")),
        (InvalidInput, lambda: client.start_encode(ramps, NAME, previews=0)),
        (InvalidInput, lambda: client.start_encode(ramps, NAME, request_id="x" * 65)),
        (LimitExceeded, lambda: client.start_encode(bytes(65 << 20), NAME)),
    ):
        with pytest.raises(error):
            call()  # type: ignore[no-untyped-call]
    stub = CodecServiceStub(client._channel)
    empty = pb.StartEncodeRequest(codec=NAME)
    odd = pb.StartEncodeRequest(codec="text/bytes", item={"text": b""}, output=7)
    for request in (empty, odd):
        assert status(lambda request=request: stub.StartEncode(request)) == "INVALID_ARGUMENT"
    assert not list(client.operations())


def test_a_request_id_begins_one_operation(
    start: Start, slow: Any, fitted_log: Any, ramps: Image
) -> None:
    client = start(max_jobs=8)
    slow(0.02)

    def begin(_: int) -> str:
        return client.start_encode(ramps, NAME, request_id="the one").name

    with ThreadPoolExecutor(8) as threads:
        (name,) = set(threads.map(begin, range(16)))
    operation = client.operation(name)
    result = operation.result(20)
    again = client.start_encode(ramps, NAME, request_id="the one")
    assert (again.name, again.result()) == (name, result)
    assert fitted_log() == ["begun at 0", "done at 20"]
    with pytest.raises(InvalidInput, match="another request"):
        client.start_encode(ramps, NAME, quality=10, request_id="the one")
    operation.delete()
    assert client.start_encode(ramps, NAME, request_id="the one").name != name


@pytest.mark.usefixtures("fitted")
def test_limits(start: Start, jobs: Path, ramps: Image) -> None:
    client = start(max_stored_jobs=2, max_stored_bytes=20_000)
    with pytest.raises(LimitExceeded, match="20,000 bytes"):
        client.start_encode(Text("x" * 20_001), "text/bytes")
    first, _ = [client.start_encode(ramps, NAME) for _ in range(2)]
    with pytest.raises(LimitExceeded, match="2 jobs are kept"):
        client.start_encode(ramps, NAME)
    first.wait(20)
    first.delete()
    client.start_encode(ramps, NAME).wait(20)
    assert len(list((jobs / "items").iterdir())) == 2


def test_a_result_that_no_message_holds(start: Start) -> None:
    client = start(max_message_bytes=100_000)
    operation = client.start_encode(Text("x" * 50_000), "text/bytes")
    with pytest.raises(LimitExceeded, match="100,000 bytes"):
        operation.result(20)


def test_errors_are_told_and_not_logged(
    start: Start, gate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = start()
    gate.opened.set()
    word = f"unsayable{'x'}"  # not in the source, which tracebacks quote
    with caplog.at_level(logging.DEBUG):
        gate.error = InvalidInput("plain words")
        with pytest.raises(InvalidInput, match="plain words"):
            client.start_encode(Text(word), "text/gated").result(20)
        gate.error = ValueError(word)
        operation = client.start_encode(Text(word), "text/gated")
        with pytest.raises(OmnicodecError, match="internal error") as caught:
            operation.result(20)
    assert str(caught.value).split()[-1] in caplog.text
    assert word not in caplog.text + str(caught.value)
    assert operation.state() is State.FAILED


def test_a_server_that_stops_leaves_checkpoints(
    start: Start, slow: Any, fitted_log: Any, admitted: Any, ramps: Image, jobs: Path
) -> None:
    options = ServerOptions(listen="127.0.0.1:0", jobs=jobs)
    with running_server(options) as server, Client(server.address) as client:
        name = client.start_encode(ramps, NAME, effort="best").name
        until(client.operation(name).progress)
        request = operations_pb2.WaitOperationRequest(name=name)
        wait = standard(client).WaitOperation.future(request)
        admitted.wait_for(1, waits=True)
        server.drain()
        assert not wait.result(timeout=20).done
    slow(0)
    result = start().operation(name).result(20)
    assert result == load(NAME).encode([ramps], effort="best")[0]
    begun = [line for line in fitted_log() if line.startswith("begun")]
    assert begun[0] == begun[2] == "begun at 0"  # the last is what it was compared with
    assert begun[1] != "begun at 0"


def test_a_folder_belongs_to_one_server(start: Start) -> None:
    start()
    with pytest.raises(Unavailable, match="another server has the folder"):
        start()


@pytest.mark.usefixtures("fitted")
def test_raw_and_file_media_are_kept_alike(start: Start, ramps: Image) -> None:
    stub = CodecServiceStub(start()._channel)
    raw = media_pb2.RawImage(height=40, width=50, pixels=ramps.pixels.tobytes())
    answer = stub.StartEncode(pb.StartEncodeRequest(codec=NAME, item={"image": raw}))
    metadata = pb.StartEncodeMetadata()
    assert answer.metadata.Unpack(metadata)
    assert metadata.codec == NAME
    assert metadata.create_time.ToSeconds() > 1_700_000_000
    assert not metadata.HasField("end_time")
