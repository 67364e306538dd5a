"""google.longrunning.Operations: getting, waiting, listing, cancelling and deleting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from omnicodec.codecs import (
    Cancelled,
    Image,
    InvalidInput,
    Text,
    Unavailable,
)
from omnicodec.service import Client
from omnicodec.service.client import State
from omnicodec.service.server.operations import calls

from .operation_calls import standard, status, until

Start = Callable[..., Client]
NAME = "image/fitted"


@pytest.mark.usefixtures("slow")
def test_cancelled(start: Start, jobs: Path, ramps: Image) -> None:
    client = start()
    running = client.start_encode(ramps, NAME, effort="best")
    waiting = client.start_encode(ramps, NAME, effort="best")
    until(running.progress)
    assert (running.state(), waiting.state()) == (State.RUNNING, State.QUEUED)
    for operation in (waiting, running):
        operation.cancel()
        assert operation.wait(20) is State.CANCELLED
        with pytest.raises(Cancelled):
            operation.result()
        operation.cancel()  # of no use, and no error
        message = standard(client).GetOperation(
            operations_pb2.GetOperationRequest(name=operation.name)
        )
        assert (message.done, message.error.code) == (True, grpc.StatusCode.CANCELLED.value[0])
    assert not [path for path in (jobs / "items").rglob("*") if path.is_file()]


def test_deleted(start: Start, slow: Any, jobs: Path, ramps: Image) -> None:
    client = start()
    operation = client.start_encode(ramps, NAME, effort="best")
    until(operation.progress)
    with pytest.raises(InvalidInput, match="cancel it first"):
        operation.delete()
    name = operations_pb2.DeleteOperationRequest(name=operation.name)
    assert status(lambda: standard(client).DeleteOperation(name)) == "FAILED_PRECONDITION"
    slow(0)
    operation.wait(20)
    assert list((jobs / "items").iterdir())
    operation.delete()
    assert not list((jobs / "items").iterdir())
    for call in (operation.delete, operation.cancel, lambda: client.operation(operation.name)):
        with pytest.raises(InvalidInput, match="no such operation"):
            call()
    assert status(lambda: standard(client).DeleteOperation(name)) == "NOT_FOUND"
    for odd in ("", "operations/", "operations/../../etc", "nothing"):
        with pytest.raises(InvalidInput):
            client.operation(odd)


def test_so_many_at_once(start: Start, slow: Any, ramps: Image) -> None:
    client = start(max_jobs=2)
    operations = [client.start_encode(ramps, NAME, effort="best") for _ in range(3)]
    until(lambda: all(operation.progress() for operation in operations[:2]))
    states = [operation.state() for operation in operations]
    assert states == [State.RUNNING, State.RUNNING, State.QUEUED]
    slow(0)
    assert len({operation.result(30).ids.tobytes() for operation in operations}) == 1  # type: ignore[union-attr]


@pytest.mark.usefixtures("slow")
def test_waits(start: Start, admitted: Any, monkeypatch: pytest.MonkeyPatch, ramps: Image) -> None:
    monkeypatch.setattr(calls, "_ANSWER_SECONDS", 5)
    client = start(max_queue=2)
    operation = client.start_encode(ramps, NAME, effort="best")
    stub = standard(client)
    request = operations_pb2.WaitOperationRequest(name=operation.name)
    request.timeout.FromMilliseconds(100)
    assert not stub.WaitOperation(request).done
    request.timeout.FromSeconds(-5)
    assert not stub.WaitOperation(request).done
    request.timeout.FromSeconds(1000)
    assert not stub.WaitOperation(request, timeout=5.5).done  # before the deadline
    with pytest.raises(Unavailable, match=r"has not ended within 0\.2 s"):
        operation.wait(0.2)
    # Who waits takes no turn from others, and hears of the end at once.
    admitted.wait_for(0, waits=True)
    waits = [stub.WaitOperation.future(request) for _ in range(2)]
    admitted.wait_for(2, waits=True)
    assert status(lambda: stub.WaitOperation(request)) == "RESOURCE_EXHAUSTED"
    assert client.encode([Text("words")], "text/bytes")
    operation.cancel()
    assert [wait.result(timeout=20).done for wait in waits] == [True, True]


@pytest.mark.usefixtures("slow")
def test_lists(start: Start, ramps: Image) -> None:
    client = start()
    texts = [client.start_encode(Text(str(i)), "text/bytes") for i in range(5)]
    for text in texts:
        text.wait(20)
    running = client.start_encode(ramps, NAME, effort="best")
    names = [operation.name for operation in (*texts, running)][::-1]

    def listed(where: str = "") -> list[str]:
        return [operation.name for operation in client.operations(where)]

    assert listed() == names
    assert listed("done=true") == names[1:]
    assert listed('done != true AND metadata.codec = "image/fitted"') == names[:1]
    assert listed("metadata.state = STATE_SUCCEEDED AND metadata.codec=text/bytes") == names[1:]
    assert listed(f"name = {names[2]}") == names[2:3]
    stub = standard(client)
    seen: list[str] = []
    request = operations_pb2.ListOperationsRequest(name="operations", page_size=4)
    while True:
        page = stub.ListOperations(request)
        seen += [operation.name for operation in page.operations]
        assert not [operation for operation in page.operations if operation.HasField("response")]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == names
    for field, value in (
        ("filter", "done"),
        ("filter", "done = maybe"),
        ("filter", "done = true OR done = false"),
        ("filter", "done = true AND"),
        ("filter", "metadata.state = ASLEEP"),
        ("filter", "progress = 1"),
        ("filter", "done = true" + " AND done = true" * 99),
        ("name", "elsewhere"),
        ("page_size", -1),
        ("page_token", "what"),
        ("page_token", "\u00e4"),
    ):
        odd = operations_pb2.ListOperationsRequest(**{field: value})
        assert status(lambda odd=odd: stub.ListOperations(odd)) == "INVALID_ARGUMENT"
    request.filter = "done = true"  # with the token of another list
    assert status(lambda: stub.ListOperations(request)) == "INVALID_ARGUMENT"
    partial = operations_pb2.ListOperationsRequest(return_partial_success=True)
    assert status(lambda: stub.ListOperations(partial)) == "UNIMPLEMENTED"
    # The result of one that a list told of is fetched.
    (found, *_) = client.operations("done = true")
    assert found.result() == texts[4].result()
    running.cancel()
    running.wait(20)


def test_what_has_ended_expires(start: Start, jobs: Path) -> None:
    client = start(keep_seconds=2)
    operation = client.start_encode(Text("words"), "text/bytes")
    operation.result(20)
    ends, expires = operation._metadata.end_time, operation._metadata.expire_time
    assert expires.ToMicroseconds() - ends.ToMicroseconds() == pytest.approx(2_000_000, abs=2)
    until(lambda: not list(client.operations()))
    assert not list((jobs / "items").iterdir())


def test_work_that_heeds_nothing_is_cancelled_when_it_ends(start: Start, gate: Any) -> None:
    client = start()
    running = client.start_encode(Text("first"), "text/gated")
    gate.wait_begun(1)
    running.cancel()
    assert not running.done()
    gate.opened.set()
    assert running.wait(20) is State.SUCCEEDED  # as AIP-151 has it: it completed all the same
