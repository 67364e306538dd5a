"""Filters and pages of lists of operations, as AIP-160 and AIP-158 have them.

https://google.aip.dev/160 and https://google.aip.dev/158. Of the filter language, comparisons
of a field with a word by = and !=, joined by AND, are understood; all else is refused, since a
filter that is ignored lists what nobody asked for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final

from omnicodec.codecs import InvalidInput
from omnicodec.service.server.operations.store import State

Condition = tuple[str, list[object]]
"""An SQL condition and the values of its question marks."""

_TERM: Final = re.compile(
    r'\s*(?P<field>[a-z_.]+)\s*(?P<sign>!?=)\s*(?:"(?P<quoted>[^"\\]*)"|(?P<word>[\w./@-]+))\s*'
)
_AND: Final = re.compile(r"AND\b")
_MAX_CHARACTERS: Final = 1000
_FIELDS: Final = "done, name, metadata.state and metadata.codec"


def parse_filter(text: str) -> Condition:
    """Return the condition of a filter such as `done = false AND metadata.codec = image/rate`.

    Raises `InvalidInput` for what is not understood.
    """
    if not text.strip():
        return "1", []
    if len(text) > _MAX_CHARACTERS:
        raise InvalidInput(f"a filter has at most {_MAX_CHARACTERS} characters")
    parts: list[str] = []
    values: list[object] = []
    at = 0
    while term := _TERM.match(text, at):
        value = term["word"] if term["quoted"] is None else term["quoted"]
        condition, more = _condition(term["field"], value)
        parts.append(condition if term["sign"] == "=" else f"NOT ({condition})")
        values += more
        at = term.end()
        if at == len(text):
            return " AND ".join(parts), values
        if not (joined := _AND.match(text, at)):
            break
        at = joined.end()
    raise InvalidInput(
        f"a filter has terms FIELD = VALUE or FIELD != VALUE, joined by AND, which this one has "
        f"not at character {at + 1}; fields are {_FIELDS}"
    )


def _condition(field: str, value: str) -> Condition:
    match field:
        case "done":
            if value not in ("true", "false"):
                raise InvalidInput("done is true or false")
            known = "ended IS NOT NULL" if value == "true" else "ended IS NULL"
            return known, []
        case "metadata.state":
            name = value.removeprefix("STATE_")
            if name not in State.__members__:
                raise InvalidInput(f"metadata.state is one of {', '.join(State)}")
            return "state = ?", [name]
        case "metadata.codec":
            return "codec = ?", [value]
        case "name":
            return "id = ?", [value.removeprefix("operations/")]
        case _:
            raise InvalidInput(f"a filter's fields are {_FIELDS}")


def page_token(number: int, filter_text: str) -> str:
    """Return the token of the page behind the operation of this number."""
    return base64.urlsafe_b64encode(f"{number}.{_digest(filter_text)}".encode()).decode()


def page_after(token: str, filter_text: str) -> Condition:
    """Return the condition that a page token stands for.

    Raises `InvalidInput` for a token that is none, or of a list with another filter.
    """
    if not token:
        return "1", []
    try:
        number, _, digest = base64.urlsafe_b64decode(token.encode()).decode().partition(".")
        after = int(number)
    except (ValueError, binascii.Error) as e:
        raise InvalidInput("this is no page_token of this server") from e
    if digest != _digest(filter_text) or not 0 < after < 1 << 63:
        raise InvalidInput("a page_token is of the list with the same filter")
    return "number < ?", [after]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
