"""The arrays that the kernel works on: what training made, and what changes in an item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer import tables
from omnicodec.codecs.prior.mixer.schema import GRID, SYMBOL_ROWS, Schema

Tensors = Mapping[str, NDArray[np.generic]]

(
    MATCH_AT, MATCH_LENGTH, LOW, HIGH, CODE, AT, WINDOW_LOW, WINDOW_SIZE, TOKEN, IN_TOKEN, TOUCHED,
) = range(11)  # fmt: skip
"""Registers: the match, the range coder, the window coder."""


class Model(NamedTuple):
    """Everything that is read only; shared by all items and threads."""

    static: NDArray[np.uint8]
    """The read-only table: buckets of one check byte and 15 codes."""
    joint: NDArray[np.int16]
    """Log-odds by context, class of state x static code."""
    static_map: NDArray[np.int16]
    state_map: NDArray[np.int16]
    """Log-odds by context and static code, by context and state."""
    stretch: NDArray[np.int32]
    squash: NDArray[np.int32]
    next_state: NDArray[np.uint8]
    state_total: NDArray[np.uint8]
    state_class: NDArray[np.uint8]
    information: NDArray[np.int32]
    contexts: NDArray[np.int32]
    """Features of each context, -1 behind the last."""
    selectors: NDArray[np.int32]
    """Kind, feature, mask, first row."""
    refinements: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    sums: NDArray[np.int32]
    bits: NDArray[np.int32]
    scalars: NDArray[np.int32]
    """Weights of a row, rate, final rate, boost, symbols of a match, 1 for a grid, 1 for extra."""


class State(NamedTuple):
    """What an item changes; starts from what training left."""

    table: NDArray[np.uint8]
    weights: NDArray[np.int32]
    final: NDArray[np.int32]
    refined: NDArray[np.uint16]
    match_map: NDArray[np.int32]
    history: NDArray[np.int32]
    features: NDArray[np.int64]
    registers: NDArray[np.int64]


def initial_tensors(schema: Schema) -> dict[str, NDArray[np.generic]]:
    """Return the tensors of a mixer that has learned nothing, as training begins with."""
    contexts = len(schema.contexts)
    states = tables.states()
    counts = states.counts.astype(np.int64)
    p = (counts[:, 1] * 10 + 4) * 4096 // (counts.sum(1) * 10 + 8)
    state_map = np.tile(tables.stretch()[np.clip(p, 0, 4095)], (contexts, 1)).astype(np.int16)
    levels = (np.arange(255) % fmt.LEVELS - fmt.LEVELS // 2) * fmt.LEVEL_STEP
    static_map = np.zeros((contexts, 256), np.int16)
    static_map[:, 1:] = np.clip(levels, -fmt.LOGIT_MAX, fmt.LOGIT_MAX)
    by_class = np.zeros(fmt.STATE_CLASSES, np.int64)
    for cls in range(int(states.cls.max()) + 1):
        by_class[cls] = int(state_map[0, states.cls == cls].astype(np.int64).mean())
    joint = np.clip(static_map[0].astype(np.int64) + by_class[:, None] * 7 // 10, -2047, 2047)
    weights = np.zeros((sum(schema.selector_rows()), schema.row), np.int32)
    weights[:, : 3 * contexts] = fmt.ONE * 136 // 100 // contexts
    weights[:, 3 * contexts] = fmt.ONE * 4 // 10
    mixers = len(schema.selectors)
    grid = (np.arange(fmt.REFINEMENT_STEPS) - fmt.REFINEMENT_STEPS // 2) * 128
    identity = tables.squash()[np.clip(grid, -2047, 2047) + fmt.SQUASH_MAX + 1]
    length = np.arange(fmt.MATCH_MAX)
    wrong = fmt.ONE * 10 // (length * 10 + 25)
    return {
        "joint": np.tile(joint.reshape(1, -1), (contexts, 1)).astype(np.int16),
        "static_map": static_map,
        "state_map": state_map,
        "weights": weights,
        "final": np.full((len(schema.bits) * SYMBOL_ROWS, mixers), fmt.ONE // mixers, np.int32),
        "refined": np.tile(
            identity.astype(np.uint16), (len(schema.refinements) * fmt.REFINEMENT_CONTEXTS, 1)
        ),
        "match_map": np.stack([wrong, fmt.ONE - wrong], 1).astype(np.int32).reshape(-1),
        "static": np.zeros((fmt.BUCKET, 0), np.uint8),
    }


def model(schema: Schema, tensors: Tensors) -> Model:
    """Return the read-only arrays of a mixer. Raises `ValueError` for tensors of another schema."""
    expected = initial_tensors(schema)
    for name, like in expected.items():
        given = tensors.get(name)
        if (
            given is None
            or given.dtype != like.dtype
            or (name != "static" and given.shape != like.shape)
        ):
            raise ValueError(f"tensor {name!r} does not fit the mixer's schema")
    static = np.asarray(tensors["static"], np.uint8)
    buckets = static.shape[-1]
    if static.shape != (fmt.BUCKET, buckets) or buckets & (buckets - 1) or 0 < buckets < fmt.WAYS:
        raise ValueError("the static table holds a power of two of buckets")
    states = tables.states()
    selectors, first = [], 0
    for (kind, feature, bits), rows in zip(schema.selectors, schema.selector_rows(), strict=True):
        selectors.append((kind, feature, (1 << bits) - 1, first))
        first += rows
    offsets = [(n.back, n.up, n.left, n.book, int(n.absolute), n.shift) for n in schema.neighbours]
    return Model(
        static=aligned(static.T.reshape(-1)),
        joint=np.asarray(tensors["joint"], np.int16),
        static_map=np.asarray(tensors["static_map"], np.int16),
        state_map=np.asarray(tensors["state_map"], np.int16),
        stretch=tables.stretch(),
        squash=tables.squash(),
        next_state=states.next.reshape(-1),
        state_total=states.total,
        state_class=states.cls,
        information=tables.information(),
        contexts=_padded(schema.contexts),
        selectors=np.array(selectors, np.int32),
        refinements=_padded(schema.refinements),
        neighbours=np.array(offsets, np.int32).reshape(-1, 6),
        sums=_padded(schema.sums),
        bits=np.array(schema.bits, np.int32),
        scalars=np.array(
            [
                schema.row,
                schema.rate,
                schema.final_rate,
                schema.boost,
                schema.match,
                int(schema.features == GRID),
                int(schema.extra),
            ],
            np.int32,
        ),
    )


def open_state(schema: Schema, tensors: Tensors, symbols: int | None) -> State:
    """Return the state at the start of an item of `symbols` symbols; None where not known."""
    if symbols is None:
        buckets, history = fmt.OPEN_BUCKETS, fmt.OPEN_HISTORY
    else:
        buckets = _power(symbols * fmt.BUCKETS_PER_SYMBOL, fmt.MIN_BUCKETS, fmt.MAX_BUCKETS)
        history = _power(symbols, fmt.MIN_HISTORY, fmt.MAX_HISTORY)
    registers = np.zeros(16, np.int64)
    registers[MATCH_AT] = -1
    registers[HIGH] = 0xFFFFFFFF
    return State(
        table=_zeros(buckets * fmt.BUCKET),
        weights=np.array(tensors["weights"], np.int32).reshape(-1),
        final=np.array(tensors["final"], np.int32).reshape(-1),
        refined=np.array(tensors["refined"], np.uint16).reshape(-1),
        match_map=np.array(tensors["match_map"], np.int32),
        history=np.full(history, -1, np.int32),
        features=np.zeros(schema.feature_count, np.int64),
        registers=registers,
    )


def aligned(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a copy whose sets of buckets each are one cache line."""
    copy = _zeros(array.size)
    copy[:] = array
    return copy


def _zeros(size: int) -> NDArray[np.uint8]:
    line = fmt.BUCKET * fmt.WAYS
    memory = np.zeros(size + line, np.uint8)
    start = -memory.ctypes.data % line
    return memory[start : start + size]


def _power(wanted: int, least: int, most: int) -> int:
    return min(max(least, 1 << max(0, wanted - 1).bit_length()), most)


def _padded(rows: tuple[tuple[int, ...], ...]) -> NDArray[np.int32]:
    table = np.full((len(rows), max(map(len, rows), default=0) + 1), -1, np.int32)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table
