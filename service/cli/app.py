"""The program: its name, its global options and its commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from omnicodec.service.cli.command import PlainGroup
from omnicodec.service.cli.commands import (
    codecs,
    detokenize,
    evaluate,
    info,
    report,
    serve,
    streams,
    tokenize,
    tokens,
    train,
    verify,
    warm,
)
from omnicodec.service.cli.options import state_of
from omnicodec.service.cli.remote import by_server
from omnicodec.service.cli.server import (
    Address,
    Server,
    TLSAuthorities,
    TLSCertificate,
    TLSKey,
    Token,
    chosen_server,
)

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

EPILOG = """\
\b
Examples:
  omnicodec compress photo.jpg                makes photo.jpg.omc
  omnicodec decompress photo.jpg.omc          makes photo.png
  omnicodec encode photo.jpg -o tokens.npz    makes tokens for a language model
  omnicodec compress - < notes.txt | omnicodec decompress -
  omnicodec --server host:50051 encode photo.jpg

\b
Exit codes:
  0 done; 2 wrong usage; 3 input cannot be read; 4 stream is damaged; 5 made by
  another model; 6 over a limit; 7 service unreachable; 130 interrupted
"""

app = typer.Typer(
    name="omnicodec",
    cls=PlainGroup,
    help="Turn pictures, sound and text into tokens for language models, or into small files, "
    "and back.",
    epilog=EPILOG,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"omnicodec {version('omnicodec')}")
        except PackageNotFoundError:
            typer.echo("omnicodec (not installed)")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _globals(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. Default: one line.")
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="DEVICE",
            show_default=False,
            help="Where networks run: auto (a GPU if there is one), cpu, cuda, cuda:1. "
            "Default: auto.",
        ),
    ] = "auto",
    server: Address = "",
    token: Token = "",
    tls_ca: TLSAuthorities = "",
    tls_certificate: TLSCertificate = "",
    tls_key: TLSKey = "",
) -> None:
    state = state_of(context)
    state.debug, state.device = debug, device
    reached = Server(server, token, tls_ca, tls_certificate, tls_key)
    state.server = chosen_server(context, reached)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


for _module in (
    codecs, tokens, streams, info, verify, tokenize, detokenize, report, evaluate, train, serve,
    warm,
):  # fmt: skip
    for _command in _module.COMMANDS:
        by_server(_command).add_to(app)


def program() -> Any:
    """Return the program as a click command, from whichever click typer uses."""
    return typer.main.get_command(app)
