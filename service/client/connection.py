"""How to reach a server: where it is, TLS, a token, and the options of the channel."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from omnicodec.codecs import InvalidInput
from omnicodec.service.convert import MAX_ITEMS, MAX_MESSAGE_BYTES

TOKEN_VARIABLE: Final = "OMNICODEC_TOKEN"

_FIRST_RECONNECT_MS, _RECONNECT_MS = 100, 2000
"""The waits between two tries to reach a server; gRPC's own are 1 second to 2 minutes."""

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What both kinds of clients are told, checked; `Client` says what each is.

    Raises `InvalidInput` for files that cannot be read and for what contradicts itself.
    """

    target: str
    timeout: float | None = 60.0
    retries: int = 5
    token: str | None = field(default=None, repr=False)
    tls: bool | None = None
    ca: PathLike | None = None
    certificate: PathLike | None = None
    key: PathLike | None = None
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_items: int = MAX_ITEMS
    channel_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.target:
            raise InvalidInput("the address of a server is HOST:PORT")
        if self.retries < 0:
            raise InvalidInput("retries must not be negative")
        if (self.certificate is None) != (self.key is None):
            raise InvalidInput("a client's certificate and its key go together")
        files = (self.ca, self.certificate)
        if self.tls is None:
            object.__setattr__(self, "tls", any(file is not None for file in files))
        elif not self.tls and any(file is not None for file in files):
            raise InvalidInput("certificates are for TLS, and tls is False")
        token = os.environ.get(TOKEN_VARIABLE, "") if self.token is None else self.token
        token = token.strip()
        # What a header can hold; gRPC's own complaint would quote the token.
        if not all("!" <= character <= "~" for character in token):
            raise InvalidInput("a token has visible ASCII characters and nothing else")
        if token and not self.tls and not _is_local(self.target):
            raise InvalidInput(f"a token does not go to {self.target} unencrypted: use TLS")
        object.__setattr__(self, "token", token)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each call carries beside its request."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    @property
    def options(self) -> Sequence[tuple[str, Any]]:
        """Options of the channel."""
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
            *self.channel_options.items(),
        ]

    def channel(self, module: Any = grpc) -> Any:
        """Return a new channel of `grpc` or `grpc.aio`; it connects when it is used."""
        if not self.tls:
            return module.insecure_channel(self.target, options=self.options)
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca, "CA"),
            private_key=_read(self.key, "key"),
            certificate_chain=_read(self.certificate, "certificate"),
        )
        return module.secure_channel(self.target, credentials, options=self.options)


def _read(path: PathLike | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as e:
        reason = e.strerror or e
        raise InvalidInput(f"cannot read the {what} file {os.fspath(path)!r}: {reason}") from e


def _is_local(target: str) -> bool:
    """Return whether what is sent to a target does not leave this machine."""
    scheme, colon, rest = target.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        return True
    if scheme in ("ipv4", "ipv6", "dns"):
        target = rest.rpartition("/")[2]
    host = target.rpartition(":")[0] or target
    host = host.strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
