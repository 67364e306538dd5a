"""Operations in a process that has no folder: each call is passed on to the one that has it.

Where several processes share a port, a client's connection is to any of them, and a folder of jobs
belongs to one. The others reach it by a socket in a folder that only their user may enter. They
send on the client's token, so that it is that process which says whose operations are whose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from google.longrunning import operations_pb2_grpc
from google.rpc import status_pb2
from grpc_status import rpc_status

from omnicodec.codecs import Unavailable
from omnicodec.service.server.calls import current
from omnicodec.service.server.jobs import Job
from omnicodec.service.server.refusals import Answered
from omnicodec.v1 import codec_service_pb2_grpc

SOCKET: Final = "operations.sock"
"""Name of the socket in the folder that the processes share."""


class ForwardedOperations:
    """The methods of `Operations`, by way of the process that listens in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._target = f"unix:{folder / SOCKET}"
        self._channel: grpc.aio.Channel | None = None

    async def open(self) -> None:
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(self._target, options=options)
        self._codecs = codec_service_pb2_grpc.CodecServiceStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)

    def begin(self) -> None:
        """Nothing goes on here by itself."""

    def stop(self) -> None:
        """Nothing here is to be stopped."""

    async def wait_idle(self) -> None:
        """Return at once: calls that are passed on are counted as calls."""

    def close(self) -> None:
        """The channel ends with the event loop."""

    async def start_encode(self, request: Any, job: Job) -> Any:
        return await self._pass_on(self._codecs.StartEncode, request, job)

    async def get(self, request: Any, job: Job) -> Any:
        return await self._pass_on(self._operations.GetOperation, request, job)

    async def wait(self, request: Any, job: Job) -> Any:
        return await self._pass_on(self._operations.WaitOperation, request, job)

    async def list(self, request: Any, job: Job) -> Any:
        return await self._pass_on(self._operations.ListOperations, request, job)

    async def cancel(self, request: Any, job: Job) -> Any:
        return await self._pass_on(self._operations.CancelOperation, request, job)

    async def delete(self, request: Any, job: Job) -> Any:
        return await self._pass_on(self._operations.DeleteOperation, request, job)

    async def _pass_on(self, method: Any, request: Any, job: Job) -> Any:
        call = current()
        metadata: list[tuple[str, str | bytes]] = [("x-request-id", call.id)]
        if call.authorization is not None:
            metadata.append(("authorization", call.authorization))
        try:
            return await method(request, timeout=job.seconds_left(), metadata=metadata)
        except grpc.aio.AioRpcError as e:
            if e.code() is grpc.StatusCode.UNAVAILABLE and not e.trailing_metadata():
                # gRPC's own words, with the path of the socket.
                raise Unavailable("long encodes are not to be had just now; try again") from None
            raise Answered(_status(e)) from None


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    found = rpc_status.from_call(error)
    if found is None:
        found = status_pb2.Status(code=error.code().value[0], message=error.details() or "")
    return found
