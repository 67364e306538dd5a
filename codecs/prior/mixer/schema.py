"""What a mixer looks at: the contexts of a symbol, and what chooses the mixers' weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from omnicodec.codecs.prior.mixer import text
from omnicodec.codecs.prior.mixer.format import GROUP_BITS, MATCH_MAX

MATCH, SYMBOL, FOUND, FEATURE = range(4)
"""Kinds of selectors; see `Schema.selectors`."""

MATCH_ROWS: Final = 32
"""8 classes of position by 4 of match length."""

SYMBOL_ROWS: Final = 256 + 4 * 16
"""The nodes of the first 8 bits of a symbol, then 16 for each later group of 4 bits."""

MAX_SYMBOL_BITS: Final = 16

MAX_NEIGHBOURS: Final = 60

MAX_RATE: Final = 255
"""Of both layers; a larger one could overflow 32 bits."""

TEXT, GRID = "text", "grid"


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A symbol that is known already: `up` rows above, `left` columns to the left, `back` frames.

    `book` counts codebooks back from the present one, or names one where `absolute` is set;
    `shift` drops low bits. Outside of the grid or of the span its value is 0, else symbol + 1.
    """

    back: int = 0
    up: int = 0
    left: int = 0
    book: int = 0
    absolute: bool = False
    shift: int = 0

    @property
    def fits(self) -> bool:
        steps = (self.back, self.up, self.left, self.book)
        return max(map(abs, steps)) < 1 << 15 and 0 <= self.shift <= MAX_SYMBOL_BITS


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The structure of a mixer over symbols of 1 to 16 bits.

    * `bits`: bits of a symbol, for each codebook. A symbol is coded from its highest bit, in
      groups of at most 4; each group of each context has a bucket of 15 nodes in the tables.
    * `features`: "text" has those of `mixer.text`; "grid" has the codebook's index, the row
      and the column, then `neighbours`, then `sums`.
    * `contexts`: for each, the features that are hashed together; none is order 0.
    * `parents`: for each context the one that predicts in its place where it is unknown, or
      -1: training gives the static table's room to what says more than its parent.
    * `selectors`: (kind, feature, bits): one set of weights is chosen by each: MATCH by
      position and match length, SYMBOL by the bits of the symbol so far, FOUND by how many
      contexts are in the tables, FEATURE by the low bits of a feature.
    * `refinements`: for each adaptive probability map, the features that choose its context.
    * `sums`: for each, the features of neighbours that are added up: where each says a little
      about one quantity, such as a loudness, their sum says it with less noise.
    * `match`: symbols that must agree before the match model speaks.
    * `rate`, `final_rate`, `boost`: learning rates of the mixers.
    * `extra`: whether log-odds of another model come as one more input.
    """

    features: str
    bits: tuple[int, ...]
    contexts: tuple[tuple[int, ...], ...]
    parents: tuple[int, ...]
    selectors: tuple[tuple[int, int, int], ...]
    refinements: tuple[tuple[int, ...], ...]
    neighbours: tuple[Neighbour, ...] = ()
    sums: tuple[tuple[int, ...], ...] = ()
    match: int = 5
    rate: int = 5
    final_rate: int = 1
    boost: int = 8
    extra: bool = False

    def __post_init__(self) -> None:
        sizes = (len(self.contexts), len(self.selectors), len(self.refinements))
        if min(sizes) == 0 or max(sizes) > 32 or len(self.parents) != len(self.contexts):
            raise ValueError("a mixer has 1 to 32 contexts, selectors and refinements")
        if not self.bits or not all(1 <= b <= MAX_SYMBOL_BITS for b in self.bits):
            raise ValueError(f"symbols have 1 to {MAX_SYMBOL_BITS} bits, not {self.bits}")
        if self.features not in (TEXT, GRID) or (self.features == TEXT and self.bits != (8,)):
            raise ValueError("features are those of bytes of text, or of a grid of codes")
        used = [f for c in (*self.contexts, *self.refinements) for f in c]
        used += [f for kind, f, _ in self.selectors if kind == FEATURE]
        if used and not 0 <= min(used) <= max(used) < self.feature_count:
            raise ValueError(f"features are 0 to {self.feature_count - 1}")
        if any(not 0 <= kind <= FEATURE or not 0 <= b <= 16 for kind, _, b in self.selectors):
            raise ValueError("a selector is (kind, feature, bits), with at most 16 bits")
        if len(self.neighbours) > MAX_NEIGHBOURS or not all(n.fits for n in self.neighbours):
            raise ValueError(f"a grid has up to {MAX_NEIGHBOURS} neighbours, less than 2**15 away")
        if len(self.neighbours) + len(self.sums) > MAX_NEIGHBOURS or not all(
            3 <= f < 3 + len(self.neighbours) for terms in self.sums for f in terms
        ):
            raise ValueError("a sum is of features of neighbours")
        if not 1 <= self.match <= MATCH_MAX:
            raise ValueError(f"a match has 1 to {MATCH_MAX} symbols")
        rates = (self.rate, self.final_rate, self.boost)
        if min(rates) < 0 or max(self.rate + self.boost, self.final_rate) > MAX_RATE:
            raise ValueError(f"learning rates are 0 to {MAX_RATE}")
        if any(not -1 <= p < len(self.contexts) for p in self.parents):
            raise ValueError("a context's parent is another context, or -1")

    @property
    def feature_count(self) -> int:
        return text.COUNT if self.features == TEXT else 3 + len(self.neighbours) + len(self.sums)

    @property
    def inputs(self) -> int:
        """Inputs of the mixers: three for each context, the match, a bias, perhaps one more."""
        return 3 * len(self.contexts) + 2 + int(self.extra)

    @property
    def row(self) -> int:
        """Weights of a set: the inputs and zeros, for the sake of vector instructions."""
        return -(-self.inputs // 16) * 16

    def selector_rows(self) -> list[int]:
        """Return how many sets of weights each selector chooses from."""
        found = (len(self.contexts) + 1) ** 2
        books = len(self.bits)
        size = {MATCH: MATCH_ROWS, SYMBOL: books * SYMBOL_ROWS, FOUND: found}
        return [size.get(kind, 1 << bits) for kind, _, bits in self.selectors]

    def groups(self, book: int) -> list[int]:
        """Return the bits of each group of a codebook's symbols."""
        first = (self.bits[book] - 1) % GROUP_BITS + 1
        return [first] + [GROUP_BITS] * ((self.bits[book] - first) // GROUP_BITS)

    def to_json(self) -> dict[str, Any]:
        """Return the fields; without `sums` where there are none, as before there were any."""
        fields = asdict(self)
        return fields if self.sums else {k: v for k, v in fields.items() if k != "sums"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        fields = {"sums": (), **data}
        for name in ("bits", "parents"):
            fields[name] = tuple(fields[name])
        for name in ("contexts", "selectors", "refinements", "sums"):
            fields[name] = tuple(tuple(row) for row in fields[name])
        fields["neighbours"] = tuple(Neighbour(**n) for n in fields["neighbours"])
        return cls(**fields)


def text_schema(*, extra: bool = False) -> Schema:
    """Return the schema of bytes of text, in any language, and of code.

    Contexts: orders 0 to 6, the word with the byte before it, the word with the word before.
    """
    return Schema(
        features=TEXT,
        bits=(8,),
        contexts=(
            (),
            (text.LAST1,),
            (text.LAST2,),
            (text.LAST3,),
            (text.LAST4,),
            (text.LAST4, text.FIFTH),
            (text.LAST4, text.FIFTH_SIXTH),
            (text.WORD, text.LAST1),
            (text.WORD, text.PREVIOUS_WORD),
        ),
        parents=(-1, 0, 1, 2, 3, 4, 5, 2, 7),
        selectors=(
            (MATCH, 0, 0),
            (SYMBOL, 0, 0),
            (FOUND, 0, 0),
            (FEATURE, text.CLASSES2, 8),
            (FEATURE, text.CLASSES3, 12),
        ),
        refinements=((text.CLASS1,), (text.LAST2,)),
        extra=extra,
    )
