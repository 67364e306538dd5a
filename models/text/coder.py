"""The network of `text/patch` as it runs: integers only, so that all machines agree.

Encoding knows all bytes, so it works on many patches at once with the matrix products of
`exact`. Decoding goes byte by byte in one compiled loop. Both compute the same integers: each
hidden value is `requantize(weight @ x + bias, shift)`, as `exact.Linear` defines it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.models import exact
from omnicodec.models.text import kernels
from omnicodec.models.text.patch import BIT, END, FINE, FRACTION, PatchConfig

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

NEAR: Final = 2
"""Other codes are tried for patches with at most so many wrong bytes."""

FLIPS: Final = (
    (0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (0, 4), (2,), (0,), (1,), (3,), (4,), (1, 4), (0, 5),
    (1, 5), (2, 3), (0, 6), (2, 6), (2, 4), (1, 6), (2, 5), (5,), (6,), (7,), (8,), (3, 4), (0, 7),
    (1, 7), (4, 5), (3, 5), (9,), (10,), (11,),
)  # fmt: skip
"""Which bits are flipped, in the order in which they are tried; 0 is the most doubtful one."""

_PATCHES: Final = 2048  # of one pass, which bounds its memory
_ROUND: Final = 1 << (FINE - FRACTION - 1)
_LINEAR: Final = (
    "encode_in", "encode_up", "encode_down", "encode_out", "trunk_in", "trunk_out",
    "decode_in", "decode_up", "decode_down", "decode_out",
)  # fmt: skip
_FINE: Final = ("encode_down", "encode_out", "decode_down", "decode_out")


class PatchCoder:
    """Maps patches to bits and bits to patches, exactly the same everywhere.

    `arrays` is what `PatchNet.tensors` returned. An instance may be shared between threads.
    """

    def __init__(self, config: PatchConfig, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.config = config
        self._tables = {
            name: np.ascontiguousarray(arrays[name])
            for name in ("patch_bytes", "before_bytes", "window_bytes")
        }
        self._layers: dict[str, exact.Linear] = {}
        for name in _LINEAR:
            weight = torch.from_numpy(arrays[f"{name}.weight"])
            layer = exact.Linear(weight.shape[1], weight.shape[0], 16 if name in _FINE else 8)
            layer.load_state_dict(
                {
                    part: torch.from_numpy(arrays[f"{name}.{part}"])
                    for part in ("weight", "bias", "shift")
                }
            )
            layer.check()
            self._layers[name] = layer
        self._decoder = kernels.Decoder.build(config.place, config.before, arrays)

    def scores(self, data: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int32]) -> Any:
        """Return int16 scores `(P, code_bits)`; a bit is 1 where its score is positive.

        `data` has `before` bytes of context in front and `longest` bytes behind the patches.
        """
        c = self.config
        out = np.empty((starts.size, c.code_bits), np.int16)
        for at in range(0, starts.size, _PATCHES):
            first, size = starts[at : at + _PATCHES, None], lengths[at : at + _PATCHES, None]
            patch = data[first + np.arange(c.longest)].astype(np.int16)
            patch[np.arange(c.longest) >= size] = END
            before = data[first - 1 - np.arange(c.before)]
            x = np.concatenate(
                [self._rows("patch_bytes", patch), self._rows("before_bytes", before)], 1
            )
            hidden = self._relu("encode_in", torch.from_numpy(x))
            hidden = self._residual("encode", hidden)
            out[at : at + _PATCHES] = self._layers["encode_out"](hidden).numpy()
        return out

    def wrong(
        self, data: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int32], bits: Bools
    ) -> NDArray[np.int32]:
        """Return how many bytes of each patch the decoder would get wrong, int32 `(P,)`.

        Each byte is predicted from its true predecessors, so a patch comes back if and only
        if its count is 0. The end of a patch counts as a byte.
        """
        out = np.empty(starts.size, np.int32)
        for at in range(0, starts.size, _PATCHES):
            part = slice(at, at + _PATCHES)
            out[part] = self._wrong(data, starts[part], lengths[part], bits[part])
        return out

    def find(
        self, data: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int32]
    ) -> tuple[Bools, Bools]:
        """Return bits `(P, code_bits)` for patches, and `(P,)` whether they bring them back.

        Where the encoder's own bits do not, those nearest to being the other way are flipped,
        one or two at a time, and the first choice that works is taken.
        """
        scores = self.scores(data, starts, lengths)
        bits = scores > 0
        wrong = self.wrong(data, starts, lengths, bits)
        found = wrong == 0
        near = np.flatnonzero(~found & (wrong <= NEAR))
        order = np.argsort(np.abs(scores[near].astype(np.int32)), 1, kind="stable")
        for flips in FLIPS:
            if not near.size or max(flips) >= self.config.code_bits:
                continue
            tried = bits[near]
            for flip in flips:
                rows = np.arange(near.size)
                tried[rows, order[:, flip]] ^= True
            works = self.wrong(data, starts[near], lengths[near], tried) == 0
            bits[near[works]] = tried[works]
            found[near[works]] = True
            near, order = near[~works], order[~works]
        return bits, found

    def decode(self, bits: Bools, context: Bytes) -> Bytes:
        """Return the bytes of patches, one after another, given the bytes before the first.

        `bits` is `(P, code_bits)`; `context` has at least `before` bytes, the last of which
        stand right before the first patch.
        """
        # Copies are writable and contiguous: other kinds of arrays would be compiled for anew.
        start = np.array(context[context.size - self.config.before :])
        found: Bytes = kernels.decode(
            self._decoder, np.array(bits, order="C"), start, self.config.longest
        )
        return found

    def _wrong(
        self, data: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int32], bits: Bools
    ) -> NDArray[np.int32]:
        c = self.config
        rows = np.minimum(lengths + 1, c.longest).astype(np.int64)
        owner = np.repeat(np.arange(starts.size), rows)
        place = np.arange(owner.size) - np.repeat(np.cumsum(rows) - rows, rows)
        at = starts[owner] + place
        target = np.where(place < lengths[owner], data[at].astype(np.int64), END)
        level = round(BIT * (1 << FRACTION))
        x = np.where(bits, level, -level).astype(np.int8)
        places = self._layers["trunk_out"](self._relu("trunk_in", torch.from_numpy(x)))
        here = places.view(-1, c.place)[torch.from_numpy(owner * c.longest + place)]
        window = self._rows("window_bytes", data[at[:, None] - 1 - np.arange(c.before)])
        hidden = self._relu("decode_in", torch.cat([here, torch.from_numpy(window)], 1))
        hidden = self._residual("decode", hidden)
        logits = self._layers["decode_out"](torch.cat([hidden, here], 1))
        # A patch is never empty: the end is no choice for its first byte.
        logits[torch.from_numpy(place == 0), END] = -(1 << 15)
        differs = exact_argmax(logits) != target
        return np.bincount(owner, differs, starts.size).astype(np.int32)

    def _rows(self, table: str, ids: NDArray[Any]) -> NDArray[np.int8]:
        found: NDArray[np.int8] = self._tables[table][ids].reshape(ids.shape[0], -1)
        return found

    def _relu(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = self._layers[name](x)
        return y.clamp_(min=0)

    def _residual(self, part: str, x: Tensor) -> Tensor:
        branch: Tensor = self._layers[f"{part}_down"](self._relu(f"{part}_up", x))
        total = (x.to(torch.int32) << (FINE - FRACTION)) + branch.to(torch.int32)
        return ((total + _ROUND) >> (FINE - FRACTION)).clamp_(0, 127).to(torch.int8)


def exact_argmax(logits: Tensor) -> NDArray[np.int64]:
    """Return the first of the largest logits of each row, as `kernels.decode` chooses."""
    chosen: NDArray[np.int64] = np.argmax(logits.numpy(), 1)
    return chosen
