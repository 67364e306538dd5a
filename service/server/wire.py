"""A look at a serialized message before it is parsed."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from omnicodec.codecs import InvalidInput, LimitExceeded

M = TypeVar("M", bound=Message)

FIELDS_PER_ITEM: Final = 64
"""Fields that one item of a request may have, at any depth; real ones have a third of that."""

AT_ONCE_BYTES: Final = 1024
"""Messages up to this size are parsed on the event loop: handing them to a thread takes longer."""


def parse(kind: type[M], data: bytes, most_items: int) -> M:
    """Return the message in `data`, which nobody has looked at yet.

    Parsed, a message can be 25 times as large as its bytes, and parsing cannot be
    interrupted: an empty item takes 2 bytes, a number of a grid 1. So the fields are
    counted first. Raises `LimitExceeded` and `InvalidInput`.
    """
    most = FIELDS_PER_ITEM * (most_items + 1)
    with suppress(IndexError):  # cut off; the parser says so
        if _count(memoryview(data), kind.DESCRIPTOR, most) < 0:
            raise LimitExceeded(f"the request has more than {most:,} fields")
    try:
        return kind.FromString(data)
    except DecodeError as e:
        raise InvalidInput("the request is not a valid message of its type") from e


def _count(data: memoryview, kind: Any, left: int) -> int:
    """Return how many of `left` fields remain after those in `data`; counting ends below 0."""
    inner = _inner(kind)
    at = 0
    while at < len(data) and left >= 0:
        left -= 1
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case 2:
                length, at = _varint(data, at)
                number = tag >> 3
                if number in inner:
                    message = inner[number]
                    if message is None:
                        left -= length
                    else:
                        left = _count(data[at : at + length], message, left)
                at += length
    return left


@cache
def _inner(kind: Any) -> dict[int, Any]:
    """Return the fields that hold further ones, by number: messages, and None if numbers."""
    return {
        field.number: field.message_type
        for field in kind.fields
        if field.type not in (FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING)
    }


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError
