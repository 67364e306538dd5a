"""Every error that omnicodec raises on purpose, and what each means outside Python."""

from __future__ import annotations

from dataclasses import dataclass


class OmnicodecError(Exception):
    """Base of all errors of this package; the message is one plain line."""


class InvalidInput(OmnicodecError):
    """The caller's media, tokens or arguments cannot be used as they are."""


class UnknownCodec(OmnicodecError):
    """No codec, or no such version of it, is registered under that name."""


class CorruptStream(OmnicodecError):
    """An .omc stream is damaged, cut off, or not an .omc stream at all."""


class FingerprintMismatch(OmnicodecError):
    """Tokens or a stream were made by another model than the one at hand."""


class LimitExceeded(OmnicodecError):
    """The input is larger than the limits in force allow."""


class Unavailable(OmnicodecError):
    """A service, a device or an optional dependency is not there."""


class Cancelled(OmnicodecError):
    """Long work was cancelled before it was done."""


@dataclass(frozen=True)
class ErrorCodes:
    """What one error class becomes: a process exit code and a gRPC status name."""

    exit_code: int
    grpc_status: str


# The one table that the command line, the server and the client all read. Order
# matters nowhere: the classes above are siblings.
ERROR_CODES: dict[type[OmnicodecError], ErrorCodes] = {
    InvalidInput: ErrorCodes(3, "INVALID_ARGUMENT"),
    UnknownCodec: ErrorCodes(2, "NOT_FOUND"),
    CorruptStream: ErrorCodes(4, "DATA_LOSS"),
    FingerprintMismatch: ErrorCodes(5, "FAILED_PRECONDITION"),
    LimitExceeded: ErrorCodes(6, "RESOURCE_EXHAUSTED"),
    Unavailable: ErrorCodes(7, "UNAVAILABLE"),
    Cancelled: ErrorCodes(130, "CANCELLED"),
}


def error_codes(error: OmnicodecError) -> ErrorCodes:
    """Return the codes of the most specific class in the table that `error` is."""
    for kind in type(error).__mro__:
        if kind in ERROR_CODES:
            return ERROR_CODES[kind]
    return ErrorCodes(1, "INTERNAL")
