"""The exact prior of `image/rate` from latents: its linear prediction, networks and tables."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.prior.rans import BUCKETS, FRACTIONS, SYMBOLS, TOTAL
from omnicodec.codecs.prior.static import quantize_counts
from omnicodec.models.image.rate_contexts import (
    FIRST,
    FIRST_INPUTS,
    FRACTION,
    LARGEST,
    PREDICTION_BITS,
    compand_all,
    first_inputs,
    gather,
    quality_inputs,
)
from omnicodec.models.image.rate_networks import GroupNetwork
from omnicodec.models.image.rate_prior import (
    OUT,
    SCALES,
    GroupNet,
    RatePriorConfig,
    RatePriorNet,
    logistic_bits,
    scale_of,
)

Arrays = Mapping[str, NDArray[Any]]
Log = Callable[..., None]

CHUNK: Final = 2048
"""Positions of a training chunk, as of the codec."""

STRENGTH: Final = 400.0
"""So many made-up latents of the logistic distribution are in each table beside those counted."""

DOUBLING: Final = 18.0
"""Qualities after which bits have about doubled: each counts by the inverse of its bits."""

_EIGHTH: Final = 8


class Item(NamedTuple):
    """Latents of a picture: int16 `(h * w, C)`, position by position; width; quality 0 to 100."""

    y: NDArray[np.int16]
    width: int
    quality: float


@dataclass(frozen=True, kw_only=True)
class RatePriorSettings:
    """Settings of a fit.

    `shares` are the groups' parts of the `minutes`, or of the `steps` where these are given,
    which make the result a function of the items alone; a batch is `rows` positions of `chunks`
    chunks; `rate` is AdamW's largest learning rate. Tables are counted on `counted` items.
    """

    minutes: float = 10.0
    steps: int | None = None
    shares: tuple[float, ...] = (0.08, 0.17, 0.3, 0.45)
    chunks: int = 16
    rows: int = 2048
    rate: float = 2e-3
    counted: int = 200
    seed: int = 0
    network: RatePriorConfig = field(default_factory=RatePriorConfig)


def item(latents: NDArray[np.integer[Any]], quality: float) -> Item:
    """Return latents `(C, h, w)` as an item."""
    channels, _, width = latents.shape
    largest = np.full(channels, LARGEST[1])
    largest[:FIRST] = LARGEST[0]
    y = latents.reshape(channels, -1).T.clip(-largest, largest)
    return Item(np.ascontiguousarray(y, np.int16), width, quality)


def fit_rate_prior(
    items: Sequence[Item],
    start: Mapping[str, Tensor] | Arrays,
    settings: RatePriorSettings,
    log: Log,
) -> dict[str, NDArray[Any]]:
    """Return the tensors of `RatePrior`, to be written as `prior.safetensors.zst`.

    Training goes on from `start`: the state of the `ContextModel` that the transform was trained
    against, or the tensors of an earlier fit. `log` is told of the progress by keywords. Raises
    `InvalidInput` without items, or where the start is of another size.
    """
    items = [each for each in items if len(each.y)]
    if not items:
        raise InvalidInput("a prior cannot be fitted without latents")
    torch.manual_seed(settings.seed)
    config = settings.network
    network = RatePriorNet(config)
    try:
        prediction = begin(network, start)
    except (KeyError, RuntimeError) as e:
        raise InvalidInput(f"the start is not that of such a prior: {e}") from e
    sampler = _Sampler(items, prediction, settings)
    for group in range(len(config.groups)):
        _train(network.group(group), group, sampler, settings, log)
    tensors = {name: tensor.numpy() for name, tensor in network.tensors().items()}
    scales = scale_of(torch.arange(SCALES, dtype=torch.float64)).numpy()
    tensors["prediction"] = prediction
    tensors["shifts"] = table_shifts(scales).astype(np.int8)
    counts = count_remainders(items, tensors, settings)
    log(group=len(config.groups), counted=float(counts.sum()))
    tensors["frequencies"] = table_frequencies(counts, scales, tensors["shifts"])
    return tensors


def begin(network: RatePriorNet, start: Mapping[str, Any]) -> NDArray[np.int32]:
    """Give the networks the weights of a start; return the linear prediction, `(24, 6)`."""
    if "prediction" in start:
        load_integers(network, start)
        return np.array(start["prediction"], np.int32)
    network.load_context(start)
    linear = start["lowest.linear"].double().t().numpy() * (1 << PREDICTION_BITS)
    rounded: NDArray[np.int32] = np.round(linear).clip(-(1 << 20), 1 << 20).astype(np.int32)
    return rounded


@torch.no_grad()
def load_integers(network: RatePriorNet, tensors: Arrays) -> None:
    """Give the float networks the weights of integer ones, which they then compute."""
    for g in range(len(network.groups)):
        for name, twin in network.group(g).layers().items():
            weight, bias, shift = (
                torch.from_numpy(np.array(tensors[f"{g}.{name}.{part}"], np.float32))
                for part in ("weight", "bias", "shift")
            )
            step = 2.0 ** -(shift + twin.range.fraction - FRACTION)
            twin.weight.copy_(weight * step[:, None])
            twin.bias.copy_(bias * step * 2.0**-FRACTION)


class _Sampler:
    """Draws chunks and positions, and makes what the networks see of them."""

    def __init__(
        self, items: Sequence[Item], prediction: NDArray[np.int32], settings: RatePriorSettings
    ) -> None:
        self._items, self._linear, self._settings = items, prediction, settings
        self._rng = np.random.default_rng(settings.seed)

    def batches(self, group: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield inputs `(rows, inputs)`, latents `(rows, channels)`, means to add to, and weights.

        All are floats. The weights `(rows,)` keep high qualities, which have most of the bits,
        from being all that is learned.
        """
        settings, rng = self._settings, self._rng
        each = settings.rows // settings.chunks
        while True:
            parts = []
            for at in rng.integers(0, len(self._items), settings.chunks):
                y, width, quality = self._items[at]
                begin = int(rng.integers(0, max(1, len(y) - CHUNK + 1)))
                piece = Item(y[begin : begin + CHUNK], width, quality)
                rows = rng.permutation(len(piece.y))[:each]
                made = inputs_of(piece, begin, group, rows, settings.network, self._linear)
                parts.append((*made, np.full(rows.size, 2.0 ** (-quality / DOUBLING))))
            x, latents, mean, weight = (
                torch.from_numpy(np.concatenate(p)) for p in zip(*parts, strict=True)
            )
            weight = (weight / weight.mean()).float()
            yield x.float() * 2.0**-FRACTION, latents.float(), mean.float() / _EIGHTH, weight


