"""The mixer itself: predict a bit, code it, learn from it. All integers, compiled by numba.

The line of Mahoney's lpaq with a second, read-only table: every context gives three inputs,
the log-odds that training saw in it, those of its bit history in the item, and those that
both together mean; the inputs are mixed by several sets of weights, their results by one more,
and the outcome is refined by adaptive probability maps (M. Mahoney, "Adaptive Weighing of
Context Models for Lossless Data Compression", 2005; "Data Compression Explained", 2013).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer import grid, text
from omnicodec.codecs.prior.mixer.coder import (
    decode_bit,
    decode_window_bit,
    encode_bit,
    encode_window_bit,
)
from omnicodec.codecs.prior.mixer.hashing import hash2
from omnicodec.codecs.prior.mixer.lookup import bucket, context_hashes, static_bucket
from omnicodec.codecs.prior.mixer.schema import FOUND, MATCH, SYMBOL, SYMBOL_ROWS
from omnicodec.codecs.prior.mixer.state import (
    AT,
    IN_TOKEN,
    MATCH_AT,
    MATCH_LENGTH,
    TOUCHED,
    Model,
    State,
)
from omnicodec.models.kernels import Integer, kernel

MEASURE, ENCODE, DECODE, ENCODE_WINDOWS, DECODE_WINDOWS = range(5)
"""What to do with each predicted bit."""

FULL: Final = -1
"""How a run ended, where it is no count."""

_HALF: Final = fmt.SQUASH_MAX + 1
_ERROR_ROUND: Final = 1 << (fmt.UPDATE_SHIFT - 1)


@kernel
def _predict(
    m: Model,
    s: State,
    places: NDArray[np.int64],
    x: NDArray[np.int32],
    rows: NDArray[np.int64],
    dots: NDArray[np.int64],
    node: Integer,
    final_row: Integer,
    matched: Integer,
    extra: Integer,
) -> Integer:
    """Fill the inputs `x` and the first layer's `dots`; return the second layer's log-odds.

    `places` has for each context its bucket in the item's table and in the static one.
    """
    contexts = len(places) // 2
    for j in range(contexts):
        state = np.int64(s.table[places[j] + node])
        there = places[contexts + j]
        code = np.int64(m.static[there + node]) if there >= 0 else np.int64(0)
        x[j] = m.state_map[j, state]
        x[contexts + j] = m.static_map[j, code]
        x[2 * contexts + j] = m.joint[j, (np.int64(m.state_class[state]) << 8) + code]
    x[3 * contexts] = 0
    if matched >= 0:
        x[3 * contexts] = m.stretch[s.match_map[matched] >> 4]
    x[3 * contexts + 1] = 256
    if m.scalars[6] != 0:
        x[3 * contexts + 2] = min(max(extra, -fmt.LOGIT_MAX), fmt.LOGIT_MAX)
    mixed: Integer = np.int64(0)
    for q in range(len(rows)):
        row = s.weights[rows[q] : rows[q] + len(x)]
        dot = np.int32(0)
        for k in range(len(x)):
            product = np.int32(x[k] * row[k])
            dot = np.int32(dot + (product >> np.int32(4)))
        logit: Integer = np.int64(dot) >> 12
        dots[q] = min(max(logit, -fmt.LOGIT_MAX), fmt.LOGIT_MAX)
        mixed += dots[q] * np.int64(s.final[final_row + q])
    return min(max(mixed >> 16, -fmt.SQUASH_MAX), fmt.SQUASH_MAX)


@kernel
def _learn(
    m: Model,
    s: State,
    x: NDArray[np.int32],
    rows: NDArray[np.int64],
    dots: NDArray[np.int64],
    final_row: Integer,
    p: Integer,
    bit: Integer,
    rate: Integer,
) -> None:
    """Move the weights of both layers along the gradient of the bit's information."""
    target = bit * fmt.ONE
    error = (target - p) * m.scalars[2]
    for q in range(len(rows)):
        s.final[final_row + q] += np.int32((dots[q] * error + (1 << 17)) >> 18)
        miss = np.int64(target - m.squash[dots[q] + _HALF]) * rate
        step = np.int32(miss >> fmt.ERROR_SHIFT)
        row = s.weights[rows[q] : rows[q] + len(x)]
        for k in range(len(x)):
            change = np.int32(np.int32(x[k] * step) + np.int32(_ERROR_ROUND))
            w = np.int32(row[k] + (change >> np.int32(fmt.UPDATE_SHIFT)))
            row[k] = max(min(w, np.int32(fmt.WEIGHT_MAX)), np.int32(-fmt.WEIGHT_MAX))


