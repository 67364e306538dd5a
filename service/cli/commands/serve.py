"""`omnicodec serve`: the gRPC service."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import UsageError
from omnicodec.service.cli.options import Device

EPILOG = """\
\b
Examples:
  omnicodec serve
  omnicodec serve --listen 0.0.0.0:50051 --preload image/vq --max-message-mb 256
"""

_MIB = 1 << 20


def serve(
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            show_default=False,
            help="Where to listen; port 0 takes a free one. Default: 127.0.0.1:50051.",
        ),
    ] = "127.0.0.1:50051",
    preload: Annotated[
        list[str] | None,
        typer.Option(
            "--preload",
            metavar="CODEC",
            help="Load this codec before listening; may be repeated. Default: none, codecs are "
            "loaded when they are first asked for.",
        ),
    ] = None,
    max_message_mb: Annotated[
        int,
        typer.Option(
            "--max-message-mb",
            metavar="MIB",
            show_default=False,
            help="Largest request and response, in MiB, below 2048. Default: 64.",
        ),
    ] = 64,
    max_queue: Annotated[
        int,
        typer.Option(
            "--max-queue",
            metavar="N",
            show_default=False,
            help="Requests worked on or waiting; more are turned away. Default: 64.",
        ),
    ] = 64,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            show_default=False,
            help="How long requests may go on once the server is told to stop. Default: 30.",
        ),
    ] = 30.0,
    device: Device = "",
) -> None:
    """Serve all codecs over gRPC.

    Ctrl-C or SIGTERM stops the server when the requests in progress are done; a second one
    stops it at once. The connection is not encrypted: beyond this machine, put it behind
    something that is.
    """
    # The C library behind grpc has its own words for what is reported below in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from omnicodec.codecs import InvalidInput, describe
    from omnicodec.service import server

    names = tuple(preload or ())
    for name in names:
        describe(name)  # says at once what is not known
    try:
        options = server.ServerOptions(
            listen=listen,
            device=device,
            max_message_bytes=max_message_mb * _MIB,
            max_queue=max_queue,
            max_queue_bytes=8 * max_message_mb * _MIB,
            grace_seconds=grace,
            preload=names,
        )
    except InvalidInput as e:
        raise UsageError(str(e)) from e
    asyncio.run(server.serve(options))


COMMANDS = (Command("serve", serve, "[OPTIONS]", EPILOG),)
