"""`omnicodec serve`: the gRPC service."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
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
  omnicodec serve --jobs /var/lib/omnicodec/jobs --max-jobs 2
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
    jobs: Annotated[
        str | None,
        typer.Option(
            "--jobs",
            metavar="FOLDER",
            help="Keep long encodes here, which go on after a restart. It belongs to one server "
            "at a time. Default: none, and StartEncode is not offered.",
        ),
    ] = None,
    max_jobs: Annotated[
        int,
        typer.Option(
            "--max-jobs",
            metavar="N",
            show_default=False,
            help="Long encodes worked on at once; others wait. Default: 1.",
        ),
    ] = 1,
    keep_jobs: Annotated[
        float,
        typer.Option(
            "--keep-jobs",
            metavar="HOURS",
            show_default=False,
            help="When long encodes that have ended are deleted. Default: after 168, a week.",
        ),
    ] = 168.0,
    device: Device = "",
) -> None:
    """Serve all codecs over gRPC.

    Ctrl-C or SIGTERM stops the server when the requests in progress are done; a second one
    stops it at once. Long encodes leave checkpoints, for the next server to go on with. The
    connection is not encrypted: beyond this machine, put it behind something that is.
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
            jobs=None if jobs is None else Path(jobs),
            max_jobs=max_jobs,
            keep_seconds=3600 * keep_jobs,
        )
    except InvalidInput as e:
        raise UsageError(str(e)) from e
    asyncio.run(server.serve(options))


COMMANDS = (Command("serve", serve, "[OPTIONS]", EPILOG),)
