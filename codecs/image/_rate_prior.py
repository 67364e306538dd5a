"""The prior of `image/rate`: integer networks over known latents, and rANS.

A chunk is coded in seven passes. The channels are in four groups; the first, of 6 channels, goes
position by position, the others each in two passes: the positions whose row and column add up to
an even number, then the rest. What a pass knows is what the passes before it coded. A chunk's
first byte is a quality class, 0 to 20, chosen by the encoder for the fewest bits: the networks
take it as a hint of how strongly the latents were quantized.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream, InvalidInput
from omnicodec.codecs.image._rate_format import prior_fingerprint
from omnicodec.codecs.image._rate_kernels import (
    Model,
    Wire,
    code_first,
    code_group,
    to_ids,
    to_latents,
)
from omnicodec.codecs.prior import Prior, Span
from omnicodec.codecs.prior.rans import Codes, Source, distributions
from omnicodec.models.image.rate_contexts import (
    CLASSES,
    FIRST,
    FIRST_INPUTS,
    LARGEST,
    PREDICTORS,
    compand_all,
    first_inputs,
    gather,
    positions_of,
    quality_inputs,
)
from omnicodec.models.image.rate_networks import GroupNetwork, first_network
from omnicodec.models.image.rate_prior import OUT, SCALES, RatePriorConfig

if TYPE_CHECKING:
    from torch import Tensor


SAMPLE: Final = 512
"""Positions on which an encoder tries classes."""

_COARSE: Final = (2, 6, 10, 14, 18)
_QUALITIES: Final = tuple(quality_inputs(100 * k / (CLASSES - 1)) for k in range(CLASSES))
_NO_WORDS: Final = np.zeros(0, np.uint16)
_NO_CODES: Final = np.zeros(0, np.uint32)


class RatePrior(Prior):
    """Codes the latents of spans of a grid `(h, w)`.

    Ids are zigzag codes of latents: 0, 1, 2, 3, 4 are 0, 1, -1, 2, -2; latents are within
    `LARGEST`. An instance may be shared between threads.
    """

    parallel: ClassVar[bool] = True

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take what training fitted: integers of the networks, `prediction`, and tables.

        Raises ValueError for tensors that do not belong together.
        """
        self.config = config = config_of(tensors)
        try:
            tables = distributions(tensors["frequencies"], np.asarray(tensors["shifts"]))
            prediction = np.array(tensors["prediction"], np.int32)
        except KeyError as e:
            raise ValueError(f"tensors are missing: {e}") from e
        if tables.shifts.size != SCALES:
            raise ValueError(f"there are {SCALES} classes, not {tables.shifts.size}")
        if prediction.shape != (PREDICTORS, FIRST) or np.abs(prediction).max() > 1 << 20:
            raise ValueError("coefficients of the prediction are out of range")
        first = first_network(tensors, config.inputs(0), 2 * FIRST)
        largest = np.full(config.channels, LARGEST[1], np.int64)
        largest[:FIRST] = LARGEST[0]
        self._model = Model(tables, largest, prediction, first)
        self._networks = [
            GroupNetwork(tensors, g, config.inputs(g), 2 * (stop - start))
            for g, (start, stop) in enumerate(config.spans())
        ]
        self.fingerprint = prior_fingerprint(tensors)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> RatePrior:
        """Return the prior of these tensors, as `weights` reads them."""
        return cls(tensors)

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        if ids.size and (ids.min() < 0 or (ids > 2 * self._model.largest[:, None]).any()):
            raise InvalidInput("ids are not in the range of their codebooks")
        if len(span) == 0:
            return b""
        y = np.empty((len(span), self.config.channels), np.int16)
        to_latents(np.array(ids, np.int32, order="C"), y)
        chunk = _Chunk(y, span)
        compand_all(chunk.y, chunk.e)
        best = self._best_class(chunk)
        codes = Codes()
        wire = _collector(codes.room(len(span) * FIRST))
        self._code_first(chunk, wire, best)
        codes.add(wire.codes, wire.written[0])
        for g, positions in self._passes(chunk):
            wire = self._collect(chunk, g, positions, best)
            codes.add(wire.codes, wire.written[0])
        return bytes([best]) + codes.finish()

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        ids = np.zeros((self.config.channels, len(span)), np.int32)
        if len(span) == 0:
            if data:
                raise CorruptStream("entropy-coded data has more than its chunk says")
            return ids
        if not data or data[0] >= CLASSES:
            raise CorruptStream("a chunk does not say which quality it has")
        source = Source(data[1:])
        wire = Wire(False, source.words, source.state, _NO_CODES, np.zeros(1, np.int64))
        chunk = _Chunk(np.zeros((len(span), self.config.channels), np.int16), span)
        good = self._code_first(chunk, wire, data[0])
        for g, positions in self._passes(chunk):
            results = self._results(chunk, g, positions, data[0])
            known = self.config.groups[g - 1]
            good &= code_group(self._model, wire, chunk.y, chunk.e, positions, results, known)
        source.close()
        if not good:
            raise CorruptStream("entropy-coded data is invalid")
        to_ids(chunk.y, ids)
        return ids

    def estimate(self, latents: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and scales of logistic distributions of latents `(1, C, h, w)`.

        `latents` are rounded, `quality` `(1,)` is 0 to 100; results are floats of the shape and
        on the device of `latents`: for searching better latents, not for coding.
        """
        import torch

        from omnicodec.models.image.rate_prior import scale_of

        channels, height, width = latents.shape[1:]
        largest = torch.from_numpy(self._model.largest).to(latents.device)[:, None]
        flat = latents.detach().reshape(channels, -1)
        y = flat.clamp(-largest, largest).to(torch.int16).t().contiguous().cpu().numpy()
        chunk = _Chunk(y, Span((height, width), 0, len(y)))
        compand_all(chunk.y, chunk.e)
        hint = round(float(quality) * (CLASSES - 1) / 100)
        means, classes = np.empty((2, *y.shape), np.float32)
        for g, (start, stop) in enumerate(self.config.spans()):
            base: NDArray[np.int64] | int = 0
            if g == 0:
                x = np.empty((len(y), FIRST_INPUTS), np.int32)
                base = np.empty((len(y), FIRST), np.int64)
                first_inputs(y, 0, width, self._model.prediction, _QUALITIES[hint], base, x)
                results = self._networks[0](x.astype(np.int8))
            else:
                results = self._results(chunk, g, np.arange(len(y)), hint)
            means[:, start:stop] = results[:, : stop - start] / (1 << OUT) + base / 8
            classes[:, start:stop] = results[:, stop - start :] / (1 << OUT)
        mean, scale = torch.from_numpy(means), scale_of(torch.from_numpy(classes).round())
        shape = (1, channels, height, width)
        return mean.t().reshape(shape).to(latents), scale.t().reshape(shape).to(latents)

    def warm(self) -> None:
        """Compile all loops, or read them from the disk."""
        span = Span((2, 2), 0, 4)
        ids = np.zeros((self.config.channels, 4), np.int32)
        self.decode(self.encode(ids, span), span)

    def _passes(self, chunk: _Chunk) -> list[tuple[int, NDArray[np.int64]]]:
        """Return the passes after the first: the group, and the positions of the chunk."""
        halves = [chunk.half(0), chunk.half(1)]
        return [
            (g, half) for g in range(1, len(self.config.groups)) for half in halves if half.size
        ]

    def _code_first(self, chunk: _Chunk, wire: Wire, quality: int) -> bool:
        hint = _QUALITIES[quality]
        good: bool = code_first(self._model, wire, chunk.y, chunk.e, chunk.start, chunk.width, hint)
        return good

    def _results(
        self, chunk: _Chunk, group: int, positions: NDArray[np.int64], quality: int
    ) -> NDArray[np.int16]:
        x = np.empty((positions.size, self.config.inputs(group)), np.int8)
        known, stop = self.config.groups[group - 1 : group + 1]
        gather(
            chunk.y, chunk.e, positions, chunk.start, chunk.width, known, stop,
            _QUALITIES[quality], x,
        )  # fmt: skip
        return self._networks[group](x)

    def _collect(
        self, chunk: _Chunk, group: int, positions: NDArray[np.int64], quality: int
    ) -> Wire:
        """Return a wire with the codes of one group at some positions."""
        results = self._results(chunk, group, positions, quality)
        wire = _collector(Codes().room(results.size // 2))
        known = self.config.groups[group - 1]
        code_group(self._model, wire, chunk.y, chunk.e, positions, results, known)
        return wire

    def _best_class(self, chunk: _Chunk) -> int:
        """Return the class that codes the second group in the fewest bits, on a sample."""
        count = len(chunk.y)
        sample = np.arange(0, count, -(-count // SAMPLE))
        costs: dict[int, int] = {}

        def cost(quality: int) -> int:
            if quality not in costs:
                wire = self._collect(chunk, 1, sample, quality)
                frequencies = wire.codes[: wire.written[0]] >> np.uint32(16)
                # In whole 1/4096 bit, so that every machine chooses alike.
                costs[quality] = -int(np.rint(np.log2(frequencies / (1 << 16)) * 4096).sum())
            return costs[quality]

        best = min(_COARSE, key=cost)
        for step in (2, 1):
            best = min((max(best - step, 0), best, min(best + step, CLASSES - 1)), key=cost)
        return best


class _Chunk:
    """Latents of a span, `y` int16 `(n, C)`, and `e`, the same companded."""

    def __init__(self, y: NDArray[np.int16], span: Span) -> None:
        if len(span.grid) != 2:
            raise InvalidInput(f"latents are on a grid (h, w), not {span.grid}")
        self.y = y
        self.e = np.zeros(y.shape, np.int8)
        self.start, self.width = span.start, max(1, span.grid[1])

    def half(self, parity: int) -> NDArray[np.int64]:
        """Return the positions, from 0 on, whose row and column add up to such a number."""
        positions = np.empty(len(self.y), np.int64)
        return positions[: positions_of(self.start, self.width, parity, positions)]


def config_of(tensors: Mapping[str, NDArray[Any]]) -> RatePriorConfig:
    """Return the configuration whose networks these are; ValueError if it cannot be one."""
    channels: list[int] = []
    hidden: list[int] = []
    expanded: list[int] = []
    while (prefix := f"{len(channels)}.") + "out.weight" in tensors:
        sizes = [tensors[prefix + n].shape[0] for n in ("enter.bias", "expand.bias", "out.bias")
                 if prefix + n in tensors]  # fmt: skip
        if len(sizes) != 3:
            raise ValueError(f"layers of group {prefix[:-1]} are missing")
        hidden.append(sizes[0])
        expanded.append(sizes[1])
        channels.append(sizes[2] // 2)
    groups = tuple(int(n) for n in np.cumsum(channels))
    return RatePriorConfig(groups=groups, hidden=tuple(hidden), expanded=tuple(expanded))


def _collector(codes: NDArray[np.uint32]) -> Wire:
    return Wire(True, _NO_WORDS, np.zeros(2, np.int64), codes, np.zeros(1, np.int64))
