"""The prior of `image/inr`: integer networks, latent by latent, and rANS."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream, InvalidInput
from omnicodec.codecs.image._inr_format import (
    GROUPS,
    HEAD,
    IDS,
    front,
    prior_fingerprint,
    sides_of,
)
from omnicodec.codecs.image._inr_updates import (
    arm_updates,
    heads_are_valid,
    put_updates,
    take_updates,
)
from omnicodec.codecs.prior import Prior, Span
from omnicodec.codecs.prior.latents import put_scales, take_scales
from omnicodec.codecs.prior.rans import Codes, Source, distributions
from omnicodec.models.inr.arm_kernels import CLASSES
from omnicodec.models.inr.exact_arm import SHAPES, Ints, shared_arms
from omnicodec.models.inr.pyramid import ALIGN, CHANNELS, PLANES, positions, split
from omnicodec.models.inr.updates import ARM_GROUPS

QUALITIES: Final = 101


_ARM_SIZE: Final = sum(int(np.prod(shape)) for shape in SHAPES.values())

_ARM_SIZES: Final = tuple(CHANNELS[scale] * _ARM_SIZE for scale in ARM_GROUPS)


class InrPrior(Prior):
    """Codes a whole item: its updates first, then its latents by the networks they change.

    An instance may be shared between threads.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take the shared networks, `rates` and `steps` of qualities, `sizes` of groups, tables.

        Raises ValueError for tensors that do not belong together.
        """
        try:
            self.arms = shared_arms(tensors)
            self.rates = np.asarray(tensors["rates"], np.int64)
            self.steps = np.asarray(tensors["steps"], np.int64)
            self.sizes = tuple(int(n) for n in tensors["sizes"])
            tables = distributions(tensors["frequencies"], np.asarray(tensors["shifts"]))
        except KeyError as e:
            raise ValueError(f"tensors are missing: {e}") from e
        if self.rates.shape != (QUALITIES,) or np.abs(self.rates).max() > 1 << 12:
            raise ValueError("there is a rate for each quality, 0 to 100")
        if self.steps.shape != (QUALITIES, len(PLANES)) or not 0 < self.steps.max() < 1 << 24:
            raise ValueError("there is a step for each quality and plane")
        if len(self.sizes) != GROUPS or self.sizes[: len(_ARM_SIZES)] != _ARM_SIZES:
            raise ValueError(f"there are {GROUPS} groups of updates, not {self.sizes}")
        if tables.shifts.size != CLASSES:
            raise ValueError(f"there are {CLASSES} classes, not {tables.shifts.size}")
        self.tables = tables
        self.fingerprint = prior_fingerprint(tensors)

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        height, width = self._sides(span)
        if ids.size and (ids.min() < 0 or ids.max() >= IDS):
            raise InvalidInput("ids are not in the range of their codebooks")
        if not height:
            return b""
        values = from_ids(ids[0])
        head, updates, scales, rest = self._parts(values, height, width)
        self._check(head, InvalidInput)
        if rest.any():
            raise InvalidInput("what fills the last row is zeros")
        codes = Codes()
        for update, which in zip(updates, head[2::2], strict=True):
            if not which and update.any():
                raise InvalidInput("a group without a class has no updates")
        put_updates(codes, self.tables, head[1:], updates)
        rate = int(self.rates[head[0]])
        arms = arm_updates(head[1:], updates)
        put_scales(codes, self.tables, self.arms, rate, scales, arms)
        return head.astype(np.uint8).tobytes() + codes.finish()

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        height, width = self._sides(span)
        values = np.zeros(len(span), np.int32)
        if not height:
            if data:
                raise CorruptStream("entropy-coded data has more than its chunk says")
            return values[None]
        if len(data) < HEAD:
            raise CorruptStream("entropy-coded data is cut off")
        head, updates, scales, _ = self._parts(values, height, width)
        head[:] = np.frombuffer(data[:HEAD], np.uint8)
        self._check(head, CorruptStream)
        source = Source(data[HEAD:])
        good = take_updates(source, self.tables, head[1:], updates)
        rate = int(self.rates[head[0]])
        arms = arm_updates(head[1:], updates)
        good &= take_scales(source, self.tables, self.arms, rate, scales, arms)
        source.close()
        if not good:
            raise CorruptStream("entropy-coded data is invalid")
        return to_ids(values)[None]

    def warm(self) -> None:
        """Compile all loops, or read them from the disk."""
        rows = -(-(front(self.sizes) + positions(2 * ALIGN, 2 * ALIGN)) // 64)
        span = Span((rows, 64), 0, rows * 64)
        ids = np.zeros((1, len(span)), np.int32)
        ids[0, 2] = to_ids(np.ones(1, np.int32))[0]
        self.decode(self.encode(ids, span), span)

    def _sides(self, span: Span) -> tuple[int, int]:
        sides = sides_of(span.grid, self.sizes)
        if span.start != 0 or span.stop != int(np.prod(span.grid)):
            raise InvalidInput("an item is coded whole")
        return sides

    def _parts(self, values: Ints, height: int, width: int) -> _Parts:
        """Return views of an item's integers."""
        edges = np.cumsum([HEAD, *self.sizes])
        stop = int(edges[-1]) + positions(height, width)
        updates = [values[a:b] for a, b in pairwise(edges)]
        scales = split(values[edges[-1] : stop], height, width)
        return _Parts(values[:HEAD], updates, scales, values[stop:])

    def _check(self, head: Ints, error: type[InvalidInput | CorruptStream]) -> None:
        if not 0 <= head[0] < QUALITIES or not heads_are_valid(head[1:]):
            raise error(f"an item of image/inr does not begin with {head.tolist()}")


class _Parts(NamedTuple):
    head: Ints
    updates: list[Ints]
    scales: list[Ints]
    rest: Ints


def to_ids(values: Ints) -> Ints:
    """Return integers as ids: 0, 1, -1, 2, -2 as 0, 1, 2, 3, 4."""
    ids: Ints = 2 * np.abs(values) - (values > 0)
    return ids


def from_ids(ids: Ints) -> Ints:
    """Return the integers of ids, the inverse of `to_ids`."""
    half = (ids + 1) >> 1
    return np.where(ids & 1, half, -half).astype(np.int32)
