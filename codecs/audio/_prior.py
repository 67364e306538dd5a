"""The prior of `audio/rvq`: the integer mixer over the codes around each code.

Training renumbers the entries of each codebook, so that entries which stand in alike places
share leading bits. Contexts are made of the leading bits of codes that are known already: those
of the codebooks before, and those of the last frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream
from omnicodec.codecs.prior import Prior, Span
from omnicodec.codecs.prior.mixer import MixerPrior, Neighbour, Schema
from omnicodec.codecs.prior.mixer.schema import FEATURE, FOUND, GRID, MATCH, SYMBOL
from omnicodec.models import weights

FORMAT: Final = "omnicodec.prior.audio.v2"

SCALE_BITS: Final = 3
"""Leading bits that are a scale of what tells entries apart most, so that they may be summed."""

_SAME: Final = 0x80  # in a chunk's first byte: all channels have the same codes


class NestedPrior(Prior):
    """The mixer over the codebooks that a chunk uses, the number of which comes first.

    A codebook that is not used is a row of zeros behind those that are; it takes no bits. Nor
    do more channels of the same sound: where all channels of a chunk are equal, one is coded.

    `tensors` are those of the mixer and `order`, integers `(K, entries)`: the entries of each
    codebook in their new order. Raises `ValueError` for tensors that do not belong together.
    """

    parallel: ClassVar[bool] = True

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        rest = dict(tensors)
        self._order = np.asarray(rest.pop("order"), np.int32)
        books, entries = self._order.shape
        if (np.sort(self._order, 1) != np.arange(entries)).any():
            raise ValueError("an order of entries has each of them once")
        self._places = np.argsort(self._order, 1).astype(np.int32)
        schema = audio_schema(books, max(1, (entries - 1).bit_length()))
        self._mixer = MixerPrior(schema, rest, (entries,) * books)
        config = {"format": FORMAT, "mixer": self._mixer.fingerprint}
        self.fingerprint = weights.fingerprint(config, {"order": self._order})

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        filled = np.flatnonzero(ids.any(1))
        used = int(filled[-1]) + 1 if filled.size else 0
        codes = np.take_along_axis(self._places[:used], ids[:used], 1)
        frame, first, frames = _frames(span)
        if same := np.array_equal(codes[:, first][:, frame], codes):
            codes, span = codes[:, first], frames
        head = bytes([used | _SAME * same])
        return head + (self._mixer.encode(codes, span) if used else b"")

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        ids = np.zeros((len(self._order), len(span)), np.int32)
        used, same = (data[0] & ~_SAME, data[0] & _SAME) if data else (_SAME, 0)
        if used > len(ids):
            raise CorruptStream("a chunk does not say how many codebooks it uses")
        if used == 0:
            if len(data) > 1:
                raise CorruptStream("entropy-coded data has more than its chunk says")
            return ids
        frame, _, frames = _frames(span)
        codes = self._mixer.decode_first(data[1:], frames if same else span, used)
        entries = np.take_along_axis(self._order[:used], codes, 1)
        ids[:used] = entries[:, frame] if same else entries
        return ids

    def warm(self) -> None:
        self._mixer.warm()


def _frames(span: Span) -> tuple[NDArray[np.int64], NDArray[np.int64], Span]:
    """Return each position's frame in the span, each frame's first position, and their span.

    A chunk may begin and end within a frame.
    """
    channels = max(1, span.grid[-1])
    frame = np.arange(span.start, span.stop) // channels
    first = np.flatnonzero(np.diff(frame, prepend=-1))
    start = span.start // channels
    frames = Span((max(1, span.grid[0]), 1), start, start + first.size)
    return frame - start, first, frames


def audio_schema(books: int, bits: int) -> Schema:
    """Return what the mixer looks at for codes of so many bits, on a grid `(frames, channels)`."""
    found: list[Neighbour] = []

    def near(leading: int, **where: Any) -> int:
        """Return the feature of a neighbour's leading bits."""
        neighbour = Neighbour(shift=max(0, bits - leading), **where)
        if neighbour not in found:
            found.append(neighbour)
        return 3 + found.index(neighbour)

    def before(back: int, leading: int) -> int:  # so many codebooks before, in this frame
        return near(leading, book=back)

    def last(leading: int, on: int = 0, frames: int = 1) -> int:  # codebooks on, frames ago
        return near(leading, up=frames, book=-on)

    def first(leading: int, book: int = 0, frames: int = 0) -> int:  # a codebook by number
        return near(leading, up=frames, book=book, absolute=True)

    added = {
        "now": tuple(before(back, SCALE_BITS) for back in (1, 2, 3, 4)),
        "wide": tuple(before(back, SCALE_BITS) for back in range(1, 9)),
        "last": tuple(last(SCALE_BITS, on) for on in range(4)),
        "two": (last(SCALE_BITS), last(SCALE_BITS, frames=2)),
    }
    contexts: tuple[tuple[tuple[int | str, ...], int], ...] = (  # each with its parent
        ((), -1),
        ((before(1, bits),), 0),
        ((before(1, 6), before(2, 5)), 1),
        ((first(bits),), 0),
        ((first(6), before(1, 6)), 3),
        ((last(bits),), 0),
        ((last(6), before(1, 5)), 5),
        ((last(6), last(5, frames=2)), 5),
        ((first(bits, frames=1),), 0),
        ((first(6), first(6, frames=1)), 3),
        ((first(5), first(4, 1), first(4, 2), before(1, 4)), 4),
        (("now",), 0),
        (("now", "last"), 11),
        (("now", before(1, 4)), 11),
        ((before(1, 3), before(2, 3), before(3, 2), last(2), last(2, 1)), 11),
        ((first(4), first(3, 1), first(3, frames=1), first(2, 1, frames=1)), 0),
        (("last", "two"), 0),
        ((before(2, bits),), 0),
        (("wide", first(4)), 11),
        ((first(bits, 1),), 0),
    )
    selected = ((before(1, 5), 6), (last(5), 6), (first(6), 7))
    refined = ((before(1, 4),), (first(7),))
    sums = {name: 3 + len(found) + place for place, name in enumerate(added)}

    def features(context: tuple[int | str, ...]) -> tuple[int, ...]:
        return tuple(sums[f] if isinstance(f, str) else f for f in context)

    return Schema(
        features=GRID,
        bits=(bits,) * books,
        neighbours=tuple(found),
        sums=tuple(added.values()),
        contexts=tuple(features(context) for context, _ in contexts),
        parents=tuple(parent for _, parent in contexts),
        selectors=(
            (MATCH, 0, 0),
            (SYMBOL, 0, 0),
            (FOUND, 0, 0),
            *((FEATURE, feature, wide) for feature, wide in selected),
            (FEATURE, sums["now"], 6),
        ),
        refinements=(*refined, (sums["now"], sums["last"])),
        match=12,
        rate=2,
    )
