"""Weights that a library computes anew at each call, computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def fuse_weight_norm(model: torch.nn.Module) -> None:
    """Have a model's layers with weight norm keep their weights, which stay the same to the bit."""
    import torch
    from torch.nn.utils import parametrize

    with torch.no_grad():
        for module in list(model.modules()):
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
