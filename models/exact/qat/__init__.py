"""Training twins of the integer layers: the same results, with gradients.

Each class has the name of its integer layer (`Activation` makes a `Table`). Activations' steps
are powers of two, from a running maximum or as given; weights have one such step for each
output channel, from the weights themselves.
"""

from __future__ import annotations

from omnicodec.models.exact.qat.fake import Range, Signal
from omnicodec.models.exact.qat.layers import (
    Activation,
    CausalConv1d,
    Embedding,
    Linear,
    MaskedConv2d,
    Requantize,
    Residual,
    Twin,
)
from omnicodec.models.exact.qat.network import Network
from omnicodec.models.exact.qat.recurrent import MinGRU, scan

__all__ = [
    "Activation",
    "CausalConv1d",
    "Embedding",
    "Linear",
    "MaskedConv2d",
    "MinGRU",
    "Network",
    "Range",
    "Requantize",
    "Residual",
    "Signal",
    "Twin",
    "scan",
]