@kernel
def _select(
    m: Model,
    rows: NDArray[np.int64],
    f: NDArray[np.int64],
    book: Integer,
    symbol_node: Integer,
    matching: Integer,
    found: Integer,
) -> None:
    """Set the first weight of the set that each selector chooses."""
    for q in range(len(rows)):
        kind = m.selectors[q, 0]
        if kind == MATCH:
            row = matching
        elif kind == SYMBOL:
            row = book * SYMBOL_ROWS + symbol_node
        elif kind == FOUND:
            row = found
        else:
            row = f[m.selectors[q, 1]] & np.int64(m.selectors[q, 2])
        rows[q] = (m.selectors[q, 3] + row) * m.scalars[0]


@kernel
def _first_group_information(
    m: Model,
    s: State,
    places: NDArray[np.int64],
    x: NDArray[np.int32],
    rows: NDArray[np.int64],
    dots: NDArray[np.int64],
    f: NDArray[np.int64],
    matching: Integer,
    found: Integer,
) -> Integer:
    """Return the entropy of a byte's first four bits in 1/4096 bit."""
    p = np.empty(16, np.int64)
    for node in range(1, 16):
        _select(m, rows, f, 0, node, matching, found)
        logit = _predict(m, s, places, x, rows, dots, node, node * len(rows), -1, 0)
        p[node] = m.squash[logit + _HALF]
    entropy = np.int64(0)
    for value in range(16):
        q = np.int64(fmt.ONE)
        node = 1
        for shift in range(3, -1, -1):
            bit = (value >> shift) & 1
            q = (q * (p[node] if bit else fmt.ONE - p[node])) >> 16
            node = node * 2 + bit
        entropy += q * m.information[q]
    return entropy >> 16


