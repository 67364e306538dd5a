"""What clients try again, how long they wait, and what their statuses become."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from omnicodec.codecs import InvalidInput, OmnicodecError, Unavailable
from omnicodec.service import Client
from omnicodec.service.client import errors
from omnicodec.service.client.connection import Connection
from omnicodec.service.client.steps import Asking, Call, Pause
from omnicodec.service.server import ServerOptions, running_server
from omnicodec.v1 import codec_service_pb2 as pb


class Failed(grpc.RpcError):
    """A call that ended with a status, which may have details."""

    def __init__(self, name: str, message: str = "plain words", *details: Any) -> None:
        code = getattr(code_pb2, name)
        status = status_pb2.Status(code=code, message=message)
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        self._status = rpc_status.to_status(status)

    def code(self) -> grpc.StatusCode:
        return self._status.code

    def details(self) -> str:
        return self._status.details

    def trailing_metadata(self) -> Any:
        return self._status.trailing_metadata


def busy(seconds: float) -> Failed:
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(round(1000 * seconds))
    return Failed("RESOURCE_EXHAUSTED", "busy", error_details_pb2.RetryInfo(retry_delay=delay))


def test_a_lost_server_is_tried_with_growing_pauses() -> None:
    lost = Failed("UNAVAILABLE")
    for tries in range(1, 6):
        middle = errors.FIRST_PAUSE * errors.GROWTH ** (tries - 1)
        pause = errors.pause_before(lost, "Encode", tries, 5)
        assert pause is not None
        assert 0.5 * middle <= pause <= 1.5 * middle
    assert errors.pause_before(lost, "Encode", 6, 5) is None
    assert errors.pause_before(lost, "Encode", 1, 0) is None
    assert errors.pause_before(lost, "DeleteOperation", 1, 5) is None
    assert errors.pause_before(lost, "Encode", 99, 100) <= 1.5 * errors.MAX_PAUSE


def test_a_busy_server_is_asked_not_earlier_than_it_said() -> None:
    pauses = {errors.pause_before(busy(2), "Encode", 1, 5) for _ in range(20)}
    assert len(pauses) > 1  # or all would come back at once
    assert all(2 <= pause <= 3 for pause in pauses)
    assert errors.pause_before(busy(2), "Encode", 2, 5) >= 3.2
    assert errors.pause_before(busy(2), "DeleteOperation", 40, 5) >= errors.MAX_PAUSE
    assert errors.pause_before(busy(2), "Encode", 1, 0) is None


@pytest.mark.parametrize(
    "name",
    [
        "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "DATA_LOSS", "RESOURCE_EXHAUSTED",
        "CANCELLED", "INTERNAL", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "UNAUTHENTICATED",
        "PERMISSION_DENIED", "UNKNOWN",
    ],
)  # fmt: skip
def test_other_errors_do_not_go_away_by_asking_again(name: str) -> None:
    assert errors.pause_before(Failed(name), "Encode", 1, 5) is None


def ask(answers: list[Any], **connection: Any) -> tuple[Any, list[float | None], list[float]]:
    """Return the result of asking, with the timeouts of all calls and the pauses between them."""
    steps = Asking(Connection(target="host:1", **connection)).ask("ListCodecs", pb.Codec())
    timeouts: list[float | None] = []
    pauses = []
    step = next(steps)
    while True:
        try:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                step = steps.send(None)
                continue
            assert isinstance(step, Call)
            timeouts.append(step.timeout)
            answer = answers[len(timeouts) - 1]
            step = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
        except StopIteration as e:
            return e.value, timeouts, pauses


def test_tries_share_one_timeout() -> None:
    lost = Failed("UNAVAILABLE")
    result, timeouts, pauses = ask([lost, lost, "answer"], timeout=60.0)
    assert result == "answer"
    assert len(pauses) == 2
    assert 60 >= timeouts[0] >= timeouts[1] >= timeouts[2] > 0
    _, timeouts, _ = ask([lost, "answer"], timeout=None)
    assert timeouts == [None, None]
    with pytest.raises(Unavailable, match="host:1: busy"):
        ask([busy(5)], timeout=4.0)


def test_the_last_error_is_raised() -> None:
    with pytest.raises(Unavailable, match="host:1: the second"):
        ask([Failed("UNAVAILABLE", "the first"), Failed("UNAVAILABLE", "the second")], retries=1)
    with pytest.raises(InvalidInput, match="plain words") as caught:
        ask([Failed("UNAVAILABLE"), Failed("INVALID_ARGUMENT")])
    assert errors.status_behind(caught.value) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"])
def test_who_is_not_let_in_is_told_so(name: str) -> None:
    with pytest.raises(Unavailable, match="host:1: plain words"):
        ask([Failed(name)])


def test_details_of_others_are_no_trouble() -> None:
    strange = Failed("RESOURCE_EXHAUSTED", "words", error_details_pb2.RequestInfo(request_id="x"))
    with pytest.raises(OmnicodecError, match="words"):
        ask([strange])


def test_a_server_that_comes_back_is_found() -> None:
    with running_server(ServerOptions(listen="127.0.0.1:0")) as server:
        address = server.address
        client = Client(address, retries=40)
        before = client.codecs()
    with ThreadPoolExecutor(1) as thread, client:
        answer = thread.submit(client.codecs)
        with running_server(ServerOptions(listen=address)):
            assert answer.result(timeout=60) == before


def test_an_unreachable_server_is_named_shortly() -> None:
    with Client("127.0.0.1:1", retries=0) as client, pytest.raises(Unavailable) as caught:
        client.codecs()
    assert str(caught.value).startswith("127.0.0.1:1: cannot be reached: ")
    assert len(str(caught.value)) < 100


def test_a_closed_client_says_so() -> None:
    client = Client("127.0.0.1:1")
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        client.codecs()
