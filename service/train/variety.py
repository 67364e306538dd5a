"""Variants of English texts with what books lack: numbers, names, symbols, tokenized forms."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

CAPITAL: Final = 0.12
NUMBER: Final = 0.05
UNKNOWN: Final = 0.03
ODD: Final = 0.03
"""Shares of words that are capitalized, or become a number, `<unk>` or random characters."""

_CHARACTERS: Final = np.frombuffer(bytes(range(33, 127)), np.uint8)
_PUNCTUATION: Final = re.compile(rb"([,.;:!?()\[\]\"\n]|'s\b|--)")
_SPACES: Final = re.compile(rb"  +")
_HYPHEN: Final = re.compile(rb"(?<=\w)-(?=\w)")


def varied(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a variant of an English text, of about its length.

    Half of them are tokenized as corpora often are: spaces around punctuation, and `@-@`,
    `@,@` and `@.@` inside words and numbers (Koehn et al. 2007, Moses).
    """
    tokenized = rng.random() < 0.5
    if tokenized:
        data = _HYPHEN.sub(b" @-@ ", _PUNCTUATION.sub(rb" \1 ", data))
        data = _SPACES.sub(b" ", data)
    words = data.split(b" ")
    kinds = rng.random(len(words))
    limits = np.cumsum([CAPITAL, NUMBER, UNKNOWN, ODD])
    for i in np.flatnonzero(kinds < limits[-1]):
        kind = int(np.searchsorted(limits, kinds[i], "right"))
        if kind == 0:
            words[i] = words[i].capitalize() if rng.random() < 0.9 else words[i].upper()
        elif kind == 1:
            words[i] = _number(rng, tokenized)
        elif kind == 2:
            words[i] = b"<unk>"
        else:
            words[i] = rng.choice(_CHARACTERS, rng.integers(1, 7)).tobytes()
    return b" ".join(words)


def made_up_values(data: bytes, threshold: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return values `(n,)` that exceed a threshold where words begin, mostly, and elsewhere.

    They stand for the byte model's entropy, so that patches are cut in many ways.
    """
    row = np.frombuffer(data, np.uint8)
    begins = np.zeros(row.size, np.bool_)
    begins[1:] = row[:-1] == ord(" ")
    cut = rng.random(row.size) < np.where(begins, 0.7, 0.1)
    return np.where(cut, 2 * threshold, 0).astype(np.int32)


def _number(rng: np.random.Generator, tokenized: bool) -> bytes:
    kind = rng.random()
    if kind < 0.3:
        return b"%d" % rng.integers(1000, 2100)
    if kind < 0.7:
        return b"%d" % rng.integers(0, 10 ** int(rng.integers(1, 5)))
    mark = b"." if kind < 0.85 else b","
    sign = b" @" + mark + b"@ " if tokenized else mark
    rest = b"%d" % rng.integers(0, 100) if mark == b"." else b"%03d" % rng.integers(0, 1000)
    return b"%d" % rng.integers(0, 1000) + sign + rest
