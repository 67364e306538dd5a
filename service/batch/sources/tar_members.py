"""Members of a tar, one after the other from a stream that cannot seek; nothing is unpacked.

The format is that of POSIX.1-2001 (ustar and pax, "pax Interchange Format") with GNU's long names
and binary sizes. `tarfile` reads headers of any length into memory, so a header of a few bytes can
make it ask for gigabytes; here they have limits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from omnicodec.codecs import CorruptStream

_BLOCK: Final = 512
_MOST_HEADER: Final = 1 << 20
_PIECE: Final = 1 << 20
_FILES: Final = b"0\x007"
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
    b"D": "a GNU dump of a folder",
    b"M": "the rest of a file in another tar",
    b"V": "a volume's name",
}


@dataclass(slots=True)
class Member:
    """A member, where its header begins, and what it is if not a file ("" for a file)."""

    name: str
    offset: int
    nbytes: int
    kind: str


class TarReader:
    """Reads the members of a tar; each one's data is read, if at all, before the next member.

    Raises `CorruptStream` for what is no tar, and for one that is cut off.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, 0
        self._left = 0
        self._pad = 0

    def members(self) -> Iterator[Member]:
        """Yield the members but folders."""
        first = True
        while True:
            offset = self._at
            found = self._header(first)
            if found is None:
                return
            first = False
            member, kind = found
            member.offset = offset
            self._left, self._pad = member.nbytes, -member.nbytes % _BLOCK
            if kind != b"5":
                yield member
            self._skip()

    def data(self) -> bytes:
        """Return the content of the member that was yielded last; whole, or `CorruptStream`."""
        found = bytearray()
        while self._left:
            found += self._read(min(self._left, _PIECE))
            self._left -= min(self._left, _PIECE)
        return bytes(found)

    def check_end(self) -> None:
        """Raise `CorruptStream` when there is more behind the tar's end, as in two tars joined."""
        while piece := self._file.read(_PIECE):
            if piece.strip(b"\0"):
                raise CorruptStream("there is more behind the end of the tar, which is not read")

    def _skip(self) -> None:
        while self._left:
            self._read(min(self._left, _PIECE))
            self._left -= min(self._left, _PIECE)
        # Some writers leave out what fills the last block.
        self._at += len(self._file.read(self._pad)) if self._pad else 0

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        self._at += len(data)
        if len(data) < count:
            raise CorruptStream(f"the tar is cut off at byte {self._at:,}")
        return data

    def _header(self, first: bool) -> tuple[Member, bytes] | None:
        """Return the next member, with what pax and GNU headers before it say; None at the end."""
        name, size, sparse = None, None, False
        while True:
            start = self._at
            block = self._file.read(_BLOCK)
            self._at += len(block)
            if len(block) == _BLOCK and not block.strip(b"\0"):
                return None
            if len(block) < _BLOCK or not _checked(block):
                # Also without its end, a block of zeros: who knows how much is missing.
                where = f"the tar is damaged or cut off at byte {start:,}"
                raise CorruptStream("it is no tar" if first else where)
            kind, held = block[156:157], _number(block[124:136])
            if kind not in (b"x", b"g", b"L", b"K"):
                sized = held if size is None else size
                known = "" if kind in _FILES else _KINDS.get(kind, "of an unknown kind")
                if kind == b"5":
                    sized = 0
                member = Member(
                    _name(block) if name is None else name,
                    start,
                    sized,
                    "a sparse file" if sparse else known,
                )
                if known and kind in b"123456":  # which have no data, whatever their size says
                    member.nbytes = 0
                return member, kind
            body = self._body(held)
            if kind == b"L":
                name = _text(body.split(b"\0")[0])
            elif kind == b"x":
                for key, value in _records(body):
                    if key == b"path":
                        name = _text(value)
                    elif key == b"size":
                        size = _decimal(value)
                    elif key.startswith(b"GNU.sparse."):
                        sparse = True

    def _body(self, nbytes: int) -> bytes:
        if nbytes > _MOST_HEADER:
            raise CorruptStream(f"a header of {nbytes:,} bytes at byte {self._at:,} of the tar")
        data = self._read(nbytes)
        self._at += len(self._file.read(-nbytes % _BLOCK))
        return data


def _checked(block: bytes) -> bool:
    """Return whether the header's sum is right, of unsigned or of signed bytes."""
    try:
        told = _number(block[148:156])
    except CorruptStream:
        return False
    unsigned = sum(block) - sum(block[148:156]) + 8 * 32
    if told == unsigned:
        return True
    signed: int = sum(struct.unpack("148b8x356b", block)) + 8 * 32
    return told == signed


def _number(field: bytes) -> int:
    """Return a number: octal digits, or GNU's binary form, whose first bit is set."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise CorruptStream("a negative size in the tar")
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    try:
        return int(digits or b"0", 8)
    except ValueError as e:
        raise CorruptStream("a size in the tar is no number") from e


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise CorruptStream("a size in the tar is no number")
    return int(value)


def _records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of the records of a pax header: "LENGTH KEY=VALUE" and a new line."""
    at = 0
    while at < len(body) and body[at : at + 1] != b"\0":
        digits, space, _ = body[at : at + 12].partition(b" ")
        length = _decimal(digits) if space else 0
        record = body[at + len(digits) + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if not equals or not record.endswith(b"\n") or at + length > len(body):
            raise CorruptStream("a pax header of the tar is damaged")
        yield key, value
        at += length


def _name(block: bytes) -> str:
    name = block[:100].split(b"\0")[0]
    # GNU's older form has times where ustar has the first folders.
    if block[257:265] == b"ustar\x0000" and (before := block[345:500].split(b"\0")[0]):
        name = before + b"/" + name
    return _text(name)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