@kernel
def run(
    m: Model,
    s: State,
    data: NDArray[np.int32],
    start: Integer,
    stop: Integer,
    layout: NDArray[np.int64],
    mode: Integer,
    buffer: NDArray[np.uint8],
    windows: NDArray[np.int32],
    surprisal: NDArray[np.int32],
    entropy: NDArray[np.int32],
    extra: NDArray[np.int32],
) -> Integer:
    """Code the symbols `start` to `stop` of `data`, going on from the state `s`.

    `layout` is (codebooks, first position, height, width). `buffer` holds the range coder's
    bytes, `windows` those of equal information; `surprisal` takes the information of each
    symbol and `entropy` that of its first four bits, before they are known, in 1/4096 bit;
    `extra` holds another model's log-odds for each node of each symbol from `start` on. The
    last four may be empty. Returns the number of symbols done, or FULL where the buffer is
    too short to write, or to be the code that is read.
    """
    contexts = len(m.contexts)
    x = np.zeros(m.scalars[0], np.int32)
    hashes = np.zeros(contexts, np.int64)
    places = np.zeros(2 * contexts, np.int64)
    rows = np.zeros(len(m.selectors), np.int64)
    dots = np.zeros(len(m.selectors), np.int64)
    cells = np.zeros(len(m.refinements), np.int64)
    refining = np.zeros(len(m.refinements), np.int64)
    group_hashes = np.zeros(contexts, np.int64)
    item_sets = (len(s.table) // fmt.BUCKET - 1) & ~(fmt.WAYS - 1)
    static_sets = (len(m.static) // fmt.BUCKET - 1) & ~(fmt.WAYS - 1)
    touched = np.int64(0)
    f = s.features
    r = s.registers
    books = layout[0]
    is_grid = m.scalars[5] != 0
    reach = np.int64(m.scalars[4])
    for i in range(start, stop):
        book = i % books
        if is_grid:
            grid.before_symbol(
                f, data, i, books, layout[1], layout[2], layout[3], m.neighbours, m.sums
            )
        context_hashes(m.contexts, f, book, hashes)
        for q in range(len(refining)):
            h = q + fmt.BOOK_SEEDS * book
            for k in range(m.refinements.shape[1]):
                feature = m.refinements[q, k]
                if feature < 0:
                    break
                h = hash2(f[feature], h)
            refining[q] = h
        symbol_bits = np.int64(m.bits[book])
        symbol: Integer = np.int64(0)
        if mode not in (DECODE, DECODE_WINDOWS):
            symbol = np.int64(data[i])
        age = 0
        while age < 7 and i >> (5 + 2 * age) > 0:
            age += 1
        rate = np.int64(m.scalars[1])
        if i < fmt.BOOST_SYMBOLS:
            rate += np.int64(m.scalars[3]) * (fmt.BOOST_SYMBOLS - i) // fmt.BOOST_SYMBOLS
        match = r[MATCH_AT]
        length = r[MATCH_LENGTH]
        length_class = 0
        if match >= 0:
            length_class = 1 + (length >= 8) + (length >= 16)
        guess = np.int64(data[match]) if match >= 0 else np.int64(0)
        coded = np.int64(1)  # the bits so far, behind a 1
        node = np.int64(1)
        found: Integer = np.int64(0)
        bits_left = symbol_bits
        spent: Integer = np.int64(0)
        for b in range(symbol_bits):
            if b == 0 or bits_left % fmt.GROUP_BITS == 0:
                in_item = 0
                in_static = 0
                # All sets are asked for before the first is looked at: memory answers at once.
                for j in range(contexts):
                    h = hash2(hashes[j], coded)
                    group_hashes[j] = h
                    touched += np.int64(s.table[(h & item_sets) * fmt.BUCKET])
                    if len(m.static) > 0:
                        touched += np.int64(m.static[(h & static_sets) * fmt.BUCKET])
                for j in range(contexts):
                    h = group_hashes[j]
                    places[j] = bucket(s.table, h, m.state_total)
                    in_item += s.table[places[j] + 1] != 0
                    places[contexts + j] = -1
                    if len(m.static) > 0:
                        places[contexts + j] = static_bucket(m.static, h)
                        in_static += places[contexts + j] >= 0
                found = in_static * (contexts + 1) + in_item
                node = np.int64(1)
                if b == 0 and len(entropy) > 0:
                    entropy[i] = _first_group_information(
                        m, s, places, x, rows, dots, f, age * 4, found
                    )
            symbol_node = coded
            if coded >= 256:
                symbol_node = 256 + ((bits_left - 1) // fmt.GROUP_BITS & 3) * 16 + node
            matched = -1
            if match >= 0 and (guess | (1 << symbol_bits)) >> bits_left == coded:
                expected = (guess >> (bits_left - 1)) & 1
                matched = min(length, fmt.MATCH_MAX - 1) * 2 + expected
            matching = age * 4 + (length_class if matched >= 0 else 0)
            _select(m, rows, f, book, symbol_node, matching, found)
            final_row = (book * SYMBOL_ROWS + symbol_node) * len(rows)
            other = np.int64(0)
            if len(extra) > 0:
                other = np.int64(extra[i - start, coded - 1])
            logit = _predict(m, s, places, x, rows, dots, node, final_row, matched, other)
            mixed = np.int64(m.squash[logit + _HALF])
            p: Integer = mixed * len(cells)
            inner = min(max(logit, -fmt.LOGIT_MAX), fmt.LOGIT_MAX) + fmt.LOGIT_MAX + 1
            low_cell = inner // fmt.REFINEMENT_STEP
            beyond = inner % fmt.REFINEMENT_STEP
            for q in range(len(cells)):
                context = hash2(refining[q], coded) & (fmt.REFINEMENT_CONTEXTS - 1)
                cell = (q * fmt.REFINEMENT_CONTEXTS + context) * fmt.REFINEMENT_STEPS + low_cell
                below = np.int64(s.refined[cell])
                above = np.int64(s.refined[cell + 1])
                p += (
                    below * (fmt.REFINEMENT_STEP - beyond) + above * beyond
                ) // fmt.REFINEMENT_STEP
                cells[q] = cell + (beyond >= fmt.REFINEMENT_STEP // 2)
            p = min(max(p // (2 * len(cells)), fmt.P_MIN), fmt.ONE - fmt.P_MIN)

            if mode == ENCODE:
                bit: Integer = (symbol >> (bits_left - 1)) & 1
                if not encode_bit(r, buffer, p, bit):
                    return FULL
            elif mode == DECODE:
                bit = decode_bit(r, buffer, p)
            elif mode == ENCODE_WINDOWS:
                bit = (symbol >> (bits_left - 1)) & 1
                encode_window_bit(r, windows, p, bit)
            elif mode == DECODE_WINDOWS:
                bit = decode_window_bit(r, windows, p)
                if bit < 0:
                    return i
            else:
                bit = (symbol >> (bits_left - 1)) & 1
            if len(surprisal) > 0:
                spent += m.information[p if bit == 1 else fmt.ONE - p]

            _learn(m, s, x, rows, dots, final_row, mixed, bit, rate)
            for q in range(len(cells)):
                was = np.int64(s.refined[cells[q]])
                now = was + ((bit * (fmt.ONE - 1) - was) >> fmt.REFINE_RATE)
                s.refined[cells[q]] = np.uint16(now)
            if matched >= 0:
                was = np.int64(s.match_map[matched])
                now = was + ((bit * (fmt.ONE - 1) - was) >> fmt.MATCH_RATE)
                s.match_map[matched] = np.int32(now)
            for j in range(contexts):
                at = places[j] + node
                s.table[at] = m.next_state[np.int64(s.table[at]) * 2 + bit]
            coded = coded * 2 + bit
            node = node * 2 + bit
            bits_left -= 1
        if mode == DECODE and r[AT] > len(buffer) + 4:
            return FULL
        symbol = coded - (1 << symbol_bits)
        if mode in (DECODE, DECODE_WINDOWS):
            data[i] = symbol
        if mode in (ENCODE_WINDOWS, DECODE_WINDOWS):
            r[IN_TOKEN] += 1
        if len(surprisal) > 0:
            surprisal[i] = spent
        if not is_grid:
            text.after_byte(f, symbol)
        _find_match(r, s.history, data, i, reach, symbol, guess)
        r[TOUCHED] = touched  # or else no one would need the touching
    return stop


@kernel
def _find_match(
    r: NDArray[np.int64],
    history: NDArray[np.int32],
    data: NDArray[np.int32],
    i: Integer,
    reach: Integer,
    symbol: Integer,
    guess: Integer,
) -> None:
    """Follow the match behind symbol `i`, or look for another."""
    if r[MATCH_AT] >= 0 and guess == symbol:
        r[MATCH_AT] += 1
        r[MATCH_LENGTH] += 1
    else:
        r[MATCH_AT] = -1
        r[MATCH_LENGTH] = 0
    if i + 1 < reach:
        return
    h = fmt.MATCH_SEED
    for k in range(reach):
        h = hash2(data[i - k], h)
    h &= len(history) - 1
    if r[MATCH_AT] < 0 and history[h] >= 0:
        at = np.int64(history[h])
        length = 0
        while length < fmt.MATCH_MAX and at > length and data[at - 1 - length] == data[i - length]:
            length += 1
        if length >= reach:
            r[MATCH_AT] = at
            r[MATCH_LENGTH] = length
    history[h] = i + 1
