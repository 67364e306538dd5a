"""Requests of other requests: bytes that are changed, and fields."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

MOST_BYTES: Final = 1 << 20
EDGES: Final = (0, 1, 127, 128, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


@dataclass(frozen=True)
class Method:
    """A method by its path, the type of its request, and whether requests come as a stream."""

    path: str
    kind: Any
    streams: bool
    answers: bool


@dataclass(frozen=True)
class Seed:
    """An honest or hostile request."""

    method: Method
    data: bytes


class Mutator:
    """Makes requests of seeds."""

    def __init__(self, seeds: list[Seed], random_: random.Random) -> None:
        self._seeds, self._random = seeds, random_

    def request(self) -> tuple[Method, list[bytes]]:
        """Return a method and the messages to send."""
        pick = self._random
        seed = pick.choice(self._seeds)
        method = seed.method if pick.random() < 0.95 else pick.choice(self._seeds).method
        count = pick.choice((1, 1, 2, 3, 8)) if method.streams else 1
        others = [s.data for s in self._seeds if s.method is method]
        messages = [seed.data, *(pick.choice(others or [seed.data]) for _ in range(count - 1))]
        return method, [self._changed(method, data) for data in messages]

    def _changed(self, method: Method, data: bytes) -> bytes:
        pick = self._random
        if pick.random() < 0.1:
            return data
        if pick.random() < 0.5:
            try:
                message = method.kind.FromString(data)
                for _ in range(pick.choice((1, 1, 2, 5))):
                    self._change_field(message)
                return bytes(message.SerializeToString())[:MOST_BYTES]
            except Exception:  # of another method, or too large a number
                return self._changed_bytes(data)
        return self._changed_bytes(data)

    def _changed_bytes(self, data: bytes) -> bytes:
        pick, new = self._random, bytearray(data[:MOST_BYTES])
        for _ in range(pick.choice((1, 1, 2, 4, 16))):
            at = pick.randrange(len(new) + 1)
            match pick.randrange(7):
                case 0:
                    new[at:at] = pick.randbytes(pick.choice((1, 2, 8, 300)))
                case 1:
                    del new[at : at + pick.choice((1, 2, 8, 300))]
                case 2 if at < len(new):
                    new[at] ^= 1 << pick.randrange(8)
                case 3:
                    del new[at:]
                case 4:
                    size = pick.choice((1, 4, 8))
                    new[at : at + size] = pick.choice(EDGES).to_bytes(9, "little")[:size]
                case 5:
                    new[at:at] = new[at : at + pick.choice((2, 20, 2000))] * pick.choice((1, 3, 50))
                case _:
                    other = pick.choice(self._seeds).data
                    start = pick.randrange(len(other) + 1)
                    new[at:] = other[start:]
        return bytes(new[:MOST_BYTES])

    def _change_field(self, message: Any) -> None:
        pick = self._random
        field = pick.choice(message.DESCRIPTOR.fields)
        set_fields = message.ListFields()
        if set_fields and pick.random() < 0.7:
            field = pick.choice(set_fields)[0]
        name = field.name
        if pick.random() < 0.1:
            message.ClearField(name)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._change_map(getattr(message, name), field)
        elif field.is_repeated:
            values = getattr(message, name)
            if field.message_type is not None:
                if values and pick.random() < 0.5:
                    self._change_field(pick.choice(values))
                elif values:
                    values.add().CopyFrom(pick.choice(values))
                else:
                    values.add()
            else:
                values.extend([self._value(field, None)] * pick.choice((1, 1, 5, 100)))
        elif field.message_type is not None:
            self._change_field(getattr(message, name))
        else:
            setattr(message, name, self._value(field, getattr(message, name)))

    def _change_map(self, values: Any, field: Any) -> None:
        key, value = (field.message_type.fields_by_name[n] for n in ("key", "value"))
        known = list(values)
        name = self._random.choice(known) if known else self._value(key, None)
        values[name] = self._value(value, None)

    def _value(self, field: Any, old: Any) -> Any:
        pick = self._random
        match field.type:
            case FieldDescriptor.TYPE_BYTES:
                return self._changed_bytes(old or pick.randbytes(20))
            case FieldDescriptor.TYPE_STRING:
                return pick.choice(
                    ("", "\0", "x" * 5000, "text/bytes", "image/vq", "../..", "\u202e")
                )
            case FieldDescriptor.TYPE_BOOL:
                return not old
            case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
                return pick.choice((0.0, -1.0, 1e300, float("nan"), float("inf"), 1e-300))
            case FieldDescriptor.TYPE_ENUM:
                return pick.randrange(100)
            case FieldDescriptor.TYPE_UINT32 | FieldDescriptor.TYPE_FIXED32:
                return pick.choice(EDGES) % 2**32
            case FieldDescriptor.TYPE_INT32 | FieldDescriptor.TYPE_SINT32:
                return pick.choice((-1, -(2**31), 0, 1, 2**31 - 1))
            case FieldDescriptor.TYPE_INT64 | FieldDescriptor.TYPE_SINT64:
                return pick.choice((-1, -(2**63), 0, 1, 2**63 - 1))
            case _:
                return pick.choice(EDGES)
