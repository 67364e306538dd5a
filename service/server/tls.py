"""TLS: the server's certificate, and that of the authority whose clients are let in.

Files are PEM, read again when they change, so that certificates are renewed without a restart:
connections that are open go on, new ones get the new certificate. Files that do not fit each other
leave the old ones in force.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import grpc

from omnicodec.codecs import InvalidInput, Unavailable
from omnicodec.service.server.watched import Watched


def server_credentials(certificate: Path, key: Path, client_ca: Path | None) -> Any:
    """Return the `grpc.ServerCredentials` of a certificate with its chain, and its key.

    With `client_ca`, only clients with a certificate of that authority are let in. Raises
    `Unavailable` for files that cannot be read and `InvalidInput` for what is in them.
    """
    paths = [certificate, key, *([client_ca] if client_ca is not None else [])]

    def read() -> Any:
        chain, private, *authority = map(_read, paths)
        _check(certificate, key, client_ca)
        # What was checked is what is used: files may be replaced at any moment.
        if [chain, private, *authority] != list(map(_read, paths)):
            raise Unavailable("the files of TLS are being replaced")
        return grpc.ssl_server_certificate_configuration(
            [(private, chain)], root_certificates=authority[0] if authority else None
        )

    watched = Watched(paths, read)
    first = watched.get()
    return grpc.dynamic_ssl_server_credentials(
        first, watched.get, require_client_authentication=client_ca is not None
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise Unavailable(f"cannot read {str(path)!r}: {e.strerror}") from e


def _check(certificate: Path, key: Path, client_ca: Path | None) -> None:
    """Raise `InvalidInput` for what no handshake would work with; gRPC would not say so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password, since OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as e:  # an SSLError is an OSError
        raise InvalidInput(
            f"{str(certificate)!r} and {str(key)!r} are no certificate and its key, both PEM, "
            "the key without a password"
        ) from e
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ValueError) as e:  # an SSLError is an OSError
            raise InvalidInput(f"{str(client_ca)!r} has no certificates in PEM") from e
