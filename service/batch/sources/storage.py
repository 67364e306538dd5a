"""Where sources lie: files of this machine, and whatever fsspec reaches by a URL."""

from __future__ import annotations

import io
import os
import posixpath
import re
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from omnicodec.codecs import InvalidInput, Unavailable

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
_PAUSES: Final = (0.5, 2.0, 8.0)
_BUFFER: Final = 1 << 17
_GONE: Final = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)

OUTSIDE: Final = "a link that leads out of the folder"
LINKED_FOLDER: Final = "a link to a folder, which is not followed"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """A file below a folder: its name there, its size, and why it is not to be read, if so.

    `folder` tells that what is not to be read is a folder, of whose files nothing is known.
    """

    name: str
    nbytes: int
    problem: str = ""
    folder: bool = False


class Storage(ABC):
    """Files by their paths. Errors are `InvalidInput` for what is not there or not to be read.

    `Unavailable` is a storage that does not answer, tried again a few times: it ends a run, which
    can be gone on with; a reject would make what is written depend on the weather.
    """

    @abstractmethod
    def status(self, path: str) -> Found | None:
        """Return size and name of a file; None where there is none."""

    @abstractmethod
    def is_folder(self, path: str) -> bool:
        """Return whether this is a folder."""

    @abstractmethod
    def walk(self, root: str) -> Iterator[Found]:
        """Yield the files below a folder but hidden ones: its own, then those of its folders.

        Both are sorted by the bytes of their names.
        """

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Return a file open for reading, which can seek."""

    def local(self, path: str) -> Path | None:
        """Return the path of a file of this machine."""
        return None

    def read(self, path: str) -> bytes:
        """Return the whole content of a file."""
        with self.open(path) as file:
            return file.read()


class LocalStorage(Storage):
    """Files of this machine. Links to files are followed, those to folders are not."""

    def status(self, path: str) -> Found | None:
        try:
            facts = Path(path).stat()
        except (OSError, ValueError):
            return None
        return None if stat.S_ISDIR(facts.st_mode) else Found(path, facts.st_size)

    def is_folder(self, path: str) -> bool:
        return Path(path).is_dir()

    def local(self, path: str) -> Path | None:
        return Path(path)

    def open(self, path: str) -> BinaryIO:
        try:
            return open(path, "rb", buffering=_BUFFER)
        except (OSError, ValueError) as e:
            raise unreadable(path, e) from e

    def walk(self, root: str) -> Iterator[Found]:
        return self._walk(posixpath.join(root, ""), "", os.path.realpath(root))

    def _walk(self, folder: str, prefix: str, top: str) -> Iterator[Found]:
        """Walk one folder; only its own names, and those of the ones above, are in memory."""
        try:
            with os.scandir(folder) as entries:
                known = [e for e in entries if not e.name.startswith(".")]
        except OSError as e:
            if prefix:
                yield Found(prefix, 0, f"cannot read this folder: {e.strerror or e}", folder=True)
                return
            raise unreadable(folder, e) from e
        known.sort(key=lambda entry: (_is_folder(entry), os.fsencode(entry.name)))
        for entry in known:
            if _is_folder(entry):
                yield from self._walk(f"{folder}{entry.name}/", f"{prefix}{entry.name}/", top)
            else:
                yield _found(entry, prefix, top)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _found(entry: os.DirEntry[str], prefix: str, top: str) -> Found:
    name = prefix + entry.name
    try:
        facts = entry.stat()
        linked = entry.is_symlink()
    except OSError as e:
        return Found(name, 0, f"cannot be read: {e.strerror or e}")
    if stat.S_ISDIR(facts.st_mode):
        return Found(name, 0, LINKED_FOLDER, folder=True)
    if not stat.S_ISREG(facts.st_mode):
        return Found(name, 0, "not a regular file")
    if linked and not os.path.realpath(entry.path).startswith(posixpath.join(top, "")):
        return Found(name, facts.st_size, OUTSIDE)
    return Found(name, facts.st_size)


def _order(name: str) -> list[tuple[bool, bytes]]:
    """Return what sorts names as `walk` yields them."""
    *folders, last = name.split("/")
    return [*((True, os.fsencode(folder)) for folder in folders), (False, os.fsencode(last))]


class RemoteStorage(Storage):
    """What fsspec opens: "s3://…", "memory://…"; credentials are those of the environment."""

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as e:
            raise Unavailable('reading URLs needs: pip install "omnicodec[batch]"') from e
        try:
            self._files, path = fsspec.core.url_to_fs(url)
        except ImportError as e:
            raise Unavailable(f"reading {url!r} needs another library: {e}") from e
        except Exception as e:  # of any library, about the URL or the credentials
            raise InvalidInput(f"cannot read {url!r}: {_line(e)}") from e
        bare = path.strip("/")
        if not url.rstrip("/").endswith(bare):
            raise InvalidInput(f"cannot tell the path in {url!r}")
        # Paths are told as URLs, and fsspec knows them by what is behind the protocol.
        self._protocol = url.rstrip("/")[: len(url.rstrip("/")) - len(bare)]
        self._lead = "/" if path.startswith("/") else ""

    def _strip(self, path: str) -> str:
        return self._lead + path[len(self._protocol) :]

    def status(self, path: str) -> Found | None:
        facts = self._info(path)
        if facts is None or facts.get("type") == "directory":
            return None
        return Found(path, int(facts.get("size") or 0))

    def is_folder(self, path: str) -> bool:
        facts = self._info(path.rstrip("/"))
        return facts is not None and facts.get("type") == "directory"

    def _info(self, path: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = persist(lambda: self._files.info(self._strip(path)), path)
        except InvalidInput:
            return None
        return found

    def walk(self, root: str) -> Iterator[Found]:
        top = self._strip(root).rstrip("/")
        found = persist(lambda: self._files.find(top, detail=True), root)
        start = len(self._files._strip_protocol(top).rstrip("/")) + 1
        files = [(name[start:], facts) for name, facts in found.items()]
        for name, facts in sorted(files, key=lambda pair: _order(pair[0])):
            hidden = any(piece.startswith(".") for piece in name.split("/"))
            if name and not hidden and facts.get("type") != "directory":
                yield Found(name, int(facts.get("size") or 0))

    def open(self, path: str) -> BinaryIO:
        place = self._strip(path)
        file = persist(lambda: self._files.open(place, "rb"), path)
        return io.BufferedReader(_Persistent(file, path), _BUFFER)

    def read(self, path: str) -> bytes:
        place = self._strip(path)
        found: bytes = persist(lambda: self._files.cat_file(place), path)
        return found


class _Persistent(io.RawIOBase):
    """A remote file whose reads are tried again."""

    def __init__(self, file: Any, path: str) -> None:
        self._file, self._path, self._at = file, path, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = int(persist(lambda: self._file.seek(offset, whence), self._path))
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        def again() -> bytes:
            if self._file.tell() != self._at:
                self._file.seek(self._at)
            return bytes(self._file.read(len(buffer)))

        data = persist(again, self._path)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def persist(work: Callable[[], T], path: str, sleep: Callable[[float], None] = time.sleep) -> T:
    """Return what `work` returns, tried again a few times while the storage fails.

    Raises `InvalidInput` at once for what is not there, and at last `Unavailable`.
    """
    for pause in (*_PAUSES, None):
        try:
            return work()
        except _GONE as e:
            raise unreadable(path, e) from e
        except (MemoryError, TypeError, AttributeError):
            raise
        except Exception as e:  # of any library: what they raise is not documented
            if pause is None:
                raise Unavailable(f"the storage of {path!r} fails: {_line(e)}") from e
            sleep(pause)
    raise AssertionError("not reached")


def unreadable(path: str, error: Exception) -> InvalidInput:
    """Return the error about a file that cannot be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InvalidInput(f"cannot read {path!r}: {reason or type(error).__name__}")


def _line(error: Exception) -> str:
    """Return what an error says, as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def is_url(location: str) -> bool:
    """Return whether this is a URL and no path; "file://" is a path."""
    return _URL.match(location) is not None


def open_storage(location: str) -> tuple[Storage, str]:
    """Return the storage of a location and the location in it.

    Raises `Unavailable` for a protocol whose library is missing.
    """
    if location.startswith("file://"):
        return LocalStorage(), location.removeprefix("file://")
    if is_url(location):
        return RemoteStorage(location), location
    return LocalStorage(), location
