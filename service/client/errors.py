"""gRPC statuses to the errors that codecs raise, and which of them are worth another try."""

from __future__ import annotations

import random
from typing import Any, Final

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from omnicodec.codecs import InvalidInput, LimitExceeded, OmnicodecError, Unavailable
from omnicodec.codecs.errors import ERROR_CODES

_ERRORS: Final = {codes.grpc_status: kind for kind, codes in ERROR_CODES.items()} | {
    "DEADLINE_EXCEEDED": Unavailable,
    "UNIMPLEMENTED": Unavailable,  # a server, but not of this service
    "UNAUTHENTICATED": Unavailable,
    "PERMISSION_DENIED": Unavailable,
}

_INVALID: Final = ("OPERATION_NOT_FOUND", "OPERATION_NOT_ENDED")
"""Reasons of errors whose status stands for other errors otherwise."""

_ONCE: Final = frozenset({"DeleteOperation"})
"""Methods that are not asked again after a lost answer; all others can be asked twice.

Encoding and decoding change nothing on the server, StartEncode has its request_id, and
cancelling twice is cancelling. What was deleted is not found by a second try.
"""

FIRST_PAUSE: Final = 0.1
"""Seconds before the first new try when a server cannot be reached; then longer and longer."""

GROWTH: Final = 1.6
MAX_PAUSE: Final = 30.0


_UNREACHED: Final = "failed to connect to all addresses"
"""What gRPC says before the reason, which stands behind the address in several forms."""


class BatchTooLarge(LimitExceeded):
    """The server says that only the first `fits` items of a batch fit one call."""

    def __init__(self, message: str, fits: int) -> None:
        super().__init__(message)
        self.fits = fits


def pause_before(error: grpc.RpcError, method: str, tries: int, retries: int) -> float | None:
    """Return how many seconds to wait before a method is called again; None if it should not be.

    `tries` have failed so far. A server that says that it is busy also says how long to wait, and
    is asked for as long as the caller has time; one that cannot be reached, or is gone before
    it answered, is tried `retries` times more. No other error goes away by asking again, and
    without `retries` nothing is tried twice.
    """
    if not retries:
        return None
    told = retry_seconds(error)
    if told is not None:
        # Not earlier than the server said; and by chance, or all who were turned away together
        # would come back together.
        return min(told * GROWTH ** (tries - 1), MAX_PAUSE) * random.uniform(1.0, 1.5)
    lost = error.code() is grpc.StatusCode.UNAVAILABLE
    if lost and tries <= retries and method not in _ONCE:
        return min(FIRST_PAUSE * GROWTH ** (tries - 1), MAX_PAUSE) * random.uniform(0.5, 1.5)
    return None


def error_of(error: grpc.RpcError, target: str, timeout: float | None) -> OmnicodecError:
    """Return what the server raised, by the table that the server used as well."""
    status, message = error.code().name, error.details() or ""
    if status == "DEADLINE_EXCEEDED":
        within = "" if timeout is None else f" within {timeout:g} s"
        return Unavailable(f"no answer from {target}{within}")
    kind = _ERRORS.get(status, OmnicodecError)
    if kind is Unavailable or retry_seconds(error) is not None:
        if message.startswith(_UNREACHED):
            message = f"cannot be reached: {message.rpartition(': ')[2]}"
        return Unavailable(f"{target}: {message}")
    info = _detail(error, error_details_pb2.ErrorInfo())
    if info is not None and info.reason == "BATCH_TOO_LARGE":
        fits = info.metadata.get("fits", "")
        return BatchTooLarge(message, int(fits) if fits.isdecimal() else 0)
    if info is not None and info.reason in _INVALID:
        return InvalidInput(message)
    return kind(message)


def error_of_code(code: int, message: str) -> OmnicodecError:
    """Return the error that a google.rpc.Code of an operation stands for."""
    status = next((s.name for s in grpc.StatusCode if s.value[0] == code), "")
    return _ERRORS.get(status, OmnicodecError)(message)


def status_behind(error: BaseException) -> grpc.StatusCode | None:
    """Return the status of the call that an error was raised for; None if there was no call."""
    cause = error.__cause__
    return cause.code() if isinstance(cause, grpc.RpcError) else None


def retry_seconds(error: grpc.RpcError) -> float | None:
    """Return how long to wait, when the server says that waiting helps."""
    info = _detail(error, error_details_pb2.RetryInfo())
    if info is None:
        return None
    seconds: float = info.retry_delay.ToTimedelta().total_seconds()
    return min(max(seconds, 0.01), MAX_PAUSE)


def _detail(error: grpc.RpcError, detail: Any) -> Any:
    """Return the first detail of a status that is of the same type as `detail`, or None."""
    try:
        status = rpc_status.from_call(error)
    except (ValueError, AttributeError):  # another server's details, or none at all
        return None
    for packed in status.details if status is not None else ():
        if packed.Unpack(detail):
            return detail
    return None
