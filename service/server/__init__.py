"""The gRPC server.

    event loop                              worker threads
    bytes -> admission -> Job ------------> parse -> open -> encode -> answer
             (or "busy")   |  stop() when the call is cancelled or too late

The event loop moves bytes and keeps books. Parsing, media, networks and entropy coding run
in threads, item by item, so that a stopped job stops between two items and a small request
is not kept waiting by a large one. Encodes that take minutes are another matter: `operations/`.
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
