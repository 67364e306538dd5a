"""The decoder of `text/patch`, byte by byte, compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.kernels import kernel
from omnicodec.models.text.patch import BIT, END, FINE, FRACTION

_LEVEL: Final = round(BIT * (1 << FRACTION))
_LEFT: Final = FINE - FRACTION
_ROUND: Final = 1 << (_LEFT - 1)

I32 = np.int32


class Matrix(NamedTuple):
    """A linear layer: int16 weights `(outputs, inputs)`, int32 biases and shifts."""

    weight: NDArray[np.int16]
    bias: NDArray[np.int32]
    shift: NDArray[np.int32]


class Decoder(NamedTuple):
    """All that the loop reads.

    `window` int32 `(before, 256, decoder)` is what each earlier byte adds to the accumulators
    of the first hidden layer, whose matrix is left with the vector of the place.
    """

    trunk_in: Matrix
    trunk_out: Matrix
    decode_in: Matrix
    window: NDArray[np.int32]
    up: Matrix
    down: Matrix
    out: Matrix

    @classmethod
    def build(cls, place: int, before: int, arrays: Mapping[str, NDArray[Any]]) -> Decoder:
        """Return the decoder for what `PatchNet.tensors` returned."""

        def matrix(name: str, columns: slice = slice(None)) -> Matrix:
            return Matrix(
                np.array(arrays[f"{name}.weight"][:, columns], np.int16, order="C"),
                np.array(arrays[f"{name}.bias"], np.int32),
                np.array(arrays[f"{name}.shift"], np.int32),
            )

        table = arrays["window_bytes"].astype(np.int32)
        weight = arrays["decode_in.weight"][:, place:].astype(np.int32)
        parts = [table @ part.T for part in np.split(weight, before, 1)]
        return cls(
            matrix("trunk_in"),
            matrix("trunk_out"),
            matrix("decode_in", slice(0, place)),
            np.ascontiguousarray(np.stack(parts)),
            matrix("decode_up"),
            matrix("decode_down"),
            matrix("decode_out"),
        )


@kernel
def _rescale(x: Any, shift: Any, low: Any, high: Any) -> Any:
    """`exact.requantize` of one integer."""
    if shift > 0:
        x = (x + (1 << (shift - 1))) >> shift
    x = min(max(x, low), high)
    if shift < 0:
        x = min(max(x << -shift, low), high)
    return x


@kernel
def _dot(row: NDArray[np.int16], x: NDArray[np.int16]) -> Any:
    total = I32(0)
    for k in range(x.size):
        total = I32(total + I32(I32(row[k]) * I32(x[k])))
    return total


@kernel
def _layer(m: Matrix, first: int, x: NDArray[np.int16], low: int, out: NDArray[np.int16]) -> None:
    """Put the 8-bit outputs from `first` on into `out`, at least `low`."""
    for n in range(out.size):
        total = I32(_dot(m.weight[first + n], x) + m.bias[first + n])
        out[n] = _rescale(total, m.shift[first + n], low, 127)


@kernel
def decode(
    d: Decoder, bits: NDArray[np.bool_], context: NDArray[np.uint8], longest: int
) -> NDArray[np.uint8]:
    """Return the bytes of patches; see `PatchCoder.decode`. `context` has `before` bytes."""
    before, place, width = context.size, d.decode_in.weight.shape[1], d.up.bias.size
    out = np.empty(before + bits.shape[0] * longest, np.uint8)
    out[:before] = context
    end = before
    code = np.empty(bits.shape[1], np.int16)
    trunk = np.empty(d.trunk_in.bias.size, np.int16)
    both = np.empty(width + place, np.int16)
    hidden, here = both[:width], both[width:]
    inner = np.empty(width, np.int16)
    sums = np.empty(width, np.int32)
    for p in range(bits.shape[0]):
        for k in range(code.size):
            code[k] = _LEVEL if bits[p, k] else -_LEVEL
        _layer(d.trunk_in, 0, code, 0, trunk)
        for at in range(longest):
            _layer(d.trunk_out, at * place, trunk, -128, here)
            for n in range(width):
                sums[n] = d.decode_in.bias[n]
            for j in range(before):
                row = d.window[j, out[end - 1 - j]]
                for n in range(width):
                    sums[n] += row[n]
            for n in range(width):
                total = I32(sums[n] + _dot(d.decode_in.weight[n], here))
                hidden[n] = _rescale(total, d.decode_in.shift[n], 0, 127)
            _layer(d.up, 0, hidden, 0, inner)
            for n in range(width):
                total = I32(_dot(d.down.weight[n], inner) + d.down.bias[n])
                total = _rescale(total, d.down.shift[n], -32768, 32767)
                sums[n] = min(max((I32(hidden[n] << _LEFT) + total + _ROUND) >> _LEFT, 0), 127)
            for n in range(width):
                hidden[n] = sums[n]
            best, symbol = -(1 << 20), 0
            for n in range(END if at == 0 else END + 1):
                total = I32(_dot(d.out.weight[n], both) + d.out.bias[n])
                score = _rescale(total, d.out.shift[n], -32768, 32767)
                if score > best:
                    best, symbol = score, n
            if symbol == END:
                break
            out[end] = symbol
            end += 1
    return out[before:end].copy()
