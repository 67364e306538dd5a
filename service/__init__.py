"""The front doors: command line, gRPC server and client, evaluation, training.

`Client` and `AsyncClient` are imported when they are first used, so that nothing here needs grpc to
be installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnicodec.service.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from omnicodec.service import client
    except ModuleNotFoundError as e:
        if not (e.name or "").startswith(("grpc", "google.rpc", "google.longrunning")):
            raise
        from omnicodec.codecs import Unavailable

        raise Unavailable('the client needs: pip install "omnicodec[serve]"') from e
    return getattr(client, name)
