"""Integer networks: the same results on every machine, whole or step by step.

Layers are in this package, their training twins in `qat`; `docs/exactness.md` explains both.
"""

from __future__ import annotations

from omnicodec.models.exact.convolution import CausalConv1d, MaskedConv2d, mask_offsets
from omnicodec.models.exact.fixed import LOGIT_FRACTION, requantize
from omnicodec.models.exact.layers import Embedding, Linear, Requantize, Residual, Table
from omnicodec.models.exact.logits import argmax, cumulative, frequencies, log_odds
from omnicodec.models.exact.matmul import BACKENDS, default_backend, int8_matmul, use_backend
from omnicodec.models.exact.network import Network
from omnicodec.models.exact.recurrent import MinGRU
from omnicodec.models.exact.stepper import Stepper
from omnicodec.models.exact.tables import FUNCTIONS, activation_table

__all__ = [
    "BACKENDS",
    "FUNCTIONS",
    "LOGIT_FRACTION",
    "CausalConv1d",
    "Embedding",
    "Linear",
    "MaskedConv2d",
    "MinGRU",
    "Network",
    "Requantize",
    "Residual",
    "Stepper",
    "Table",
    "activation_table",
    "argmax",
    "cumulative",
    "default_backend",
    "frequencies",
    "int8_matmul",
    "log_odds",
    "mask_offsets",
    "requantize",
    "use_backend",
]
