"""The gRPC server.

    event loop                              worker threads
    bytes -> admission -> Job ------------> parse -> open -> encode -> answer
             (or "busy")   |  stop() when the call is cancelled or too late

The event loop moves bytes and keeps books. Parsing, media, networks and entropy coding run
in threads, item by item, so that a stopped job stops between two items and a small request
is not kept waiting by a large one. Encodes that take minutes are another matter.

    options, config              what a server can be told, and from where
    server, running, processes   one server; until a signal says stop; several on one port
    tls, tokens, security        who is let in, and what every call passes
    calls, statuses, refusals    one call; its errors as statuses
    service, wire, admission, costs      requests: bytes, limits, how much at once
    streams, stream_calls, live  requests in pieces
    engine, jobs, batching, opening      the work, in threads, batches and processes
    health, logs, metrics, prometheus, tracing   what is seen from outside
    watched                      files that are read again when they change
    operations/                  long encodes
    inference/                   the Open Inference Protocol
"""

from __future__ import annotations

from omnicodec.codecs import Unavailable

try:
    from omnicodec.service.server.options import ServerOptions
    from omnicodec.service.server.running import RunningServer, running_server, serve
    from omnicodec.service.server.server import Server
except ModuleNotFoundError as e:
    if not (e.name or "").startswith(("grpc", "google.rpc", "google.longrunning")):
        raise
    raise Unavailable('the server needs: pip install "omnicodec[serve]"') from e

__all__ = ["RunningServer", "Server", "ServerOptions", "running_server", "serve"]
