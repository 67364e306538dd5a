"""The maps: what a state, a static code, and both together mean, by maximum likelihood.

They are counted on items that the static table has not seen, so that they tell how far it
is to be trusted there.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer import tables
from omnicodec.codecs.prior.mixer.hashing import hash2
from omnicodec.codecs.prior.mixer.lookup import bucket, context_hashes, static_bucket
from omnicodec.codecs.prior.mixer.schema import Schema
from omnicodec.codecs.prior.mixer.state import Model, State, open_state
from omnicodec.models.kernels import Integer, kernel
from omnicodec.service.train.mixer.items import Items
from omnicodec.service.train.mixer.table import features

_TRUST: Final = 4.0
"""Observations that the value before is worth."""


def fit_maps(
    schema: Schema, tensors: dict[str, NDArray[Any]], model: Model, items: Items
) -> dict[str, NDArray[np.int16]]:
    """Return the maps `state_map`, `static_map` and `joint` that fit `items`."""
    contexts = len(schema.contexts)
    counts = np.zeros((contexts, 256, 256, 2), np.int64)
    for symbols, layout in items:
        state = open_state(schema, tensors, symbols.size)
        _collect(model, state, symbols, layout, counts)
    classes = tables.states().cls
    by_state = _log_odds(counts.sum(2), np.asarray(tensors["state_map"], np.float64) / 256)
    by_code = _log_odds(counts.sum(1), np.asarray(tensors["static_map"], np.float64) / 256)
    by_state[:, 0] = 0
    by_code[:, 0] = 0
    joint = np.zeros((contexts, fmt.STATE_CLASSES, 256, 2))
    by_class = np.zeros((contexts, fmt.STATE_CLASSES))
    for cls in range(int(classes.max()) + 1):
        members = classes == cls
        joint[:, cls] = counts[:, members].sum(1)
        weight = counts[:, members].sum((2, 3)) + 1e-3
        by_class[:, cls] = (by_state[:, members] * weight).sum(1) / weight.sum(1)
    # Where both were seldom seen together, their log-odds add up, if not fully.
    guess = np.clip(0.6 * by_class[:, :, None] + 0.8 * by_code[:, None, :], -8, 8)
    both = _log_odds(joint, guess)
    both[:, 0, 0] = 0
    return {
        "state_map": _quantized(by_state),
        "static_map": _quantized(by_code),
        "joint": _quantized(both).reshape(contexts, -1),
    }


def _log_odds(counts: NDArray[Any], before: NDArray[np.float64]) -> NDArray[np.float64]:
    p = 1 / (1 + np.exp(-before))
    q = (counts[..., 1] + _TRUST * p) / (counts.sum(-1) + _TRUST)
    q = np.clip(q, 1e-5, 1 - 1e-5)
    return np.asarray(np.log(q / (1 - q)))


def _quantized(log_odds: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.clip(np.round(log_odds * 256), -fmt.LOGIT_MAX, fmt.LOGIT_MAX).astype(np.int16)


@kernel
def _collect(
    m: Model,
    s: State,
    symbols: NDArray[np.int32],
    layout: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Count bits by context, state and static code, while the item's table learns."""
    contexts = len(m.contexts)
    f = np.zeros(64, np.int64)
    hashes = np.zeros(contexts, np.int64)
    books = layout[0]
    for i in range(len(symbols)):
        book = i % books
        features(f, symbols, i, layout, m)
        context_hashes(m.contexts, f, book, hashes)
        left = np.int64(m.bits[book])
        coded = np.int64(1)
        symbol = np.int64(symbols[i])
        while left > 0:
            group = (left - 1) % fmt.GROUP_BITS + 1
            for j in range(contexts):
                h = hash2(hashes[j], coded)
                place = bucket(s.table, h, m.state_total)
                there = -1
                if len(m.static) > 0:
                    there = static_bucket(m.static, h)
                node: Integer = 1
                for b in range(group):
                    bit = (symbol >> (left - 1 - b)) & 1
                    state = np.int64(s.table[place + node])
                    code = np.int64(m.static[there + node]) if there >= 0 else np.int64(0)
                    counts[j, state, code, bit] += 1
                    s.table[place + node] = m.next_state[state * 2 + bit]
                    node = node * 2 + bit
            coded = (coded << group) | ((symbol >> (left - group)) & ((1 << group) - 1))
            left -= group
