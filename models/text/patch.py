"""The network of `text/patch` as it is trained: floats that behave like the integers to come.

    bytes of a patch, bytes before it ──encoder──▶ bits of the codes
    bits ──trunk──▶ one vector for each place of the patch
    that vector, bytes before the place ──▶ logits of the byte at the place, or of the end

The patch is written byte by byte, so that every byte is predicted from its true predecessors
and the codes need to say only what those leave open. The vector of the place also reaches
the logits directly: without that path the codes are learned far more slowly.

Codes are bits (look-up free quantization, Yu et al. 2023, arXiv:2310.05737): a code of 10 bits
is one of 1,024 values, and no value can die.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.exact import qat
from omnicodec.models.exact.qat.fake import quantize, quantized_relu
from omnicodec.models.exact.qat.layers import accumulate

END: Final = 256
"""The symbol after the last byte of a patch, and in place of bytes that a patch lacks."""

FRACTION: Final = 4
"""Fractional bits of all 8-bit activations: they are in -8...8, after a ReLU in 0...8."""

FINE: Final = 8
"""Fractional bits of 16-bit results: branches of residuals, code scores, logits."""

MOMENTUM: Final = 0.02
"""Of the running mean of scores."""

BIT: Final = 1.5
"""A bit enters the decoder as plus or minus this."""


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """Shape of the network; the defaults are what `text/patch` ships.

    A patch is `codebooks` codes of `bits` bits and 1 to `longest` bytes. The encoder sees
    `before` bytes before the patch, the decoder as many before each byte.
    """

    codebooks: int = 4
    bits: int = 10
    longest: int = 8
    before: int = 8
    embedding: int = 24
    encoder: int = 384
    trunk: int = 256
    place: int = 64
    decoder: int = 256

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        return cls(**{k: int(v) for k, v in values.items() if k in known})

    def to_dict(self) -> dict[str, int]:
        return asdict(self)

    @property
    def code_bits(self) -> int:
        return self.codebooks * self.bits


class Batch(NamedTuple):
    """Patches for training, as int64 tensors.

    `patch` `(B, longest)` are bytes, then `END`; `before` `(B, before)` the bytes before it,
    nearest first. The R rows are the bytes of all patches and the end of each that is not
    full: `owner` `(R,)` is the row's patch, `place` `(R,)` where in it, `window` `(R, before)`
    the bytes before, nearest first, `target` `(R,)` the byte or `END`.
    """

    patch: Tensor
    before: Tensor
    owner: Tensor
    place: Tensor
    window: Tensor
    target: Tensor


class PatchNet(nn.Module):
    """Encoder and decoder, quantization-aware throughout."""

    middle: Tensor

    def __init__(self, config: PatchConfig) -> None:
        super().__init__()
        self.config = config
        c, e = config, config.embedding
        self.patch_bytes = nn.Parameter(torch.randn(END + 1, e))
        self.before_bytes = nn.Parameter(torch.randn(END, e))
        self.window_bytes = nn.Parameter(torch.randn(END, e))
        self.encode_in = _linear((c.longest + c.before) * e, c.encoder)
        self.encode_up = _linear(c.encoder, c.encoder)
        self.encode_down = _linear(c.encoder, c.encoder, fine=True)
        self.encode_out = _linear(c.encoder, c.code_bits, fine=True)
        self.trunk_in = _linear(c.code_bits, c.trunk)
        self.trunk_out = _linear(c.trunk, c.longest * c.place)
        self.decode_in = _linear(c.place + c.before * e, c.decoder)
        self.decode_up = _linear(c.decoder, c.decoder)
        self.decode_down = _linear(c.decoder, c.decoder, fine=True)
        self.decode_out = _linear(c.decoder + c.place, END + 1, fine=True)
        self.register_buffer("middle", torch.zeros(c.code_bits))

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits of every row, `(R, 257)`."""
        return self.logits(self.bits(self.scores(batch.patch, batch.before)), batch)

    def scores(self, patch: Tensor, before: Tensor) -> Tensor:
        """Return one number for each bit of the codes, `(B, code_bits)`: 1 where positive."""
        x = torch.cat([_rows(self.patch_bytes, patch), _rows(self.before_bytes, before)], 1)
        hidden = quantized_relu(_sums(self.encode_in, x), FRACTION)
        hidden = _residual(hidden, self.encode_up, self.encode_down, fine=not self.training)
        return _fine(_sums(self.encode_out, hidden), not self.training)

    def bits(self, scores: Tensor) -> Tensor:
        """Return -1 or 1 for each score, with the gradient of a tanh.

        Training standardizes each bit's scores over the batch. So every bit is used for half
        of the patches, where without it most bits become constant; the running mean becomes
        the threshold, and is folded into a bias when the weights are exported.
        """
        scores = scores.float()
        if self.training:
            middle = scores.mean(0)
            with torch.no_grad():
                self.middle.lerp_(middle, MOMENTUM)
            scores = (scores - middle) / (scores.std(0, correction=0) + 1e-3)
        else:
            scores = scores - self.middle
        soft = torch.tanh(scores)
        return soft + (torch.where(scores > 0, 1.0, -1.0) - soft).detach()

    def logits(self, bits: Tensor, batch: Batch) -> Tensor:
        """Return the logits of every row given the bits of its patch's codes."""
        c = self.config
        trunk = quantized_relu(_sums(self.trunk_in, bits * BIT), FRACTION)
        places = quantize(_sums(self.trunk_out, trunk), FRACTION, 8).view(-1, c.place)
        place = places[batch.owner * c.longest + batch.place]
        x = torch.cat([place, _rows(self.window_bytes, batch.window)], 1)
        hidden = quantized_relu(_sums(self.decode_in, x), FRACTION)
        hidden = _residual(hidden, self.decode_up, self.decode_down, fine=not self.training)
        return _fine(_sums(self.decode_out, torch.cat([hidden, place], 1)), not self.training)

    @torch.no_grad()
    def tensors(self) -> dict[str, Tensor]:
        """Return the integers that `PatchCoder` runs on: int8, and int32 for biases."""
        out = {
            name: (quantize(table, FRACTION, 8) * (1 << FRACTION)).to(torch.int8)
            for name, table in self.named_parameters(recurse=False)
        }
        for name, layer in self.named_children():
            assert isinstance(layer, qat.Linear)
            if name == "encode_out":
                layer = copy.deepcopy(layer)
                layer.bias.data -= self.middle
            whole = layer.export(FRACTION)
            for part in ("weight", "bias", "shift"):
                out[f"{name}.{part}"] = getattr(whole, part).clone()
        return {name: tensor.contiguous() for name, tensor in out.items()}


def _linear(inputs: int, outputs: int, *, fine: bool = False) -> qat.Linear:
    if fine:
        return qat.Linear(inputs, outputs, 16, FINE)
    return qat.Linear(inputs, outputs, 8, FRACTION)


def _rows(table: Tensor, ids: Tensor) -> Tensor:
    """Return the rows of each id side by side: `(B, n)` ids to `(B, n * channels)`."""
    found: Tensor = F.embedding(ids, quantize(table, FRACTION, 8))
    return found.flatten(1)


def _sums(layer: qat.Linear, x: Tensor) -> Tensor:
    """Return a layer's accumulators, before they are rounded to its output."""
    return accumulate(x, FRACTION, layer.weight, layer.bias)


def _fine(x: Tensor, fine: bool) -> Tensor:
    """Round to a 16-bit result; training does not, as its steps are too small to matter."""
    return quantize(x, FINE, 16) if fine else x


def _residual(x: Tensor, up: qat.Linear, down: qat.Linear, *, fine: bool) -> Tensor:
    inner = quantized_relu(_sums(up, x), FRACTION)
    return quantized_relu(x + _fine(_sums(down, inner), fine), FRACTION)
