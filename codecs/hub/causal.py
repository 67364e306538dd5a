"""The causal convolutions of EnCodec and Mimi, one block after the other.

Both libraries' classes are built alike, so what is here reads their attributes: `conv`, `stride`,
`padding_total` and `pad_mode` of a convolution, `block` and `shortcut` of a residual one, `lstm`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from omnicodec.codecs.errors import InvalidInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Lengths = Sequence[int]
"""How many of each row's places are its own; what is behind is not looked at."""

PAD_MODES: Final = ("reflect", "constant", "replicate")
"""How the first and last places of a clip are padded, of those that torch has."""


class CausalLayers:
    """Layers on their way through B rows that begin together, with what they carry on.

    The first block is padded on its left as the library pads a clip, later ones begin with what
    came before them: each layer keeps as much of its input as its kernel reaches back. Each row is
    padded at its own end, where it is not a multiple of the stride. So what the blocks give is what
    the whole clip would, except for last bits where a shape is another.
    """

    def __init__(self, layers: Iterable[torch.nn.Module]) -> None:
        """Take modules of one of the libraries; raises `InvalidInput` for one of another kind."""
        self._layers = [_layer(module) for module in layers]

    def run(self, x: Tensor, lengths: Lengths) -> tuple[Tensor, Lengths]:
        """Return what the layers make of the next block `(B, C, T)`, and its rows' lengths.

        The first block has to be longer than the padding of every layer at its left, unless it
        is the only one.
        """
        for layer in self._layers:
            x, lengths = layer.run(x, lengths)
        return x, lengths


class _Layer(ABC):
    """One layer, with what it carries on."""

    @abstractmethod
    def run(self, x: Tensor, lengths: Lengths) -> tuple[Tensor, Lengths]:
        """Return what `CausalLayers.run` does."""


def _layer(module: torch.nn.Module) -> _Layer:
    import torch

    if isinstance(module, torch.nn.ELU | torch.nn.Identity):
        return _Each(module)
    if hasattr(module, "lstm"):
        return _Lstm(module)
    if hasattr(module, "block"):
        return _Residual(module)
    conv = getattr(module, "conv", None)
    if isinstance(conv, torch.nn.Conv1d):
        return _Convolution(module)
    if isinstance(conv, torch.nn.ConvTranspose1d):
        return _Transposed(conv)
    raise InvalidInput(f"a layer {type(module).__name__} does not run in blocks")


class _Each(_Layer):
    """A layer that looks at each place by itself."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module

    def run(self, x: Tensor, lengths: Lengths) -> tuple[Tensor, Lengths]:
        return self._module(x), lengths


class _Convolution(_Layer):
    """A convolution, perhaps with a stride, which looks at what came before it only."""

    def __init__(self, module: Any) -> None:
        self._module, self._conv = module, module.conv
        self._stride, self._left = int(module.stride), int(module.padding_total)
        self._mode: str = module.pad_mode
        self._before: Tensor | None = None

    def run(self, x: Tensor, lengths: Lengths) -> tuple[Tensor, Lengths]:
        width, left = x.shape[2], self._left
        full = all(n == width for n in lengths)
        padded = self._whole(x) if full else self._ragged(x, lengths)
        # A copy: else a few places would keep the whole block.
        self._before = padded[:, :, width : width + left].clone()
        return self._conv(padded), [-(-n // self._stride) for n in lengths]

    def _whole(self, x: Tensor) -> Tensor:
        """Return a block with what is to its left and right, where all rows are as long as it."""
        import torch

        left = self._left
        if self._before is not None:
            x, left = torch.cat([self._before, x], 2), 0
        right = -(x.shape[2] - self._left + left) % self._stride
        if not left and not right:
            return x
        padded: Tensor = self._module._pad1d(x, (left, right), mode=self._mode)
        return padded

    def _ragged(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Return the same where rows end inside of the block, which is a multiple of the stride."""
        import torch

        left, mode = self._left, self._mode
        at = torch.arange(-left, x.shape[2], device=x.device)
        ends = torch.tensor(lengths, device=x.device)[:, None]
        before, short = self._before, None
        if before is None:
            # The library reflects a short clip in zeros behind it, at both ends.
            if mode == "reflect" and any(n <= left for n in lengths):
                short = ends <= left
                x = x.masked_fill((at[left:] >= ends)[:, None], 0)
            before = self._begin(x)
        padded = torch.cat([before, x], 2)
        if all(n % self._stride == 0 for n in lengths):
            return padded
        if mode == "constant":
            return padded.masked_fill((at >= ends)[:, None], 0)
        source = torch.minimum(at, ends - 1 if mode == "replicate" else 2 * (ends - 1) - at)
        source = torch.where(at < ends, at, source)
        if short is not None:
            source = torch.where(short, at, source)
        index = (source + left).clamp(min=0)
        return padded.gather(2, index[:, None].expand_as(padded))

    def _begin(self, x: Tensor) -> Tensor:
        """Return what is to the left of the first block."""
        left = self._left
        if self._mode == "reflect":
            return x[:, :, 1 : left + 1].flip(2)
        if self._mode == "replicate":
            return x[:, :, :1].expand(-1, -1, left)
        return x.new_zeros(*x.shape[:2], left)


class _Transposed(_Layer):
    """A transposed convolution, of which the library cuts off what reaches behind the clip."""

    def __init__(self, conv: torch.nn.ConvTranspose1d) -> None:
        self._conv, self._stride = conv, conv.stride[0]
        self._reach = -(-conv.kernel_size[0] // self._stride) - 1
        self._before: Tensor | None = None

    def run(self, x: Tensor, lengths: Lengths) -> tuple[Tensor, Lengths]:
        import torch

        width, skipped = x.shape[2], 0
        if self._before is not None:
            skipped = self._before.shape[2] * self._stride
            x = torch.cat([self._before, x], 2)
        self._before = x[:, :, x.shape[2] - self._reach :].clone()
        found = self._conv(x)[:, :, skipped : skipped + width * self._stride]
        return found, [n * self._stride for n in lengths]


class _Residual(_Layer):
    """Layers whose sum with their own input goes on."""

    def __init__(self, module: Any) -> None:
        self._block, self._shortcut = CausalLayers(module.block), _layer(module.shortcut)

    def run(self, x: Tensor, lengths: Lengths) -> tuple[Tensor, Lengths]:
        beside, _ = self._shortcut.run(x, lengths)
        found, after = self._block.run(x, lengths)
        return beside + found, after


class _Lstm(_Layer):
    """An LSTM beside which its input goes on."""

    def __init__(self, module: Any) -> None:
        self._lstm = module.lstm
        self._state: tuple[Tensor, Tensor] | None = None

    def run(self, x: Tensor, lengths: Lengths) -> tuple[Tensor, Lengths]:
        x = x.permute(2, 0, 1)
        found, self._state = self._lstm(x, self._state)
        return (found + x).permute(1, 2, 0), lengths
