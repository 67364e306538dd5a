"""Errors of the server that have a gRPC status of their own."""

from __future__ import annotations

from typing import ClassVar

from google.rpc import status_pb2

from omnicodec.codecs import InvalidInput, OmnicodecError, Unavailable


class Refusal(OmnicodecError):
    """Base of these errors.

    `reason`, where there is one, travels as that of a google.rpc.ErrorInfo, so that a client
    need not guess from the status, which stands for other errors as well.
    """

    grpc_status: ClassVar[str]
    reason: ClassVar[str] = ""


class NotOffered(Refusal, Unavailable):
    """The server keeps no jobs."""

    grpc_status = "UNIMPLEMENTED"


class UnknownOperation(Refusal, InvalidInput):
    """There is no such operation, or not any more."""

    grpc_status = "NOT_FOUND"
    reason = "OPERATION_NOT_FOUND"


class NotEnded(Refusal, InvalidInput):
    """The operation would have to be at its end for this."""

    grpc_status = "FAILED_PRECONDITION"
    reason = "OPERATION_NOT_ENDED"


class Answered(OmnicodecError):
    """Another process has answered with this status, which is the client's."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status
