"""The files of operations: a folder for each, with its request, checkpoint and response."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from omnicodec.codecs import InvalidInput, LimitExceeded
from omnicodec.codecs.files import atomic_write
from omnicodec.service.server.refusals import UnknownOperation

_REQUEST: Final = "request.pb"
_RESPONSE: Final = "response.pb"
_CHECKPOINT: Final = "checkpoint.safetensors"


class Files:
    """The folders in `root`, named by the ids of operations, which must be known ones.

    What is written is there whole or not at all, also when the power fails. Writing raises
    `LimitExceeded` where the disk does not take it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, name: str, request: bytes) -> None:
        """Make the folder of an operation, with its request."""
        (self._root / name).mkdir(mode=0o700)
        _write(self._root / name / _REQUEST, request)
        _sync(self._root)

    def request(self, name: str) -> bytes:
        """Return the request of an operation that has not ended."""
        return (self._root / name / _REQUEST).read_bytes()

    def checkpoint(self, name: str) -> Path:
        """Return where the work of an operation leaves its checkpoint."""
        return self._root / name / _CHECKPOINT

    def respond(self, name: str, response: bytes) -> None:
        """Write the response of an operation."""
        _write(self._root / name / _RESPONSE, response)

    def response(self, name: str) -> bytes:
        """Return the response of an operation; raises `UnknownOperation` when it was deleted."""
        try:
            return (self._root / name / _RESPONSE).read_bytes()
        except FileNotFoundError as e:
            raise UnknownOperation("there is no such operation any more") from e

    def response_size(self, name: str) -> int | None:
        """Return the bytes of a response; None where there is none."""
        path = self._root / name / _RESPONSE
        return path.stat().st_size if path.exists() else None

    def tidy(self, name: str) -> None:
        """Remove all files of an operation that has ended but its response."""
        with suppress(OSError):
            for file in (self._root / name).iterdir():
                if file.name != _RESPONSE:
                    file.unlink()

    def remove(self, name: str) -> None:
        """Remove an operation's folder."""
        shutil.rmtree(self._root / name, ignore_errors=True)

    def remove_all_but(self, names: Collection[str]) -> None:
        """Remove the folders of operations that nobody knows of."""
        for folder in list(self._root.iterdir()):
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    try:
        atomic_write(path, data)
        _sync(path.parent)
    except (InvalidInput, OSError) as e:  # whose message has a path of this machine
        raise LimitExceeded("the server has no room on its disk for this") from e


def _sync(folder: Path) -> None:
    """Have the names in a folder written to disk, where folders can be opened for that."""
    with suppress(PermissionError):  # not on Windows
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
