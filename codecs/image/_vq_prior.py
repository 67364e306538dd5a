"""The prior of `image/vq` and `image/vq8`: the integer mixer over the digits of their tokens.

A token is what finite scalar quantization made of a patch, one digit a channel, and digits are
quantities: those of the patches around it say much about each, and their sums say more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream
from omnicodec.codecs.image._reduced import ReducedCodebook, join_digits, split_digits
from omnicodec.codecs.prior import Prior, Span, StaticPrior
from omnicodec.codecs.prior.mixer import MixerPrior, Neighbour, Schema
from omnicodec.codecs.prior.mixer.schema import FEATURE, FOUND, GRID, MATCH, SYMBOL
from omnicodec.models import weights

FORMAT: Final = "omnicodec.prior.image.v1"

WHOLE: Final = 100
"""The quality of the whole codebook; reduced ones have lower qualities."""


class DigitPrior(Prior):
    """A mixer over the digits for the whole codebook, and one for each reduced codebook.

    A chunk begins with the quality of the smallest codebook that has all of its tokens.

    `tensors` are those of the mixers, as `<quality>/<name>`, where those of a reduced codebook
    lack what they share with the whole one's; the entries of the reduced
    codebooks, `<quality>/entries`, and their `metric`. Raises `ValueError` for tensors that do
    not belong together.
    """

    parallel: ClassVar[bool] = True

    def __init__(self, levels: Sequence[int], tensors: Mapping[str, NDArray[Any]]) -> None:
        self._levels = tuple(levels)
        parts: dict[int, dict[str, NDArray[Any]]] = {}
        codebooks = {}
        for key, tensor in tensors.items():
            quality, _, name = key.partition("/")
            if name == "entries":
                codebooks[int(quality)] = tensor
            elif name:
                parts.setdefault(int(quality), {})[name] = tensor
        self.codebooks: Mapping[int, ReducedCodebook] = {
            quality: ReducedCodebook(codebooks[quality], levels, tensors["metric"])
            for quality in sorted(codebooks, key=lambda quality: len(codebooks[quality]))
        }
        qualities = [*self.codebooks, WHOLE]
        whole = all("static" in part for part in parts.values())
        if not whole or qualities != sorted(parts) or not 0 < qualities[0] <= WHOLE:
            raise ValueError("every codebook has a mixer, and a quality by its size")
        schema = digit_schema(levels)
        self._mixers = {
            q: MixerPrior(schema, {**parts[WHOLE], **part}, levels) for q, part in parts.items()
        }
        config = {
            "format": FORMAT,
            "levels": list(levels),
            "mixers": {str(q): mixer.fingerprint for q, mixer in self._mixers.items()},
        }
        rest = {key: tensor for key, tensor in tensors.items() if key.endswith("/entries")}
        self.fingerprint = weights.fingerprint(config, rest)

    def quality_of(self, ids: NDArray[np.int32]) -> int:
        """Return the quality of the smallest codebook that has all ids."""
        fits = (q for q, codebook in self.codebooks.items() if codebook.contains(ids))
        return next(fits, WHOLE)

    def size_of(self, quality: int) -> int:
        """Return how many entries the codebook of a quality has."""
        return math.prod(self._levels) if quality == WHOLE else len(self.codebooks[quality])

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        quality = self.quality_of(ids)
        digits = split_digits(ids[0], self._levels)
        return bytes([quality]) + self._mixers[quality].encode(digits, span)

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        quality = data[0] if data else 0
        if quality not in self._mixers:
            raise CorruptStream("a chunk does not say which codebook it uses")
        digits = self._mixers[quality].decode(data[1:], span)
        ids = join_digits(digits, self._levels)[None]
        if quality != WHOLE and not self.codebooks[quality].contains(ids):
            raise CorruptStream("a chunk has a token that is not in its codebook")
        return ids

    def warm(self) -> None:
        self._mixers[WHOLE].warm()


def read_prior(levels: Sequence[int], tensors: Mapping[str, NDArray[Any]]) -> Prior:
    """Return the prior that weights come with: mixers, or histograms of the digits.

    Raises `ValueError` or `InvalidInput` for tensors of neither.
    """
    if f"{WHOLE}/static" in tensors:
        return DigitPrior(levels, tensors)
    static = StaticPrior.from_tables(tensors)
    if static.codebook_sizes != (math.prod(levels),):
        raise ValueError("a prior's histograms are not those of the digits")
    return static


def digit_schema(levels: Sequence[int]) -> Schema:
    """Return what the mixer looks at for digits of so many levels, on a grid of patches.

    A digit is a quantity of its patch, so those of the patches around it are added up, the
    nearer ones two or three times.
    """
    found: list[Neighbour] = []

    def near(**where: Any) -> int:
        """Return the feature of a digit that is known already."""
        found.append(Neighbour(**where))
        return 2 + len(found)

    left, above = near(left=1), near(up=1)
    above_left, above_right = near(up=1, left=1), near(up=1, left=-1)
    left2, above2 = near(left=2), near(up=2)
    own = [near(book=back) for back in range(1, 6)]  # digits before, of the same token
    before = near(left=1, book=1), near(up=1, book=1)  # the digit before this, of neighbours
    behind = near(left=1, book=-1), near(up=1, book=-1)  # and the one after it
    added = (
        (left, above),
        (left, left, above, above, above_left, above_right),
        (*(left, above) * 3, above_left, above_right, left2, above2),
        (left, left2),
        (above, above2),
    )
    first_sum = 3 + len(found)
    cross, around, wide, row, column = range(first_sum, first_sum + len(added))
    contexts: tuple[tuple[tuple[int, ...], int], ...] = (  # each with its parent
        ((), -1),
        ((left,), 0),
        ((above,), 0),
        ((cross,), 0),
        ((around,), 3),
        ((wide,), 4),
        ((left, above), 3),
        ((wide, own[0]), 5),
        ((wide, own[1]), 5),
        ((wide, own[2]), 5),
        ((wide, own[3]), 5),
        ((wide, own[0], own[1]), 7),
        ((left, above, above_right), 6),
        ((left, above, above_left), 6),
        ((cross, *before), 3),
        ((cross, *behind), 3),
        ((around, own[0], own[1], own[2]), 7),
        ((around, row, column), 4),
        ((*before, own[0]), 0),
        (behind, 0),
        (tuple(own), 0),
    )
    return Schema(
        features=GRID,
        bits=tuple(max(1, (level - 1).bit_length()) for level in levels),
        neighbours=tuple(found),
        sums=added,
        contexts=tuple(context for context, _ in contexts),
        parents=tuple(parent for _, parent in contexts),
        selectors=(
            (MATCH, 0, 0),
            (SYMBOL, 0, 0),
            (FOUND, 0, 0),
            (FEATURE, 0, 3),  # which digit
            (FEATURE, wide, 7),
        ),
        refinements=((wide, 0), (around, own[0])),
        match=24,
        rate=2,
    )
