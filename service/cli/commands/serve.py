"""`omnicodec serve`: the gRPC service."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

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
  omnicodec serve --config /etc/omnicodec/server.toml --print-config
  openssl rand -hex 32 | tee token | omnicodec serve --hash-token
"""

_MIB = 1 << 20


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, show_default=False, help=text)


def serve(
    config: Annotated[
        str | None,
        _option(
            "--config",
            "FILE",
            "TOML file of settings; variables and flags override it. Default: none.",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        _option(
            "--listen",
            "HOST:PORT",
            "Where to listen; port 0 takes a free one. Default: 127.0.0.1:50051.",
        ),
    ] = None,
    preload: Annotated[
        list[str] | None,
        _option(
            "--preload",
            "CODEC",
            "Load this codec before listening; may be repeated. Published ones, hf:owner/name, "
            "are served only so. Default: none, codecs are loaded when they are first asked for.",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        _option("--processes", "N", "Processes that share the port. Default: 1."),
    ] = None,
    max_message_mb: Annotated[
        int | None,
        _option(
            "--max-message-mb",
            "MIB",
            "Largest request and response, in MiB, below 2048. Default: 64.",
        ),
    ] = None,
    max_queue: Annotated[
        int | None,
        _option(
            "--max-queue",
            "N",
            "Requests worked on or waiting; more are turned away. Default: 64.",
        ),
    ] = None,
    max_batch: Annotated[
        int | None,
        _option("--max-batch", "N", "Items that a network takes at once. Default: 8."),
    ] = None,
    grace: Annotated[
        float | None,
        _option(
            "--grace",
            "SECONDS",
            "How long requests may go on once the server is told to stop. Default: 30.",
        ),
    ] = None,
    jobs: Annotated[
        str | None,
        _option(
            "--jobs",
            "FOLDER",
            "Keep long encodes here, which go on after a restart. It belongs to one server "
            "at a time. Default: none, and StartEncode is not offered.",
        ),
    ] = None,
    max_jobs: Annotated[
        int | None,
        _option("--max-jobs", "N", "Long encodes worked on at once; others wait. Default: 1."),
    ] = None,
    keep_jobs: Annotated[
        float | None,
        _option(
            "--keep-jobs",
            "HOURS",
            "When long encodes that have ended are deleted. Default: after 168, a week.",
        ),
    ] = None,
    tls_certificate: Annotated[
        str | None,
        _option(
            "--tls-certificate",
            "FILE",
            "Encrypt connections, with this certificate and its chain in PEM; "
            "needs --tls-key. Default: none.",
        ),
    ] = None,
    tls_key: Annotated[
        str | None, _option("--tls-key", "FILE", "Key of the certificate. Default: none.")
    ] = None,
    tls_client_ca: Annotated[
        str | None,
        _option(
            "--tls-client-ca",
            "FILE",
            "Let in only clients with a certificate of this authority. Default: all.",
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        _option(
            "--tokens",
            "FILE",
            "Let in only calls with a bearer token of this TOML file. Default: all.",
        ),
    ] = None,
    metrics_listen: Annotated[
        str | None,
        _option(
            "--metrics-listen",
            "HOST:PORT",
            "Where to serve metrics for Prometheus. Default: nowhere.",
        ),
    ] = None,
    health_listen: Annotated[
        str | None,
        _option(
            "--health-listen",
            "HOST:PORT",
            "Where to answer health checks beside, without TLS. Default: nowhere.",
        ),
    ] = None,
    log_format: Annotated[
        str | None,
        _option(
            "--log-format",
            "FORMAT",
            "text, or json: one object a line, and a line a request. Default: text.",
        ),
    ] = None,
    trace_endpoint: Annotated[
        str | None,
        _option(
            "--trace-endpoint",
            "URL",
            "Collector of OpenTelemetry traces (OTLP over gRPC). Default: none.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        _option(
            "--set",
            "FIELD=VALUE",
            "Any other setting, by its name in the file, such as max_wait_ms=5; "
            "may be repeated. Default: none.",
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Print the settings in force, as a file, and exit. Default: no."
        ),
    ] = False,
    hash_token: Annotated[
        bool,
        typer.Option(
            "--hash-token", help="Print the hash of the token on stdin, and exit. Default: no."
        ),
    ] = False,
    device: Device = "",
) -> None:
    """Serve all codecs over gRPC.

    Ctrl-C or SIGTERM stops the server when the requests in progress are done; a second one
    stops it at once. Long encodes leave checkpoints, for the next server to go on with. Beyond
    this machine, use --tls-certificate and --tokens, or put it behind something that does.

    Settings come from the file, from variables such as OMNICODEC_MAX_QUEUE over it, and from
    flags over both.
    """
    # The C library behind grpc has its own words for what is reported below in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from omnicodec.codecs import InvalidInput, describe
    from omnicodec.service import server
    from omnicodec.service.server.config import options_from, setting, to_toml
    from omnicodec.service.server.tokens import hash_token as digest

    given = {
        "listen": listen,
        # What no flag says is auto, and a file may say otherwise.
        "device": None if device == "auto" else device,
        "preload": tuple(preload) if preload else None,
        "processes": processes,
        "max_message_bytes": None if max_message_mb is None else max_message_mb * _MIB,
        "max_queue": max_queue,
        "max_batch": max_batch,
        "grace_seconds": grace,
        "jobs": _path(jobs),
        "max_jobs": max_jobs,
        "keep_seconds": None if keep_jobs is None else 3600 * keep_jobs,
        "tls_certificate": _path(tls_certificate),
        "tls_key": _path(tls_key),
        "tls_client_ca": _path(tls_client_ca),
        "tokens": _path(tokens),
        "metrics_listen": metrics_listen,
        "health_listen": health_listen,
        "log_format": log_format,
        "trace_endpoint": trace_endpoint,
    }
    try:
        if hash_token:
            print(digest(sys.stdin.readline().strip()))
            return
        flags = dict(map(setting, settings or ()))
        flags |= {name: value for name, value in given.items() if value is not None}
        options = options_from(file=_path(config), environment=os.environ, flags=flags)
    except InvalidInput as e:
        raise UsageError(str(e)) from e
    if print_config:
        print(to_toml(options), end="")
        return
    for name in options.preload:
        describe(name)  # says at once what is not known
    asyncio.run(server.serve(options))


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


COMMANDS = (Command("serve", serve, "[OPTIONS]", EPILOG),)
