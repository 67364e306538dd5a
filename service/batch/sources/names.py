"""What names tell: of files, members and columns, and how names are written where all is UTF-8."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Final

from omnicodec.codecs import MODALITIES, InvalidInput

SUFFIXES: Final[Mapping[str, str]] = {
    suffix: modality for modality, kind in MODALITIES.items() for suffix in kind.suffixes
}
"""The modality of each known suffix of file names, such as ".jpg"."""

DOCUMENT: Final = "document"
KEY: Final = "key"
FILE: Final = "file"
MEANINGS: Final = frozenset({*MODALITIES, DOCUMENT, KEY, FILE})
"""What a column may be: a modality, a list of parts, the item's name, or a file's name."""

COLUMNS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("text", "content", "caption", "txt", "markdown"), "text"),
    **dict.fromkeys(
        ("image", "images", "picture", "img", "jpg", "jpeg", "png", "webp", "gif"), "image"
    ),
    **dict.fromkeys(("audio", "sound", "speech", "wav", "flac", "mp3", "ogg", "opus"), "audio"),
    **dict.fromkeys(("video", "videos", "mp4", "webm", "mkv", "mov"), "video"),
    **dict.fromkeys(("series", "npy", "npz"), "series"),
    **dict.fromkeys((DOCUMENT, "messages", "conversation", "interleaved"), DOCUMENT),
    **dict.fromkeys((KEY, "__key__", "id", "uid"), KEY),
    **dict.fromkeys((FILE, "file_name", "filename", "path", "image_path", "audio_path"), FILE),
}
"""What columns are without being told, by their names in lower case."""

MEMBERS: Final[Mapping[str, str]] = {
    **{s[1:]: m for s, m in SUFFIXES.items() if m != "text"},
    **dict.fromkeys(("txt", "text", "caption"), "text"),
}
"""What members of a WebDataset sample are without being told; all others are metadata."""


def modality_of(name: str) -> str:
    """Return the modality that a file's name tells; "" where it tells none."""
    return SUFFIXES.get(posixpath.splitext(name)[1].lower(), "")


def shown(name: str) -> str:
    r"""Return a name as UTF-8 can hold it: a byte that is not UTF-8 as \xff, a backslash as \\.

    `hidden` turns it back. A name is what `os.fsdecode` made: lone surrogates stand for bytes.
    """
    if "\\" in name:
        name = name.replace("\\", "\\\\")
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def hidden(text: str) -> str:
    """Return the name that `shown` was given."""
    out, rest = bytearray(), text
    while rest:
        before, mark, rest = rest.partition("\\")
        out += before.encode()
        if mark and rest.startswith("\\"):
            out += b"\\"
            rest = rest[1:]
        elif mark:
            out.append(int(rest[1:3], 16))
            rest = rest[3:]
    return out.decode("utf-8", "surrogateescape")


def check_columns(columns: Mapping[str, str], allowed: frozenset[str] = MEANINGS) -> None:
    """Raise `InvalidInput` for a column that is said to be what no column can be."""
    for name, meaning in columns.items():
        if meaning not in allowed:
            known = ", ".join(sorted(allowed))
            raise InvalidInput(f"column {name!r} cannot be {meaning!r}; known: {known}")
    if list(columns.values()).count(KEY) > 1:
        raise InvalidInput("an item has one key: only one column can be it")