def inputs_of(
    piece: Item,
    begin: int,
    group: int,
    rows: NDArray[np.int64],
    config: RatePriorConfig,
    prediction: NDArray[np.int32],
) -> tuple[NDArray[Any], NDArray[np.int16], NDArray[np.int64]]:
    """Return a group's inputs, latents and means in eighths, at some positions of a chunk."""
    y, width, quality = piece
    start, stop = list(config.spans())[group]
    hint = quality_inputs(quality)
    mean: NDArray[np.int64]
    if group == 0:
        x = np.empty((len(y), FIRST_INPUTS), np.int32)
        mean = np.empty((len(y), FIRST), np.int64)
        first_inputs(y, begin, width, prediction, hint, mean, x)
        return x[rows].astype(np.int8), y[rows, :stop], mean[rows]
    e = np.empty(y.shape, np.int8)
    compand_all(y, e)
    x8 = np.empty((rows.size, config.inputs(group)), np.int8)
    gather(y, e, rows, begin, width, start, stop, hint, x8)
    return x8, y[rows, start:stop], np.zeros((rows.size, stop - start), np.int64)


def _train(
    network: GroupNet, group: int, sampler: _Sampler, settings: RatePriorSettings, log: Log
) -> None:
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.rate, (0.9, 0.98), weight_decay=0.0
    )
    seconds = 60 * settings.minutes * settings.shares[group]
    began, step, total, seen = time.monotonic(), 0, 0.0, 0
    for x, y, mean, weight in sampler.batches(group):
        if settings.steps is None:
            progress = (time.monotonic() - began) / max(seconds, 1e-9)
        else:
            steps = settings.steps * settings.shares[group]
            progress = step / steps if steps else 1.0
        if progress >= 1:
            break
        factor = min(1.0, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * progress))
        for parameters in optimizer.param_groups:
            parameters["lr"] = settings.rate * factor
        bits = (weight * group_bits(network, x, y, mean).sum(1)).mean()
        optimizer.zero_grad()
        (bits / network.channels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step, total, seen = step + 1, total + bits.item(), seen + 1
        if step % 50 == 0:
            log(group=group, step=step, progress=progress, bits_per_position=total / seen)
            total, seen = 0.0, 0


def group_bits(network: GroupNet, x: Tensor, y: Tensor, mean: Tensor) -> Tensor:
    """Return the bits of latents `(rows, channels)` by the network and logistic distributions."""
    offset, classes = network(x)
    scale = scale_of(classes)
    # Beyond the last class there would be no gradient back.
    beyond = (classes - classes.clamp(0, SCALES - 1)).square()
    bits: Tensor = logistic_bits(y, mean + offset, scale) + 0.01 * beyond
    return bits


def table_shifts(scales: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each class how wide its buckets are, as powers of two: up to half a scale."""
    return np.maximum(0, np.ceil(np.log2(scales * 16 / BUCKETS))).astype(np.int64)


def count_remainders(
    items: Sequence[Item], tensors: Arrays, settings: RatePriorSettings
) -> NDArray[np.int64]:
    """Count what the tables code, with the integer networks: `(classes, 8, 33)`.

    A latent counts for its mirror image as well: signs mean nothing.
    """
    rng = np.random.default_rng(settings.seed)
    chosen = rng.permutation(len(items))[: settings.counted]
    config = settings.network
    networks = [
        GroupNetwork(tensors, g, config.inputs(g), 2 * (stop - start))
        for g, (start, stop) in enumerate(config.spans())
    ]
    shifts = tensors["shifts"].astype(np.int64)
    counts = np.zeros(SCALES * FRACTIONS * SYMBOLS, np.int64)
    for at in chosen:
        y, width, quality = items[at]
        piece = Item(y[:CHUNK], width, quality)
        for g, network in enumerate(networks):
            rows = rng.permutation(len(piece.y))[: CHUNK // 4]
            x, latents, mean = inputs_of(piece, 0, g, rows, config, tensors["prediction"])
            results = network(x).astype(np.int64)
            channels = results.shape[1] // 2
            half = 1 << (OUT - 1)
            which = ((results[:, channels:] + half) >> OUT).clip(0, SCALES - 1)
            mean = mean + ((results[:, :channels] + (1 << (OUT - 4))) >> (OUT - 3))
            for sign in (1, -1):
                eighths = sign * mean
                middle = (eighths + 4) >> 3
                remainder = sign * latents.astype(np.int64) - middle
                symbol = (remainder >> shifts[which]) + BUCKETS // 2
                symbol = np.where((symbol < 0) | (symbol >= BUCKETS), BUCKETS, symbol)
                row = which * FRACTIONS + (eighths - 8 * middle + 4)
                counts += np.bincount((row * SYMBOLS + symbol).ravel(), minlength=counts.size)
    return counts.reshape(SCALES, FRACTIONS, SYMBOLS)


def table_frequencies(
    counts: NDArray[np.int64], scales: NDArray[np.float64], shifts: NDArray[np.int8]
) -> NDArray[np.uint16]:
    """Return tables from counts, and from the logistic distribution where there are few."""
    found = np.empty(counts.shape, np.uint16)
    for k in range(counts.shape[0]):
        edges = (np.arange(SYMBOLS) - BUCKETS // 2) * 2.0 ** int(shifts[k]) - 0.5
        for f in range(FRACTIONS):
            shape = np.diff(_logistic((edges - (f - 4) / 8) / scales[k]))
            shape = np.append(shape, max(1e-7, 1 - shape.sum()))
            blend = counts[k, f] + STRENGTH * shape / shape.sum()
            found[k, f] = quantize_counts(
                np.round(blend * (1 << 20)).astype(np.int64), TOTAL
            ).astype(np.uint16)
    return found


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    y: NDArray[np.float64] = 0.5 * (1 + np.tanh(x / 2))
    return y
