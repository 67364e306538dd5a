"""Reading from and writing to paths, bytes and open files, the same way everywhere."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from omnicodec.codecs.errors import InvalidInput

Source = str | os.PathLike[str] | bytes | IO[bytes]
"""What `.open()` accepts: a path, the bytes themselves, or a binary file object."""


def read_all(source: Source) -> bytes:
    """Return the bytes of a path, of an open file, or the bytes themselves.

    Raises `InvalidInput` when the path cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | os.PathLike):
        try:
            return Path(source).read_bytes()
        except (OSError, ValueError) as e:
            reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
            raise InvalidInput(f"cannot read {os.fspath(source)!r}: {reason}") from e
    return source.read()


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the whole of it or nothing.

    It is done as `atomic_file` has it. Raises `InvalidInput` when it fails.
    """
    try:
        with atomic_file(path) as file:
            file.write(data)
    except OSError as e:
        raise _unwritable(path, e) from e


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open `path` for writing, so that others see it when all is written, or never.

    A temporary file beside the target is written, synced and renamed; on any failure it
    is removed and the target stays as it was. A link stays one, and what it names is
    replaced; a device or a pipe, such as /dev/null, is written to. Raises `InvalidInput`
    when it cannot be opened or renamed; what writing to it raises is passed on.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    special = is_special(target)
    try:
        file = open(target, "wb") if special else open(temporary, "xb")  # noqa: SIM115
    except OSError as e:
        raise _unwritable(path, e) from e
    try:
        with file:
            yield file
            if not special:
                file.flush()
                os.fsync(file.fileno())
        if not special:
            try:
                temporary.replace(target)
            except OSError as e:
                raise _unwritable(path, e) from e
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _unwritable(path: str | os.PathLike[str], error: OSError) -> InvalidInput:
    return InvalidInput(f"cannot write {os.fspath(path)!r}: {error.strerror or error}")


def is_special(path: Path) -> bool:
    """Return whether this is a device or a pipe: written to, never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()
