"""One mixer from training items to tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer import kernel
from omnicodec.codecs.prior.mixer.prior import NO_BYTES, NO_EXTRA, NO_INTEGERS
from omnicodec.codecs.prior.mixer.schema import Schema
from omnicodec.codecs.prior.mixer.state import (
    Model,
    initial_tensors,
    model,
    open_state,
)
from omnicodec.service.train.mixer.items import Item, Items
from omnicodec.service.train.mixer.maps import fit_maps
from omnicodec.service.train.mixer.table import build

Tensors = dict[str, NDArray[Any]]
Log = Callable[..., None]
Advise = Callable[[Item], NDArray[np.int32]]

MAPS: Final = ("state_map", "static_map", "joint", "refined")
"""What says how far a context is to be trusted, for like symbols much the same."""

_ADAPTED: Final = ("weights", "final", "refined", "match_map")
"""What items change, and what a later one begins with while training."""


@dataclass(frozen=True, kw_only=True)
class MixerSettings:
    """Sizes and passes.

    `counted` and `shipped` are the powers of two of buckets, of 16 bytes, that each context is
    counted in and that the static table keeps. `rates` are the learning rates (first layer,
    second layer) of the passes over the held-out items. `recount` is whether the held-out
    items are counted into the table in the end.
    """

    counted: int = 20
    shipped: int = 20
    rates: tuple[tuple[int, int], ...] = ((10, 2), (5, 1), (3, 1))
    recount: bool = True


def fit_mixer(
    schema: Schema,
    seen: Items,
    held_out: Items,
    settings: MixerSettings,
    log: Log,
    advise: Advise | None = None,
    maps: Mapping[str, NDArray[Any]] | None = None,
) -> Tensors:
    """Return the tensors of a mixer.

    `maps` are tensors of another mixer of this schema to be used as they are, not fitted: all
    of `MAPS`. `advise` gives the log-odds of an item, as `Advisor.log_odds` does, where the
    schema has them as an input.

    The table is counted on `seen`; maps and mixers learn on `held_out`; then the table
    is counted again on both, unless `settings.recount` is off, for nothing that is known should
    be missing in what ships.
    """
    tensors: Tensors = initial_tensors(schema)
    bare = model(schema, tensors)
    tensors["static"] = build(bare, schema.parents, seen, settings.counted, settings.shipped)
    log(stage=1, buckets=float((tensors["static"][0] != 0).sum()))
    if maps is None:
        tensors |= fit_maps(schema, tensors, model(schema, tensors), held_out)
    else:
        tensors |= {name: maps[name].copy() for name in MAPS}
    log(stage=2)
    for rate, final_rate in settings.rates:
        quick = replace(schema, rate=rate, final_rate=final_rate, boost=0)
        bits = learn(quick, tensors, model(quick, tensors), held_out, advise)
        log(stage=3, rate=rate, bits_per_symbol=bits)
    if maps is not None:
        tensors |= {name: maps[name] for name in MAPS}
    if not settings.recount:
        return tensors
    both = [*seen, *held_out]
    tensors["static"] = build(bare, schema.parents, both, settings.counted, settings.shipped)
    log(stage=4, buckets=float((tensors["static"][0] != 0).sum()))
    return tensors


def learn(
    schema: Schema,
    tensors: Tensors,
    read_only: Model,
    items: Items,
    advise: Advise | None = None,
) -> float:
    """Let the mixers learn from item to item, in place; return the bits per symbol."""
    total, symbols_done = 0, 0
    for symbols, layout in items:
        state = open_state(schema, tensors, symbols.size)
        surprisal = np.zeros(symbols.size, np.int32)
        extra = NO_EXTRA if advise is None else advise((symbols, layout))
        kernel.run(
            read_only, state, symbols, 0, symbols.size, layout, kernel.MEASURE,
            NO_BYTES, NO_INTEGERS, surprisal, NO_INTEGERS, extra,
        )  # fmt: skip
        for name in _ADAPTED:
            tensors[name] = getattr(state, name).reshape(tensors[name].shape)
        total += int(surprisal.sum(dtype=np.int64))
        symbols_done += symbols.size
    return total / 4096 / max(1, symbols_done)
