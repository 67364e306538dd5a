"""The mixer once more, in plain Python: the judge of the compiled one in tests.

Written from the definition, for reading: integers of any size, lists and bytes, one bit after
another. It is some thousand times slower than `kernel`, and gives the same bytes, the same
surprisals and the same state at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, reduce
from itertools import islice, takewhile
from typing import Final

from omnicodec.codecs.prior.base import Span
from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer import tables
from omnicodec.codecs.prior.mixer.schema import (
    FOUND,
    GRID,
    MATCH,
    SYMBOL,
    SYMBOL_ROWS,
    TEXT,
    Neighbour,
    Schema,
)
from omnicodec.codecs.prior.mixer.state import Tensors
from omnicodec.codecs.prior.mixer.text import CLASSES

Choose = Callable[[int], int]
"""Takes the probability of 1 of the next bit, and says which bit it is."""

_NEXT, _TOTAL, _CLASS, _ = (part.tolist() for part in tables.states())
_SQUASH, _STRETCH = tables.squash().tolist(), tables.stretch().tolist()
INFORMATION: Final[list[int]] = tables.information().tolist()
_CLASS_OF: Final[list[int]] = CLASSES.tolist()
_WORDS: Final = re.compile(rb"[A-Za-z\x80-\xff]+")


def hash2(a: int, b: int) -> int:
    """Return a hash of 32 bits."""
    h = (a * 0x9E3779B1 + b * 0x85EBCA6B) % 2**32
    h = (h ^ h >> 15) * 0x2C1B3C6D % 2**32
    return h ^ h >> 13


def hashed(values: Iterable[int], seed: int) -> int:
    """Return a hash of all values."""
    return reduce(lambda h, value: hash2(value, h), values, seed)


def probability(log_odds: int) -> int:
    """Return 1 / (1 + exp(-log_odds / 256)) in 1/65536."""
    result: int = _SQUASH[log_odds + fmt.SQUASH_MAX + 1]
    return result


def clip(value: int, limit: int) -> int:
    """Return the value, or the nearest one within the limit."""
    return max(-limit, min(limit, value))


def int32(value: int) -> int:
    """Return what 32 bits keep of a sum."""
    return (value + 2**31) % 2**32 - 2**31


def text_features(data: bytes) -> list[int]:
    """Return the features of the byte behind `data`, in the order of `mixer.text`."""
    last = [int.from_bytes(data[-n:], "big") for n in (1, 2, 3, 4)]
    older = data[-8:-4]
    words = _WORDS.findall(data)
    inside = _WORDS.fullmatch(data[-1:]) is not None
    word = words.pop() if inside else b""
    before = [_word_hash(w) for w in reversed(words[-2:])] + [0, 0]
    classes = [_CLASS_OF[c] for c in data[-8:]]
    of_classes = [
        reduce(lambda n, cls: n * 16 + cls, classes[-count:], 0) for count in (1, 2, 3, 8)
    ]
    return [
        *last,
        int.from_bytes(older[-1:], "big"),
        int.from_bytes(older[-2:], "big"),
        int.from_bytes(older, "big"),
        _word_hash(word),
        before[0],
        before[1],
        len(word),
        *of_classes,
    ]


@cache
def _word_hash(word: bytes) -> int:
    return reduce(lambda h, c: (h + (c | 32) + 1) * 0x2F0B4C47 % 2**32, word, 0)


class Buckets:
    """A hashed table: buckets of a check byte and 15 nodes, in sets of four."""

    def __init__(self, content: bytearray) -> None:
        self.content = content
        self.sets = len(content) // fmt.BUCKET // fmt.WAYS

    def places(self, h: int) -> list[int]:
        first = h // fmt.WAYS % self.sets * fmt.WAYS
        return [(first + way) * fmt.BUCKET for way in range(fmt.WAYS)]

    def find(self, h: int) -> int | None:
        """Return the place of the bucket of a hash, None where there is none."""
        if not self.sets:
            return None
        check = max(1, h >> fmt.CHECK_SHIFT)
        return next((p for p in self.places(h) if self.content[p] == check), None)

    def find_or_make(self, h: int) -> int:
        """Return it, made in place of the bucket of its set that has seen the least."""
        if (place := self.find(h)) is not None:
            return place

        def seen(p: int) -> int:
            return 1 + _TOTAL[self.content[p + 1]] if self.content[p] else 0

        place = min(self.places(h), key=seen)
        self.content[place : place + fmt.BUCKET] = bytes([max(1, h >> fmt.CHECK_SHIFT)] + [0] * 15)
        return place


class Item:
    """One item that is coded: what came so far, and all that it taught.

    `expected` is the number of symbols that size its tables, None where it is not known;
    `books` is how many codebooks, from the first one on, are coded, None for all.
    """

    def __init__(
        self,
        schema: Schema,
        tensors: Tensors,
        span: Span,
        expected: int | None = None,
        books: int | None = None,
    ) -> None:
        self.schema = schema
        self.books = len(schema.bits) if books is None else books
        frames_height_width = (1, 1, 1, *span.grid)[-3:]
        self.height, self.width = (max(1, n) for n in frames_height_width[1:])
        self.start = span.start
        self.static = Buckets(bytearray(tensors["static"].T.tobytes()))
        self.state_map = tensors["state_map"].tolist()
        self.static_map = tensors["static_map"].tolist()
        self.joint = tensors["joint"].tolist()
        buckets, history = fmt.OPEN_BUCKETS, fmt.OPEN_HISTORY
        if expected is not None:
            wanted = expected * fmt.BUCKETS_PER_SYMBOL
            buckets = _power(wanted, fmt.MIN_BUCKETS, fmt.MAX_BUCKETS)
            history = _power(expected, fmt.MIN_HISTORY, fmt.MAX_HISTORY)
        # What learns:
        self.table = Buckets(bytearray(buckets * fmt.BUCKET))
        self.weights: list[list[int]] = tensors["weights"].tolist()
        self.final: list[list[int]] = tensors["final"].tolist()
        self.refined: list[list[int]] = tensors["refined"].tolist()
        self.match_map: list[int] = tensors["match_map"].tolist()
        self.data: list[int] = []
        self.known: dict[tuple[int, int, int, int], int] = {}
        self.features: list[int] = [0] * schema.feature_count
        self.history = [-1] * history
        self.match: int | None = None  # where the symbol stands that the match expects
        self.match_length = 0

    def code(
        self,
        choose: Choose,
        extra: Sequence[int] | None = None,
        entropy: list[int] | None = None,
    ) -> int:
        """Predict and learn the next symbol, whose bits `choose` gives; return it.

        `entropy` is given that of a byte's high four bits.
        """
        self._begin_symbol()
        bits = self.schema.bits[self.book]
        so_far = 1  # the bits that are known, behind a 1
        for group in self.schema.groups(self.book):
            self._begin_group(so_far)
            if so_far == 1 and entropy is not None:
                entropy.append(self._first_group_entropy())
            node = 1
            for _ in range(group):
                p = self._predict(so_far, node, bits, extra)
                bit = choose(p)
                self._learn(bit)
                so_far, node = so_far * 2 + bit, node * 2 + bit
        symbol = so_far - (1 << bits)
        self._end_symbol(symbol)
        return symbol

    def _begin_symbol(self) -> None:
        i, schema = len(self.data), self.schema
        self.book = i % self.books
        if schema.features == GRID:
            self.features = self._grid_features()
        self.hashes = [
            hashed((self.features[f] for f in context), j + 1 + fmt.BOOK_SEEDS * self.book)
            for j, context in enumerate(schema.contexts)
        ]
        self.refining = [
            hashed((self.features[f] for f in context), q + fmt.BOOK_SEEDS * self.book)
            for q, context in enumerate(schema.refinements)
        ]
        self.age = next(age for age in range(8) if age == 7 or i < 32 * 4**age)
        left = max(0, fmt.BOOST_SYMBOLS - i)
        self.rate = schema.rate + schema.boost * left // fmt.BOOST_SYMBOLS

    def _grid_features(self) -> list[int]:
        frame, row, column, book = self._place(len(self.data))

        def value(n: Neighbour) -> int:
            other = n.book if n.absolute else book - n.book
            there = (frame - n.back, row - n.up, column - n.left, other)
            return (self.known[there] >> n.shift) + 1 if there in self.known else 0

        features = [book, row, column, *map(value, self.schema.neighbours)]
        return features + [sum(features[f] for f in terms) for terms in self.schema.sums]

    def _place(self, i: int) -> tuple[int, int, int, int]:
        position, book = divmod(i, self.books)
        line, column = divmod(self.start + position, self.width)
        frame, row = divmod(line, self.height)
        return frame, row, column, book

    def _begin_group(self, so_far: int) -> None:
        self.in_item, self.in_static, seen = [], [], 0
        for h in (hash2(h, so_far) for h in self.hashes):
            place = self.table.find_or_make(h)  # this may take the place of another context's
            seen += self.table.content[place + 1] != 0
            self.in_item.append(place)
            self.in_static.append(self.static.find(h))
        there = sum(place is not None for place in self.in_static)
        self.found = there * (len(self.hashes) + 1) + seen

    def _predict(self, so_far: int, node: int, bits: int, extra: Sequence[int] | None) -> int:
        """Return the probability of 1 of the next bit, and keep what `_learn` needs."""
        known = so_far.bit_length() - 1
        if so_far < 256:
            self.symbol_node = so_far
        else:
            self.symbol_node = 256 + ((bits - known - 1) // 4 & 3) * 16 + node
        self.node = node
        self.cell: tuple[int, int] | None = None  # of the match map: length, expected bit
        if self.match is not None:
            expected = self.data[self.match] | 1 << bits
            if expected >> (bits - known) == so_far:
                bit = expected >> (bits - known - 1) & 1
                self.cell = min(self.match_length, fmt.MATCH_MAX - 1), bit
        log_odds = self._mix(
            self.symbol_node, node, self.cell, extra[so_far - 1] if extra is not None else 0
        )
        self.mixed = probability(log_odds)
        return self._refine(so_far, log_odds)

    def _mix(self, symbol_node: int, node: int, cell: tuple[int, int] | None, extra: int) -> int:
        """Return the log-odds of a node, from both layers."""
        states = [self.table.content[place + node] for place in self.in_item]
        codes = [self.static.content[p + node] if p is not None else 0 for p in self.in_static]
        both = zip(states, codes, strict=True)
        self.inputs = [table[state] for table, state in zip(self.state_map, states, strict=True)]
        self.inputs += [table[code] for table, code in zip(self.static_map, codes, strict=True)]
        self.inputs += [
            table[_CLASS[state] * 256 + code]
            for table, (state, code) in zip(self.joint, both, strict=True)
        ]
        self.inputs.append(_STRETCH[self.match_map[2 * cell[0] + cell[1]] >> 4] if cell else 0)
        self.inputs.append(256)
        if self.schema.extra:
            self.inputs.append(clip(extra, fmt.LOGIT_MAX))
        self.rows = self._choose_rows(symbol_node, self.match_length if cell else None)
        sums = [
            int32(sum(int32(x * w) >> 4 for x, w in zip(self.inputs, row, strict=False)))
            for row in self.rows
        ]
        self.outputs = [clip(total >> 12, fmt.LOGIT_MAX) for total in sums]
        self.final_row = self.final[self.book * SYMBOL_ROWS + symbol_node]
        total = sum(y * w for y, w in zip(self.outputs, self.final_row, strict=True))
        return clip(total >> 16, fmt.SQUASH_MAX)

    def _first_group_entropy(self) -> int:
        """Return the entropy of a byte's high four bits in 1/4096 bit, without a match."""
        ones = {node: probability(self._mix(node, node, None, 0)) for node in range(1, 16)}
        total = 0
        for value in range(16, 32):  # four bits behind a 1
            q = fmt.ONE
            for shift in (3, 2, 1, 0):
                p = ones[value >> (shift + 1)]
                q = q * (p if value >> shift & 1 else fmt.ONE - p) >> 16
            total += q * INFORMATION[q]
        return total >> 16

    def _choose_rows(self, symbol_node: int, match_length: int | None) -> list[list[int]]:
        """Return the set of weights that each selector chooses."""
        matching = 0
        if match_length is not None:
            matching = 1 + (match_length >= 8) + (match_length >= 16)
        rows, first = [], 0
        for selector, count in zip(self.schema.selectors, self.schema.selector_rows(), strict=True):
            kind, feature, bits = selector
            if kind == MATCH:
                row = self.age * 4 + matching
            elif kind == SYMBOL:
                row = self.book * SYMBOL_ROWS + symbol_node
            elif kind == FOUND:
                row = self.found
            else:
                row = self.features[feature] % (1 << bits)
            rows.append(self.weights[first + row])
            first += count
        return rows

    def _refine(self, so_far: int, log_odds: int) -> int:
        """Return the mean of the mixed probability and those of the maps, within bounds."""
        step = fmt.REFINEMENT_STEP
        cell, beyond = divmod(clip(log_odds, fmt.LOGIT_MAX) + fmt.LOGIT_MAX + 1, step)
        self.cells = []
        total = self.mixed * len(self.refining)
        for q, h in enumerate(self.refining):
            context = hash2(h, so_far) % fmt.REFINEMENT_CONTEXTS
            steps = self.refined[q * fmt.REFINEMENT_CONTEXTS + context]
            total += (steps[cell] * (step - beyond) + steps[cell + 1] * beyond) // step
            self.cells.append((steps, cell if beyond < step // 2 else cell + 1))
        p = total // (2 * len(self.refining))
        return max(fmt.P_MIN, min(fmt.ONE - fmt.P_MIN, p))

    def _learn(self, bit: int) -> None:
        target = bit * fmt.ONE
        error = (target - self.mixed) * self.schema.final_rate
        for q, (y, row) in enumerate(zip(self.outputs, self.rows, strict=True)):
            self.final_row[q] += y * error + (1 << 17) >> 18
            step = (target - probability(y)) * self.rate >> fmt.ERROR_SHIFT
            for k, x in enumerate(self.inputs):
                change = x * step + (1 << (fmt.UPDATE_SHIFT - 1)) >> fmt.UPDATE_SHIFT
                row[k] = clip(row[k] + change, fmt.WEIGHT_MAX)
        for steps, at in self.cells:
            steps[at] += bit * (fmt.ONE - 1) - steps[at] >> fmt.REFINE_RATE
        if self.cell is not None:
            at = 2 * self.cell[0] + self.cell[1]
            self.match_map[at] += bit * (fmt.ONE - 1) - self.match_map[at] >> fmt.MATCH_RATE
        for place in self.in_item:
            state = self.table.content[place + self.node]
            self.table.content[place + self.node] = _NEXT[state][bit]

    def _end_symbol(self, symbol: int) -> None:
        """Take in a symbol that is known now, and follow or look for a match."""
        i, reach = len(self.data), self.schema.match
        self.known[self._place(i)] = symbol
        self.data.append(symbol)
        if self.match is not None and self.data[self.match] == symbol:
            self.match += 1
            self.match_length += 1
        else:
            self.match, self.match_length = None, 0
        if i + 1 >= reach:
            h = hashed(reversed(self.data[i + 1 - reach :]), fmt.MATCH_SEED) % len(self.history)
            there = self.history[h]
            if self.match is None and there >= 0:
                length = self._common(there)
                if length >= reach:
                    self.match, self.match_length = there, length
            self.history[h] = i + 1
        if self.schema.features == TEXT:
            self.features = text_features(bytes(self.data))

    def _common(self, there: int) -> int:
        """Return how many symbols before `there` are the last ones, at most MATCH_MAX."""
        pairs = zip(reversed(self.data[:there]), reversed(self.data), strict=False)
        equal = takewhile(lambda pair: pair[0] == pair[1], islice(pairs, fmt.MATCH_MAX))
        return sum(1 for _ in equal)


def _power(wanted: int, least: int, most: int) -> int:
    size = least
    while size < min(wanted, most):
        size *= 2
    return size
