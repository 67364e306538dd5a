"""Padding behind the input of convolutions with strides, in exact integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def pad_exactly(model: Any) -> None:
    """Let the convolutions of an EnCodec or Mimi of `transformers` pad by exact numbers.

    The library computes them in float32, which is wrong from 2 ** 24 samples on.
    """
    for module in model.modules():
        if hasattr(module, "_get_extra_padding_for_conv1d"):
            module._get_extra_padding_for_conv1d = _Padding(int(module.stride))


class _Padding:
    """What a convolution needs behind its input, so that its stride divides the length."""

    def __init__(self, stride: int) -> None:
        self._stride = stride

    def __call__(self, hidden: torch.Tensor) -> int:
        return -hidden.shape[-1] % self._stride
