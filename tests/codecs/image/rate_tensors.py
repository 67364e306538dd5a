"""A prior of `image/rate` that nobody trained, but with the same integers everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from omnicodec.codecs.prior.rans import FRACTIONS, SYMBOLS
from omnicodec.codecs.prior.static import quantize_counts
from omnicodec.models.image.rate_contexts import FIRST, PREDICTORS
from omnicodec.models.image.rate_prior import SCALES, RatePriorConfig

CONFIG = RatePriorConfig(groups=(6, 10, 17), hidden=(8, 12, 10), expanded=(9, 14, 11))


def scattered(shape: tuple[int, ...], seed: int, span: int) -> np.ndarray:
    """Return integers in -span ... span by plain arithmetic."""
    n = np.arange(int(np.prod(shape)), dtype=np.int64) + 7919 * seed
    return ((n * 2654435761 % 2**32 >> 9) % (2 * span + 1) - span).reshape(shape)


def rate_tensors(config: RatePriorConfig = CONFIG) -> dict[str, np.ndarray[Any, Any]]:
    """Return what a `RatePrior` is made of; classes and means vary with what is known."""
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for g, (start, stop) in enumerate(config.spans()):
        hidden, expanded, outputs = config.hidden[g], config.expanded[g], 2 * (stop - start)
        sizes = {"enter": (hidden, config.inputs(g)), "expand": (expanded, hidden)}
        if g > 0:
            sizes["project"] = (hidden, expanded)
        sizes["out"] = (outputs, hidden if g > 0 else expanded)
        for k, (name, shape) in enumerate(sizes.items()):
            seed = 10 * g + k
            tensors[f"{g}.{name}.weight"] = scattered(shape, seed, 127).astype(np.int8)
            bias = scattered(shape[:1], seed + 100, 9000)
            if name == "out":
                bias[outputs // 2 :] += 16 << 13  # classes about 16
            tensors[f"{g}.{name}.bias"] = bias.astype(np.int32)
            shift = {"enter": 7, "expand": 6, "project": 4, "out": 7}[name]
            tensors[f"{g}.{name}.shift"] = (shift + scattered(shape[:1], seed + 200, 1)).astype(
                np.int8
            )
    tensors["prediction"] = scattered((PREDICTORS, FIRST), 1, 600).astype(np.int32)
    tensors["shifts"] = np.maximum(0, (np.arange(SCALES) - 16) // 3).astype(np.int8)
    found = np.zeros((SCALES, FRACTIONS, SYMBOLS), np.uint16)
    for k in range(SCALES):
        away = np.abs(np.arange(SYMBOLS) - 16) * 12 // min(k + 2, 16)
        found[k] = quantize_counts((1 << 30) >> np.minimum(away, 30).astype(np.int64))
    tensors["frequencies"] = found
    return tensors
