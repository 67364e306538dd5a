"""Files that are read again when they change; a broken new version leaves the old one in force."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from omnicodec.codecs import OmnicodecError

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0

_Stamp = tuple[tuple[int, int, int], ...]


class Watched(Generic[T]):
    """What `read` makes of `paths`, now and whenever one of them has changed since.

    `read` raises an `OmnicodecError` for files that cannot be used: at first that is raised
    here, later it is logged once and the last good value stays. Files are looked at when the value
    is asked for, at most once in `seconds`; links are followed, so that it sees the secrets that
    Kubernetes replaces. May be used from any thread.
    """

    def __init__(
        self, paths: Sequence[Path], read: Callable[[], T], *, seconds: float = _LOOK_SECONDS
    ) -> None:
        self._paths, self._read, self._seconds = paths, read, seconds
        self._lock = threading.Lock()
        self._stamp = self._look()  # before they are read: a change meanwhile is seen later
        self._value = read()
        self._looked = time.monotonic()

    def get(self) -> T:
        """Return the value of the newest files that could be used."""
        with self._lock:
            if time.monotonic() - self._looked < self._seconds:
                return self._value
            self._looked = time.monotonic()
            stamp = self._look()
            if stamp == self._stamp:
                return self._value
            self._stamp = stamp
            names = ", ".join(map(str, self._paths))
            try:
                self._value = self._read()
            except OmnicodecError as e:
                _log.error("%s cannot be used, and what was read before stays: %s", names, e)
            else:
                _log.info("%s changed and was read again", names)
            return self._value

    def _look(self) -> _Stamp:
        found = []
        for path in self._paths:
            try:
                stat = path.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return tuple(found)
