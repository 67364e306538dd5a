"""The special tokens of a vocabulary: fixed regions, so that ids never move.

Behind the text ids come, in this order and always of this size:

    control    <|pad|> <|bos|> <|eos|> <|hole|> <|text|> <|extent|> <|,|>  and 25 spare
    digits     <|#0|> ... <|#255|>              base-256 digits of an integer, high ones first
    grids      <|grid:1,1|> ... <|grid:32,32|>  sizes that one token tells
    marks      <|image|> <|/image|> ...         begin and end of a media part, 128 codecs

The codebooks follow. A codec that is added at the end takes the next two marks and the
ids behind the last codebook; no id that was there before changes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Final

CONTROL: Final = ("<|pad|>", "<|bos|>", "<|eos|>", "<|hole|>", "<|text|>", "<|extent|>", "<|,|>")
PAD, BOS, EOS, HOLE, TEXT, EXTENT, COMMA = range(len(CONTROL))

GRID_SIDE: Final = 32
MAX_INTEGER: Final = (1 << 56) - 1
"""The largest integer that digits spell: 7 of them; more is not a size of anything."""
MAX_CODECS: Final = 128

DIGITS_AT: Final = 32
GRIDS_AT: Final = DIGITS_AT + 256
MARKS_AT: Final = GRIDS_AT + GRID_SIDE * GRID_SIDE
COUNT: Final = MARKS_AT + 2 * MAX_CODECS
"""Special tokens in all."""


def grid_token(height: int, width: int) -> int | None:
    """Return the special token of a grid; None for one that has no token of its own."""
    if 1 <= height <= GRID_SIDE and 1 <= width <= GRID_SIDE:
        return GRIDS_AT + (height - 1) * GRID_SIDE + (width - 1)
    return None


def grid_of(token: int) -> tuple[int, int] | None:
    """Return the grid of a special token; None if it is not one of a grid."""
    if GRIDS_AT <= token < MARKS_AT:
        height, width = divmod(token - GRIDS_AT, GRID_SIDE)
        return height + 1, width + 1
    return None


def write_integers(values: list[int]) -> list[int]:
    """Return special tokens that spell integers of 0 or more, separated by commas."""
    tokens: list[int] = []
    for i, value in enumerate(values):
        if i:
            tokens.append(COMMA)
        size = (value.bit_length() + 7) // 8 or 1
        tokens += [DIGITS_AT + digit for digit in value.to_bytes(size, "big")]
    return tokens


def free_name(name: str, taken: Container[str]) -> str:
    """Return a name such as `<|image|>`, or `<|omni:image|>` where that one is taken."""
    while name in taken:
        name = f"<|omni:{name[2:]}"
    return name


def mark_names(codecs: Iterable[tuple[str, str]]) -> list[str]:
    """Return what marks the parts of each codec, given as `(name, modality)`.

    The first codec of a modality is marked by that alone, further ones by their name; so are
    those of text, since `<|text|>` is another token.
    """
    marks = ["text"]
    for name, modality in codecs:
        marks.append(name if modality in marks else modality)
    return marks[1:]


def names(marks: list[str]) -> list[str]:
    """Return the names of all special tokens, in order, for these begin marks."""
    spare = [f"<|reserved:{i}|>" for i in range(len(CONTROL), DIGITS_AT)]
    digits = [f"<|#{i}|>" for i in range(256)]
    grids = [f"<|grid:{h + 1},{w + 1}|>" for h in range(GRID_SIDE) for w in range(GRID_SIDE)]
    pairs = [name for mark in marks for name in (f"<|{mark}|>", f"<|/{mark}|>")]
    rest = [f"<|reserved:{i}|>" for i in range(MARKS_AT + len(pairs), COUNT)]
    return [*CONTROL, *spare, *digits, *grids, *pairs, *rest]
