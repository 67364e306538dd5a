"""A location as a user names it: a file, a folder, a glob, several of these in braces."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.sources.names import shown
from omnicodec.service.batch.sources.storage import Found, is_url, open_storage

_MAGIC: Final = re.compile(r"[*?\[{]")
_URL_MAGIC: Final = re.compile(r"[*\[{]")  # behind a question mark, a URL has its arguments
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"(\d+)\.\.(\d+)")
_MOST_NAMES: Final = 1_000_000


class Location:
    """Files that a source reads, by names below a root.

    `named` tells that the user named each file himself; a folder has `whole`. What is not there
    raises `InvalidInput` only when it is listed: it may have gone since, which is no reason to
    end a run.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.storage, path = open_storage(location)
        self.whole = self.storage.is_folder(path)
        self._names: list[str] = []
        self._pattern: re.Pattern[str] | None = None
        self._gone = ""
        magic = (_URL_MAGIC if is_url(path) else _MAGIC).search(path)
        if self.whole:
            self.root = path.rstrip("/") or "/"
        elif magic is None or self.storage.status(path) is not None:
            self.root, name = _split(path, len(path))
            self._names = [name]
            if magic is None and self.storage.status(path) is None:
                self._gone = path.rstrip("/")
        else:
            self._expand(path, magic.start())
        self.named = bool(self._names)

    def _expand(self, path: str, magic: int) -> None:
        self.root, rest = _split(path, magic)
        names = list(_braces(rest))
        if any(_MAGIC.search(name) for name in names):
            self._pattern = re.compile("|".join(map(_regex, names)), re.DOTALL)
        else:
            self._names = names

    @property
    def is_pattern(self) -> bool:
        """Return whether it is a glob."""
        return self._pattern is not None

    def files(self) -> Iterator[Found]:
        """Yield its files: sorted by the bytes of their names, or as they were named."""
        if not self.named:
            if not self.storage.is_folder(self.root or "."):
                raise InvalidInput(f"cannot read {self.location!r}: no folder {self.root!r}")
            for found in self.storage.walk(self.root or "."):
                if self._pattern is None or self._pattern.fullmatch(found.name):
                    yield found
            return
        for name in self._names:
            status = self.storage.status(self.path(name))
            if status is None:
                raise InvalidInput(f"cannot read {self.path(name)!r}: No such file or directory")
            yield Found(name, status.nbytes)

    def path(self, name: str) -> str:
        """Return the path of a file as the storage takes it."""
        if self._gone and name not in self._names:
            return posixpath.join(self._gone, name)  # it was a folder when the run was planned
        return posixpath.join(self.root, name) if self.root else name

    def shown(self, name: str) -> str:
        """Return the path of a file as people are told it, in UTF-8."""
        return shown(self.path(name))

    def open(self, name: str) -> BinaryIO:
        """Return a file open for reading."""
        return self.storage.open(self.path(name))


def _split(path: str, stop: int) -> tuple[str, str]:
    """Return the folder that holds what begins before `stop`, and the rest of the path."""
    cut = path.rfind("/", 0, stop)
    if cut < 0:
        return "", path
    return path[:cut] or "/", path[cut + 1 :]


def _braces(pattern: str) -> Iterator[str]:
    """Yield what braces stand for: {a,b} and {000..123}, from left to right."""
    found, done = 0, [pattern]
    while any(_BRACES.search(name) for name in done):
        names: list[str] = []
        for name in done:
            braces = _BRACES.search(name)
            choices = [None] if braces is None else _choices(braces[1])
            for choice in choices:
                whole = (
                    name
                    if braces is None or choice is None
                    else (name[: braces.start()] + choice + name[braces.end() :])
                )
                names.append(whole)
            found = len(names)
            if found > _MOST_NAMES:
                raise InvalidInput(f"{pattern!r} stands for more than {_MOST_NAMES:,} names")
        done = names
    yield from done


def _choices(inside: str) -> list[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        return inside.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    if abs(last - first) > _MOST_NAMES:
        raise InvalidInput(f"{{{inside}}} stands for more than {_MOST_NAMES:,} names")
    step = 1 if last >= first else -1
    return [f"{n:0{len(numbers[1])}d}" for n in range(first, last + step, step)]


def _regex(pattern: str) -> str:
    """Return a glob as a regular expression: `**` is any folders, `*` and `?` stop at a slash."""
    out, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            out, at = out + ".*", at + 2
        elif pattern[at] in "*?":
            out, at = out + ("[^/]*" if pattern[at] == "*" else "[^/]"), at + 1
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inside = pattern[at + 1 : end].replace("\\", "\\\\")
            inside = "^" + inside[1:] if inside[0] == "!" else inside
            out, at = f"{out}[{inside}]", end + 1
        else:
            out, at = out + re.escape(pattern[at]), at + 1
    return out
