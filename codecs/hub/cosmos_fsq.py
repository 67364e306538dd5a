"""Cosmos's discrete tokenizers (NVIDIA 2025, arXiv:2501.03575), once they are converted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.image_codec import HubImage
from omnicodec.codecs.hub.libraries import check_report
from omnicodec.codecs.hub.pixels import HubPixels
from omnicodec.codecs.hub.video_codec import HubVideo
from omnicodec.codecs.media import Image, Media, Video

if TYPE_CHECKING:
    import torch

M = TypeVar("M", bound=Media)

MODEL_TYPES: Final = ("cosmos_discrete_image", "cosmos_discrete_video")
"""What configurations of networks for pictures and for video call themselves."""


@dataclass(frozen=True, kw_only=True)
class CosmosConfig:
    """The numbers of a network: what `omnicodec.codecs.hub.convert` writes to `config.json`.

    A token covers `spatial` x `spatial` pixels, and `temporal` frames, 0 for pictures. Wavelets
    make squares or cubes of `patch` to channels; behind them the encoder begins with `channels`,
    and has `layers` blocks of each of `block_channels`. `latent_channels` are between its end and
    the quantizer, which has one dimension for each of `levels`.
    """

    spatial: int
    temporal: int
    patch: int
    channels: int
    block_channels: tuple[int, ...]
    layers: int
    latent_channels: int
    levels: tuple[int, ...]

    @classmethod
    def of(cls, stated: Mapping[str, Any], name: str) -> CosmosConfig:
        """Return the one that a configuration states; raises `InvalidInput` for no network's."""
        try:
            one = {
                key: stated[key]
                for key in ("spatial", "temporal", "patch", "channels", "layers", "latent_channels")
            }
            found = cls(
                **one,
                block_channels=tuple(stated["block_channels"]),
                levels=tuple(stated["levels"]),
            )
            numbers = (*one.values(), *found.block_channels, *found.levels)
            known = stated["model_type"] == MODEL_TYPES[found.temporal != 0]
            fits = known and all(type(n) is int and 0 <= n <= 1 << 14 for n in numbers)
        except (KeyError, TypeError) as e:
            raise InvalidInput(f"the configuration of {name} is not Cosmos's: {e}") from e
        if not (fits and found._fits()):
            raise InvalidInput(f"the configuration of {name} is that of no Cosmos tokenizer")
        return found

    @property
    def halvings(self) -> int:
        """How often the network halves width and height, behind the wavelets."""
        return (self.spatial // self.patch).bit_length() - 1

    @property
    def entries(self) -> int:
        return math.prod(self.levels)

    def _fits(self) -> bool:
        sizes = (self.patch, self.spatial, *([self.temporal] if self.temporal else []))
        return (
            all(n > 0 and n & (n - 1) == 0 and self.patch <= n <= 64 for n in sizes)
            and 0 < len(self.block_channels) <= 8
            and self.halvings < len(self.block_channels)
            and self.temporal <= self.spatial
            and min(self.channels, self.latent_channels, self.layers, *self.block_channels) > 0
            and self.layers <= 16
            and 0 < len(self.levels) <= 16
            and min(self.levels) > 1
            and self.entries < 1 << 31
        )


def load_network(snapshot: Snapshot, config: CosmosConfig) -> torch.nn.Module:
    """Return the network with the weights of a folder, in float32 on the CPU.

    Raises `InvalidInput` when they are not those of its configuration.
    """
    from safetensors.torch import load_file

    from omnicodec.codecs.hub.cosmos_networks import Cosmos

    shapes = {name: tensor.shape for name, tensor in snapshot.tensors.items()}
    check_shapes(snapshot.name, shapes, shapes_of(config))
    network = Cosmos(config)
    state: dict[str, torch.Tensor] = {}
    for file in {tensor.file for tensor in snapshot.tensors.values()}:
        state.update(load_file(file))
    network.load_state_dict(state)
    return network


def shapes_of(config: CosmosConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's tensors; no memory is taken for what is only claimed."""
    import torch

    from omnicodec.codecs.hub.cosmos_networks import Cosmos

    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in Cosmos(config).state_dict().items()}


def check_shapes(
    name: str, shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise `InvalidInput` unless tensors of these shapes are all of the network's."""
    if unknown := sorted(shapes.keys() - expected.keys()):
        raise InvalidInput(f"{name} is no discrete Cosmos tokenizer: it has {unknown[0]}")
    check_report(
        name,
        sorted(expected.keys() - shapes.keys()),
        [(key, shape, expected[key]) for key, shape in shapes.items() if shape != expected[key]],
    )


class _CosmosFsq(HubPixels[M]):
    """What both kinds share: one codebook, whose entries are the quantizer's combinations."""

    citation: ClassVar[str] = (
        "Cosmos: NVIDIA 2025, arXiv:2501.03575; FSQ: Mentzer et al. 2023, arXiv:2309.15505"
    )

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> CosmosConfig:
        return CosmosConfig.of(snapshot.config, snapshot.name)

    @classmethod
    def _load(cls, snapshot: Snapshot, config: CosmosConfig) -> torch.nn.Module:
        return load_network(snapshot, config)

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        found: torch.Tensor = self._model.codes(batch)
        return found[:, None]

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model.pixels(codes[:, 0])
        return found


class CosmosImageCodec(_CosmosFsq[Image], HubImage):
    """Cosmos's DI8x8 and DI16x16: a token for a square of pixels."""

    @classmethod
    def _facts(cls, config: CosmosConfig) -> dict[str, Any]:
        return cls._code_facts(config.spatial, config.entries)

    def _prepare(self) -> None:
        self._stride = self.config.spatial


class CosmosVideoCodec(_CosmosFsq[Video], HubVideo):
    """Cosmos's DV4x8x8, DV8x8x8 and DV8x16x16: a token for squares of pixels in some frames."""

    @classmethod
    def _facts(cls, config: CosmosConfig) -> dict[str, Any]:
        return cls._grid_facts(config.spatial, config.temporal) | {
            "summary": f"one token of {config.entries:,} for {config.spatial}x{config.spatial} "
            f"pixels of {config.temporal} frames",
            "codebook_sizes": (config.entries,),
        }

    def _prepare(self) -> None:
        self._stride, self._span = self.config.spatial, self.config.temporal
