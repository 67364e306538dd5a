"""Continuous tokenizers of pictures (Rombach et al. 2022), from diffusers' autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.image_codec import HubImage
from omnicodec.codecs.hub.libraries import (
    diffusers_class,
    diffusers_config,
    pretrained_of_diffusers,
)
from omnicodec.codecs.hub.soft import SoftNetwork
from omnicodec.codecs.media import Image

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Kind:
    """One class of diffusers: the setting that lists its levels, and what its `encode` gives."""

    levels: str
    latents: Callable[[Any], torch.Tensor]


_KINDS: Final = {
    "AutoencoderKL": Kind("block_out_channels", lambda found: found.latent_dist.mode()),
    "AutoencoderKLFlux2": Kind("block_out_channels", lambda found: found.latent_dist.mode()),
    "AutoencoderTiny": Kind("encoder_block_out_channels", lambda found: found.latents),
    "AutoencoderDC": Kind("encoder_block_out_channels", lambda found: found.latent),
}


class AutoencoderKlCodec(SoftNetwork[Image], HubImage):
    """The latents of a picture: the mean where the encoder gives a distribution.

    They are the library's own, before any shift and scaling that a diffusion model wants; the
    details of the spec tell these.
    """

    citation: ClassVar[str] = (
        "latent diffusion: Rombach et al. 2022, arXiv:2112.10752; DC-AE: Chen et al. 2024, "
        "arXiv:2410.10733"
    )

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        name = snapshot.config["_class_name"]
        config = diffusers_config(diffusers_class(name), snapshot)
        config.kind = name
        return config

    @classmethod
    def _facts(cls, config: Any) -> dict[str, Any]:
        stride, width = _stride(config), config.latent_channels
        facts = cls._soft_facts(cls._grid_facts(stride), width)
        facts["summary"] = f"{width} real values for {stride}x{stride} pixels"
        facts["details"]["a diffusion model takes"] = _scaling(config)
        return facts

    @classmethod
    def _load(cls, snapshot: Snapshot, config: Any) -> torch.nn.Module:
        model: torch.nn.Module = pretrained_of_diffusers(diffusers_class(config.kind), snapshot)
        return model

    def _prepare(self) -> None:
        self._stride = _stride(self.config)

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        return _KINDS[self.config.kind].latents(self._model.encode(batch))

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model.decode(codes).sample
        return found


def _stride(config: Any) -> int:
    levels: int = len(getattr(config, _KINDS[config.kind].levels))
    return 1 << (levels - 1)


def _scaling(config: Any) -> str:
    """Return what diffusers' pipelines make of a value before a diffusion model takes it."""
    if config.kind == "AutoencoderKLFlux2":
        return "values of 2x2 tokens side by side, normalised by its bn.running_mean and _var"
    scale, shift = config.scaling_factor, getattr(config, "shift_factor", None)
    if getattr(config, "latents_mean", None) and getattr(config, "latents_std", None):
        return f"(value - latents_mean) * {scale} / latents_std of its config.json"
    return f"(value - {shift}) * {scale}" if shift else f"value * {scale}"
