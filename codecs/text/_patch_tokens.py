"""Patches as token ids and back: the codes of the network, or the bytes spelled out.

    learned position   codebook 0: 0 ... 2^bits - 1      others: 0 ... 2^bits - 1
    spelled position   codebook 0: 2^bits + a byte       others: a byte, or 256 for none

A patch that the decoder would get wrong is spelled, K bytes a position. Behind a 256 all
further codebooks have 256 too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput

if TYPE_CHECKING:
    from omnicodec.models.text.coder import PatchCoder

NONE: Final = 256
"""In place of a byte, where a spelled position has fewer than K."""

_AT_ONCE: Final = 1 << 15  # patches, or positions, which bounds memory

Ids = NDArray[np.int32]


def codebook_sizes(codebooks: int, bits: int) -> tuple[int, ...]:
    """Return the sizes: the first codebook also has 256 ids that begin a spelled position."""
    others = max(1 << bits, NONE + 1)
    return ((1 << bits) + 256, *[others] * (codebooks - 1))


def check(ids: Ids, bits: int) -> None:
    """Raise `InvalidInput` for the first position that means nothing; ids are in range."""
    spelled = ids[0] >= 1 << bits
    rest = ids[1:]
    # A learned position has codes only; a spelled one bytes, then nothing.
    wrong = np.where(spelled, rest > NONE, rest >= 1 << bits)
    wrong[1:] |= spelled & (rest[:-1] == NONE) & (rest[1:] != NONE)
    first = np.flatnonzero(wrong.any(0))
    if first.size:
        at = int(first[0])
        book = int(np.argmax(wrong[:, at]))
        kind = "spells bytes" if spelled[at] else "holds codes"
        raise InvalidInput(
            f"token {int(rest[book, at])} at position {at} cannot stand in codebook {book + 1} "
            f"of a position that {kind}"
        )


class PatchTokens:
    """Encodes and decodes whole texts; may be shared between threads."""

    def __init__(self, coder: PatchCoder) -> None:
        self._coder = coder
        self._config = coder.config
        self.codebook_sizes = codebook_sizes(coder.config.codebooks, coder.config.bits)

    def encode(self, data: bytes, lengths: NDArray[np.int32]) -> Ids:
        """Return the ids of a text cut into patches, int32 `(K, N)`."""
        c = self._config
        padded = np.zeros(c.before + len(data) + c.longest, np.uint8)
        padded[c.before : c.before + len(data)] = np.frombuffer(data, np.uint8)
        starts = c.before + np.cumsum(lengths, dtype=np.int64) - lengths
        parts = [
            self._encode(padded, starts[at : at + _AT_ONCE], lengths[at : at + _AT_ONCE])
            for at in range(0, lengths.size, _AT_ONCE)
        ]
        return np.concatenate([np.empty((c.codebooks, 0), np.int32), *parts], axis=1)

    def decode(self, ids: Ids) -> bytes:
        """Return the text of ids that passed `check`."""
        c = self._config
        context = np.zeros(c.before, np.uint8)
        parts = []
        for at in range(0, ids.shape[1], _AT_ONCE):
            piece = ids[:, at : at + _AT_ONCE]
            spelled = piece[0] >= 1 << c.bits
            for run in np.split(np.arange(piece.shape[1]), 1 + np.flatnonzero(np.diff(spelled))):
                if spelled[run[0]]:
                    symbols = piece[:, run].T.copy()
                    symbols[:, 0] -= 1 << c.bits
                    found = symbols[symbols != NONE].astype(np.uint8)
                else:
                    found = self._coder.decode(self._bits(piece[:, run]), context)
                parts.append(found.tobytes())
                context = np.concatenate([context, found])[-c.before :]
        return b"".join(parts)

    def _encode(
        self, data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int32]
    ) -> Ids:
        c = self._config
        bits, found = self._coder.find(data, starts, lengths)
        places = 1 << np.arange(c.bits, dtype=np.int32)
        codes = (bits.reshape(-1, c.codebooks, c.bits) * places).sum(2, dtype=np.int32)
        # Each patch becomes one row, a spelled one a row for every K bytes.
        rows = np.where(found, 1, -(-lengths // c.codebooks))
        owner = np.repeat(np.arange(rows.size), rows)
        part = np.arange(owner.size) - np.repeat(np.cumsum(rows) - rows, rows)
        places = part[:, None] * c.codebooks + np.arange(c.codebooks)
        symbols = data[starts[owner, None] + np.minimum(places, c.longest)].astype(np.int32)
        symbols[places >= lengths[owner, None]] = NONE
        symbols[:, 0] += 1 << c.bits
        ids: Ids = np.where(found[owner, None], codes[owner], symbols).T.astype(np.int32)
        return ids

    def _bits(self, ids: Ids) -> NDArray[np.bool_]:
        c = self._config
        bits = (ids.T[:, :, None] >> np.arange(c.bits)) & 1
        return bits.reshape(ids.shape[1], c.code_bits).astype(np.bool_)
