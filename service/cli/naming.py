"""Names of outputs that the user did not name, and names that are not trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from omnicodec.codecs import CodecSpec

STDIN: Final = "-"

_MAX_NAME_BYTES: Final = 240  # file systems allow 255, and temporary names are a little longer


def shown_name(file: str) -> str:
    """Return what messages call an input."""
    return "stdin" if file == STDIN else file


def base_name(file: str) -> str:
    """Return an input's name without folders."""
    return "stdin" if file == STDIN else Path(file).name


def decoded_name(spec: CodecSpec, file: str, original: str = "") -> str:
    """Return the default output name of what is decoded from `file`.

    `original` is what a stream says its source was called: it may come from anyone, so it
    is used only when it is a plain, visible file name, and otherwise replaced by the name of
    `file` without its last ending. A lossy result is not the original, so it gets the ending
    of a format that loses nothing more, `.png` for a picture.
    """
    from omnicodec.codecs import MODALITIES

    name = original if is_plain_name(original) else Path(base_name(file)).stem
    ending = MODALITIES[spec.modality].suffixes[0]
    if not spec.lossless:
        return Path(name).stem + ending
    return name if name == original or Path(name).suffix else name + ending


def is_plain_name(name: str) -> bool:
    """Return whether a name from a stream is safe to create as a file."""
    return (
        bool(name)
        and not name.startswith(".")  # "..", and hidden files, which programs obey
        and not set(name) & set("/\\:")
        and name.isprintable()
        and name == name.strip()
        and len(name.encode("utf-8", "replace")) <= _MAX_NAME_BYTES
    )
