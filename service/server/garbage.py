"""Calls that are over, and still there.

grpc.aio keeps what a call's done callbacks were given in a cycle with the call, which only Python's
collector frees, some day. Of most calls that holds a little memory. A stream that ended before its
client had sent all counts as open until then: after `grpc.max_concurrent_streams` of them gRPC
refuses every further call of the connection, and as nothing is allocated any more the collector
does not run either. So who ends a stream early says so here.
"""

from __future__ import annotations

import gc
import threading
from typing import Final

_EVERY: Final = 8
"""Streams that ended early between two collections; connections may have more of them open."""


class _EndedEarly:
    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self._count += 1
            full = self._count >= _EVERY
            if full:
                self._count = 0
        if full:
            gc.collect()


_ended_early = _EndedEarly()


def ended_early() -> None:
    """Note that a stream ended before its client had; a collection may take milliseconds."""
    _ended_early.add()


def freeze() -> None:
    """Leave out of collections what is there now, which makes them short.

    For a process that is a server and nothing else: what is there is not freed any more.
    """
    gc.collect()
    gc.freeze()
