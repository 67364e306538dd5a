"""Bytes as runs of valid UTF-8, which tokenizers take, and the bytes between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

PIECE: Final = 1 << 11
"""Characters after which a text is cut where it may be: threads share even a short text."""

_INVALID: Final = re.compile("([\udc80-\udcff]+)")

# Behind a line break, before something else than white space; between a letter and a space
# with a letter behind it. Whatever stands around, the cut of `text/bpe` has a cut there.
_GAP: Final = re.compile(r"\n(?=\S)|(?<=[a-z])(?= [a-z])")


def segments(data: bytes) -> Iterator[str | bytes]:
    """Yield the valid runs of `data` as str and, as bytes, what is not UTF-8 between them.

    Runs are as long as can be, so that equal bytes give equal segments.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Each invalid byte becomes one lone surrogate, which no valid run contains.
        escaped = data.decode("utf-8", "surrogateescape")
        for place, run in enumerate(_INVALID.split(escaped)):
            if run:
                yield run.encode("utf-8", "surrogateescape") if place % 2 else run
        return
    if text:
        yield text


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of about `PIECE` characters, cut only where words are anyway."""
    start = 0
    while len(text) - start > PIECE:
        found = _GAP.search(text, start + PIECE)
        if found is None:
            break
        yield text[start : found.end()]
        start = found.end()
    yield text[start:] if start else text
