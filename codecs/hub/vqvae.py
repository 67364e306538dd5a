"""What the VQ-VAEs of transformers' multimodal models share.

One lies in a folder alone, or as a part of a whole model: then only its tensors are read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.files import Snapshot, read_json
from omnicodec.codecs.hub.image_codec import HubImage
from omnicodec.codecs.hub.libraries import check_report, pretrained, quiet_transformers

if TYPE_CHECKING:
    import torch

PREPROCESSOR: Final = "preprocessor_config.json"

# A whole model has its VQ-VAE's configuration under this key.
_PART: Final = "vq_config"


@dataclass(frozen=True)
class PixelScale:
    """How pixels 0..255 become what a network takes: `(pixel * factor - mean) / deviation`."""

    factor: float = 1 / 255
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)

    @classmethod
    def of(cls, folder: Path, otherwise: PixelScale) -> PixelScale:
        """Return the one that a folder's preprocessor configuration states, if there is any."""
        if not (folder / PREPROCESSOR).exists():
            return otherwise
        stated = read_json(folder / PREPROCESSOR)
        try:
            found = cls(
                float(stated.get("rescale_factor", otherwise.factor)),
                tuple(map(float, stated.get("image_mean", otherwise.mean))),
                tuple(map(float, stated.get("image_std", otherwise.deviation))),
            )
        except (TypeError, ValueError) as e:
            raise InvalidInput(f"{str(folder / PREPROCESSOR)!r} is wrong: {e}") from e
        if not (len(found.mean) == len(found.deviation) == 3):
            raise InvalidInput(f"{str(folder / PREPROCESSOR)!r} is not for three channels")
        if not all((found.factor, *found.deviation)):
            raise InvalidInput(f"{str(folder / PREPROCESSOR)!r} divides by zero")
        return found

    def apply(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels `(B, 3, H, W)` as the library's own processor makes them."""
        shift, scale = self._as_one(pixels)
        return (pixels - shift) / scale

    def undo(self, values: torch.Tensor) -> torch.Tensor:
        shift, scale = self._as_one(values)
        return values * scale + shift

    def _as_one(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        mean = torch.tensor(self.mean, device=like.device) * (1 / self.factor)
        deviation = torch.tensor(self.deviation, device=like.device) * (1 / self.factor)
        return mean.view(-1, 1, 1), deviation.view(-1, 1, 1)


@dataclass(frozen=True)
class VqConfig:
    """The library's configuration of the network, and the pixels that it takes."""

    network: Any
    pixels: PixelScale


class TransformersVq(HubImage):
    """A VQ-VAE of transformers; an adapter names its classes and how it encodes and decodes."""

    pixels: ClassVar[PixelScale] = PixelScale()

    @classmethod
    @abstractmethod
    def _classes(cls) -> tuple[Any, Any]:
        """Return the library's classes of the configuration and of the network."""

    @classmethod
    @abstractmethod
    def _entries(cls, network: Any) -> int:
        """Return how many entries the codebook has."""

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> VqConfig:
        stated: Any = snapshot.config
        if snapshot.prefix:
            stated = stated.get(_PART)
            if not isinstance(stated, Mapping):
                raise InvalidInput(f"the configuration of {snapshot.name} has no {_PART}")
        network = cls._classes()[0].from_dict(dict(stated))
        channels = {network.in_channels, getattr(network, "out_channels", 3)}
        if channels != {3}:
            raise InvalidInput(f"{snapshot.name} is not for pictures of red, green and blue")
        return VqConfig(network, PixelScale.of(snapshot.folder, cls.pixels))

    @classmethod
    def _facts(cls, config: VqConfig) -> dict[str, Any]:
        return cls._code_facts(_stride(config), cls._entries(config.network))

    @classmethod
    def _load(cls, snapshot: Snapshot, config: VqConfig) -> torch.nn.Module:
        network = cls._classes()[1]
        if not snapshot.prefix:
            whole: torch.nn.Module = pretrained(network, snapshot)
            return whole
        return _part(network, snapshot, config.network)

    def _prepare(self) -> None:
        self._stride = _stride(self.config)

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.config.pixels.apply(pixels)
        return found

    def _pixels(self, values: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.config.pixels.undo(values)
        return found


def _stride(config: VqConfig) -> int:
    halvings: int = len(config.network.channel_multiplier) - 1
    return 1 << halvings


def _part(cls: Any, snapshot: Snapshot, config: Any) -> torch.nn.Module:
    """Return a network of transformers that is a part of the model in a folder, in float32.

    Raises `InvalidInput` when its tensors are not those of its configuration.
    """
    import torch
    from safetensors import safe_open

    with quiet_transformers():
        model: torch.nn.Module = cls._from_config(config, dtype=torch.float32)
    ours = model.state_dict()
    prefixes = (snapshot.prefix,) if isinstance(snapshot.prefix, str) else snapshot.prefix
    theirs = {_without(name, prefixes): tensor for name, tensor in snapshot.tensors.items()}
    shared = {name: tensor for name, tensor in theirs.items() if name in ours}
    mismatched = [
        (name, tensor.shape, tuple(ours[name].shape))
        for name, tensor in shared.items()
        if tensor.shape != tuple(ours[name].shape)
    ]
    check_report(snapshot.name, [name for name in ours if name not in shared], mismatched)
    for file in {tensor.file for tensor in shared.values()}:
        with safe_open(file, framework="pt") as opened:
            for name, tensor in shared.items():
                if tensor.file == file:
                    ours[name].copy_(opened.get_tensor(tensor.name))
    return model


def _without(name: str, prefixes: tuple[str, ...]) -> str:
    return next(name[len(p) :] for p in prefixes if name.startswith(p))
