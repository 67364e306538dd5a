"""What a cell of a table holds: text, media as bytes or base64, or the name of a file nearby."""

from __future__ import annotations

import base64
import binascii
import io
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from omnicodec.codecs import InvalidInput, LimitExceeded
from omnicodec.service.batch.documents import Part
from omnicodec.service.batch.sources.location import Location
from omnicodec.service.batch.sources.names import FILE, modality_of, shown

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_INSIDE: Final = ("bytes", "base64", "data", "b64_json", "image_base64", "text", "path", "url")
_UNTOLD: Final = "the file's name does not tell its modality"


class Nearby:
    """The folder of a table's file, where the files lie that it names; `limit` is in bytes."""

    def __init__(
        self, location: Location, name: str, limit: int | None = None, modality: str = ""
    ) -> None:
        self._location, self._modality = location, modality
        self._folder = posixpath.dirname(location.path(name))
        self.limit = limit
        self._top = ""

    def check(self, nbytes: int) -> None:
        """Raise `LimitExceeded` for more bytes than an item may have."""
        if self.limit is not None and nbytes > self.limit:
            raise LimitExceeded(f"{nbytes:,} bytes are over the limit of {self.limit:,}")

    def part(self, name: str, modality: str) -> Part:
        """Return a file in this folder or below; raises `InvalidInput` for any other."""
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name or not pure.parts:
            raise InvalidInput(f"{name!r} is not the name of a file below the table's folder")
        modality = (modality_of(name) or self._modality) if modality == FILE else modality
        if not modality:
            raise InvalidInput(f"{name!r}: {_UNTOLD}")
        storage, path = self._location.storage, posixpath.join(self._folder, str(pure))
        local = storage.local(path)
        if local is not None:
            self._top = self._top or posixpath.join(os.path.realpath(self._folder), "")
            try:
                inside = os.path.realpath(path).startswith(self._top)
            except (OSError, ValueError) as e:
                raise InvalidInput(f"cannot read {name!r}: {e}") from e
            if not inside:
                raise InvalidInput(f"{name!r} is a link that leads out of the table's folder")
        found = storage.status(path)
        if found is None:
            raise InvalidInput(f"cannot read {name!r}: no such file")
        self.check(found.nbytes)
        data = storage.read(path) if local is None else local
        return Part(modality, data, shown(name))


def parts_of(value: Any, modality: str, near: Nearby, name: str) -> Iterator[Part]:
    """Yield the parts that a value is: none for null, each of a list.

    Raises `InvalidInput` for what cannot be such media, `LimitExceeded` for too much.
    """
    match value:
        case None:
            return
        case str() if modality == "text":
            yield text_part(value, near, name)
        case str():
            yield _of_string(value, modality, near, name)
        case bytes() | bytearray() | memoryview():
            if modality == FILE:
                raise InvalidInput(f"column {name!r} holds bytes and no file's name")
            near.check(len(value))
            yield Part(modality, bytes(value), name)
        case Mapping():
            yield from _of_object(value, modality, near, name)
        case Sequence() if modality == "series" and value and not _holds_media(value):
            yield Part("series", _series(value), name)
        case Sequence():
            for one in value:
                if isinstance(one, Sequence) and not isinstance(one, str | bytes | bytearray):
                    raise InvalidInput(f"column {name!r} holds lists in lists")
                yield from parts_of(one, modality, near, name)
        case _:
            raise InvalidInput(f"column {name!r} holds {_kind(value)}, not {modality}")


def text_part(value: str, near: Nearby, name: str) -> Part:
    """Return a text; lone surrogates are kept as `Text` keeps them."""
    try:
        data = value.encode()
    except UnicodeEncodeError:
        data = value.encode("utf-8", "surrogatepass")
    near.check(len(data))
    return Part("text", data, name)


def _of_string(value: str, modality: str, near: Nearby, name: str) -> Part:
    if modality == FILE:
        return near.part(value, modality)
    if value.startswith("data:"):
        return Part(modality, _data_url(value, near), name)
    if _URL.match(value):
        raise InvalidInput(f"URLs are not fetched: {value[:100]!r}")
    if "." in value[-16:]:  # which base64 never holds, and names of media files always
        return near.part(value, modality)
    return Part(modality, from_base64(value, near), name)


def _of_object(value: Mapping[str, Any], modality: str, near: Nearby, name: str) -> Iterator[Part]:
    """Yield what {"bytes": …, "path": …} holds, as Hugging Face and others write it."""
    inside = next((key for key in _INSIDE if value.get(key) is not None), "")
    if inside == "bytes" and not value["bytes"] and value.get("path"):
        inside = "path"
    held = value.get(inside)
    if inside == "path" and isinstance(held, str):
        yield near.part(held, modality)
    elif inside == "text" and modality != "text":
        raise InvalidInput(f"column {name!r} holds text, not {modality}")
    elif isinstance(held, str) and inside not in ("url", "text"):
        data = _data_url(held, near) if held.startswith("data:") else from_base64(held, near)
        yield Part(modality, data, name)
    elif isinstance(held, str) and inside == "url" and modality == "text":
        raise InvalidInput(f"URLs are not fetched: {held[:100]!r}")
    elif isinstance(held, str | bytes):
        yield from parts_of(held, modality, near, name)
    elif inside:
        raise InvalidInput(f"{inside!r} in column {name!r} is {_kind(held)}")
    else:
        raise InvalidInput(f"column {name!r} holds an object without bytes or a path")


def from_base64(value: str, near: Nearby) -> bytes:
    """Return the bytes that are written as base64, of either alphabet, padded or not."""
    near.check(len(value) // 4 * 3 - 2)
    try:
        packed = value.translate(_URL_SAFE).encode("ascii")
        packed = b"".join(packed.split()).rstrip(b"=")
        data = base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except (ValueError, binascii.Error) as e:
        raise InvalidInput(f"neither base64 nor a file's name: {value[:40]!r}") from e
    near.check(len(data))
    return data


def _data_url(value: str, near: Nearby) -> bytes:
    head, comma, body = value.partition(",")
    if not comma:
        raise InvalidInput(f"a data URL without data: {value[:40]!r}")
    if head.endswith(";base64"):
        return from_base64(body, near)
    data = unquote_to_bytes(body)
    near.check(len(data))
    return data


def _holds_media(value: Sequence[Any]) -> bool:
    first = next((one for one in value if one is not None), None)
    return isinstance(first, str | bytes | Mapping)


def _series(value: Sequence[Any]) -> bytes:
    """Return a list of numbers, or of lists of them a channel each, as a .npy file."""
    import numpy as np

    try:
        array = np.array(value, np.float64)
    except (ValueError, TypeError) as e:
        raise InvalidInput("a series is a list of numbers, or lists of one length") from e
    if array.ndim not in (1, 2):
        raise InvalidInput(f"a series has 1 or 2 dimensions, not {array.ndim}")
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _kind(value: Any) -> str:
    """Return how people call the type of a value."""
    names = {bool: "a truth value", int: "a number", float: "a number", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
