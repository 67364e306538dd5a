"""What the tests of long encodes share: waiting, and the standard service as others call it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2_grpc

from omnicodec.service import Client


def until(condition: Callable[[], Any]) -> Any:
    ends = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < ends
        time.sleep(0.01)
    return found


def standard(client: Client) -> operations_pb2_grpc.OperationsStub:
    """Return the stub that any client of the standard service has."""
    return operations_pb2_grpc.OperationsStub(client._channel)


def status(call: Callable[[], object]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return str(caught.value.code().name)
