"""Names of published codecs: `hf:owner/name[@revision]` or `hf:FOLDER`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omnicodec.codecs.errors import InvalidInput, UnknownCodec

PREFIX: Final = "hf:"

_REPOSITORY: Final = re.compile(
    r"(?P<name>(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w./-]+))?",
    re.ASCII,
)
_FOLDER_STARTS: Final = ("/", "./", "../", "~")


@dataclass(frozen=True)
class Reference:
    """Where a published codec is: in a folder here, or in a repository of the Hugging Face hub.

    `name` is what its spec, its tokens and its streams call it. `revision` is a branch, a tag or
    a commit, "" for the newest. With `cached` the hub is not asked, and nothing is downloaded.
    """

    name: str
    folder: Path | None = None
    repository: str = ""
    revision: str = ""
    cached: bool = False

    def __str__(self) -> str:
        if self.folder is not None:
            return f"{PREFIX}{self.folder}"
        return self.name + (f"@{self.revision}" if self.revision else "")


def is_hub_name(name: str) -> bool:
    """Return whether a codec's name is that of a published codec."""
    return name.startswith(PREFIX)


def parse(name: str) -> Reference:
    """Return what a name means; a folder that exists goes before a repository.

    Raises `UnknownCodec` for a name that is neither.
    """
    rest = name.removeprefix(PREFIX)
    if rest in (".", "..") or rest.startswith(_FOLDER_STARTS) or (rest and Path(rest).is_dir()):
        return of_folder(rest)
    found = _REPOSITORY.fullmatch(rest)
    if found is None or ".." in rest:
        raise UnknownCodec(f"{name!r} is neither hf:owner/name[@revision] nor hf:FOLDER")
    return Reference(PREFIX + found["name"], None, found["name"], found["revision"] or "")


def of_folder(path: str | os.PathLike[str]) -> Reference:
    """Return the reference of a folder; raises `InvalidInput` when there is none."""
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise InvalidInput(f"there is no folder {os.fspath(path)!r}")
    return Reference(PREFIX + (folder.name or "root"), folder)
