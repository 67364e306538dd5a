"""Compressed files as streams: gzip and Zstandard, told by their suffixes."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, cast

from omnicodec.codecs import CorruptStream

PACKED: Final = (".gz", ".tgz", ".zst")
"""Suffixes of compressed files."""

_BUFFER: Final = 1 << 18


class _Checked(io.RawIOBase):
    """A decompressed stream whose errors are `CorruptStream`."""

    def __init__(self, stream: Any, damage: tuple[type[Exception], ...], name: str) -> None:
        self._stream, self._damage, self._name = stream, damage, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self._stream.read(len(buffer))
        except self._damage as e:
            raise CorruptStream(f"{self._name} is damaged or cut off: {e}") from e
        buffer[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def unpacked(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Open a file that may be compressed, told by its name, for reading from its beginning.

    Reading raises `CorruptStream` for damage.
    """
    if name.lower().endswith((".gz", ".tgz")):
        damage = (OSError, EOFError, zlib.error)
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            checked = _Checked(stream, damage, "the gzip file")
            yield cast("BinaryIO", io.BufferedReader(checked, _BUFFER))
    elif name.lower().endswith(".zst"):
        yield cast("BinaryIO", io.BufferedReader(_zstandard(file), _BUFFER))
    else:
        yield file


def _zstandard(file: BinaryIO) -> _Checked:
    import zstandard

    stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
        file, read_across_frames=True
    )
    return _Checked(stream, (zstandard.ZstdError,), "the .zst file")
