"""Exceptions to gRPC statuses, and to lines in the log."""

from __future__ import annotations

import logging
import secrets
import traceback
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from omnicodec.codecs import OmnicodecError
from omnicodec.codecs.errors import error_codes
from omnicodec.service.server.calls import current
from omnicodec.service.server.jobs import BatchTooLarge, Stopped
from omnicodec.service.server.refusals import Answered, Refusal

_log = logging.getLogger(__name__)

# Messages travel in HTTP/2 trailers, twice and encoded, and gRPC drops trailers over 8 KiB.
_MAX_MESSAGE_CHARACTERS: Final = 300

_DOMAIN: Final = "omnicodec"


def status_of(error: Exception, method: str) -> status_pb2.Status:
    """Return the status that a client gets for an exception, whose traceback is let go.

    Ours say what is wrong. Of any other the client learns nothing but the id of its call, under
    which the log has the place where it was raised.
    """
    if isinstance(error, Answered):
        return error.status
    try:
        return _status_of(error, method)
    finally:
        _let_go(error)


def _status_of(error: Exception, method: str) -> status_pb2.Status:
    if isinstance(error, Stopped):
        return _status("DEADLINE_EXCEEDED", "the deadline has passed")
    if not isinstance(error, OmnicodecError):
        request_id = current().id if current().method else secrets.token_hex(8)
        _log.error("request %s of %s failed: %s", request_id, method, place_of(error))
        return _status("INTERNAL", f"internal error; the server's log has it as {request_id}")
    refused = error.grpc_status if isinstance(error, Refusal) else None
    status = _status(refused or error_codes(error).grpc_status, str(error))
    if isinstance(error, Refusal) and error.reason:
        _attach(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=_DOMAIN))
    retry_seconds = getattr(error, "retry_seconds", None)  # Busy, OverQuota
    if retry_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(max(1, round(retry_seconds * 1000)))
        _attach(status, error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, BatchTooLarge) and error.fits:
        metadata = {"fits": str(error.fits)}
        info = error_details_pb2.ErrorInfo(
            reason="BATCH_TOO_LARGE", domain=_DOMAIN, metadata=metadata
        )
        _attach(status, info)
    return status


def _status(name: str, message: str) -> status_pb2.Status:
    if len(message) > _MAX_MESSAGE_CHARACTERS:
        message = message[: _MAX_MESSAGE_CHARACTERS - 3] + "..."
    message = message.encode("utf-8", "replace").decode()
    return status_pb2.Status(code=grpc.StatusCode[name].value[0], message=message)


def _attach(status: status_pb2.Status, detail: Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _let_go(error: BaseException) -> None:
    """Let go of what an exception and its causes hold: the frames that they went through.

    Frames hold futures, and these the exception: a cycle, which Python collects some day. Until
    then it holds the call, and gRPC takes a call that is held for one that goes on: after some
    hundred of them it refuses all further ones of the connection.
    """
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        current = left.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            left += [current.__cause__, current.__context__]
            current.__traceback__ = None


def place_of(error: BaseException) -> str:
    """Return the types and places of an exception and its causes, without their messages.

    Messages may quote what the client sent, which the log must not hold.
    """
    lines = []
    current: BaseException | None = error
    while current is not None:
        lines.append(f"{type(current).__module__}.{type(current).__qualname__}\n")
        lines += traceback.format_tb(current.__traceback__)
        current = current.__cause__ or current.__context__
        if current is not None:
            lines.append("caused by ")
    return "".join(lines).rstrip()
