"""The server that does the work, where one was named: `omnicodec --server HOST:PORT COMMAND`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from omnicodec.service.cli.console import UsageError

if TYPE_CHECKING:
    from omnicodec.codecs import CodecSpec
    from omnicodec.service import Client

VERBS: Final = ("codecs", "encode", "decode", "compress", "decompress", "info")
"""Commands that a server can do; all others work in this process."""

_TIMEOUT: Final = 600.0


def _option(*names: str, metavar: str, variable: str, text: str) -> Any:
    return typer.Option(
        *names,
        metavar=metavar,
        envvar=variable,
        show_envvar=False,
        show_default=False,
        help=f"{text} Default: {variable}.",
    )


Address = Annotated[
    str,
    _option(
        "--server",
        metavar="HOST:PORT",
        variable="OMNICODEC_SERVER",
        text="Have an `omnicodec serve` do the work of codecs, encode, decode, compress, "
        "decompress and info. Codecs that take minutes then work there as a job: Ctrl-C leaves it "
        "running, for the same command to wait for again, and a second Ctrl-C cancels it.",
    ),
]

Token = Annotated[
    str,
    _option(
        "--token",
        metavar="TOKEN",
        variable="OMNICODEC_TOKEN",
        text="Bearer token for the server; others on this machine see options, but not variables.",
    ),
]

TLSAuthorities = Annotated[
    str,
    _option(
        "--tls-ca",
        metavar="FILE",
        variable="OMNICODEC_TLS_CA",
        text="Encrypt, and trust the server that these certificates (PEM) vouch for; `system` "
        "for those that the system trusts.",
    ),
]

TLSCertificate = Annotated[
    str,
    _option(
        "--tls-certificate",
        metavar="FILE",
        variable="OMNICODEC_TLS_CERTIFICATE",
        text="Encrypt, and show the server this certificate (PEM).",
    ),
]

TLSKey = Annotated[
    str,
    _option(
        "--tls-key", metavar="FILE", variable="OMNICODEC_TLS_KEY", text="Key of that certificate."
    ),
]


@dataclass(frozen=True)
class Server:
    """Where the server is, and how it lets this program in."""

    address: str
    token: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @cached_property
    def client(self) -> Client:
        """The client of this invocation; raises `InvalidInput` for what cannot be used."""
        return self._connect(_TIMEOUT)

    @cached_property
    def patient_client(self) -> Client:
        """One that waits for an answer as long as it takes."""
        return self._connect(None)

    def spec(self, codec: str) -> CodecSpec:
        """Return the spec of a codec of the server, which is asked once."""
        found: CodecSpec = self._specs(codec)
        return found

    @cached_property
    def _specs(self) -> Any:
        return cache(lambda codec: self.client.codec(codec).spec)

    def _connect(self, timeout: float | None) -> Client:
        from omnicodec.service import Client

        return Client(
            self.address,
            timeout=timeout,
            token=self.token,
            tls=bool(self.ca or self.certificate or self.key),
            ca=None if self.ca in ("", "system") else self.ca,
            certificate=self.certificate or None,
            key=self.key or None,
        )


def chosen_server(context: typer.Context, server: Server) -> Server | None:
    """Return the server for the command that was called, None where that works here.

    Raises `UsageError` for an option of servers without one, and for a command that needs none
    when a server was asked for in as many words.
    """
    given = context.get_parameter_source("server")
    asked = given is not None and given.name == "COMMANDLINE"
    command = context.invoked_subcommand
    if not server.address:
        for name in ("token", "tls_ca", "tls_certificate", "tls_key"):
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise UsageError(f"--{name.replace('_', '-')} is for --server HOST:PORT")
        return None
    if command in VERBS:
        return server
    if asked and command is not None:
        raise UsageError(f"{command} works in this process; --server is for {', '.join(VERBS)}")
    return None
