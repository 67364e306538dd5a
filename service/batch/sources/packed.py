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
_FED: Final = 1 << 11
_WINDOW: Final = 1 << 27


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

    return _Checked(_ZstandardStream(file), (zstandard.ZstdError,), "the .zst file")


class _ZstandardStream:
    """Decompressed frames; the library's own reader takes a file that is cut off for a whole one.

    It is fed little at a time, of which a frame's blocks make 64 MiB at most.
    """

    def __init__(self, file: BinaryIO) -> None:
        import zstandard

        self._library, self._file = zstandard, file
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._frame: Any = None
        self._left, self._packed = memoryview(b""), b""

    def read(self, count: int) -> memoryview:
        """Return at most so many bytes; none at the end."""
        while not self._left:
            self._packed = self._packed or self._file.read(_FED)
            if not self._packed:
                if self._frame is not None:
                    raise self._library.ZstdError("a frame has no end")
                break
            if self._frame is None:
                self._frame = self._decompressor.decompressobj()
            self._left = memoryview(self._frame.decompress(self._packed))
            self._packed = b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        found, self._left = self._left[:count], self._left[count:]
        return found
