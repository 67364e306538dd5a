"""Cosmos's continuous tokenizer of video (NVIDIA 2025), from `diffusers.AutoencoderKLCosmos`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.libraries import (
    diffusers_class,
    diffusers_config,
    pretrained_of_diffusers,
)
from omnicodec.codecs.hub.soft import SoftNetwork
from omnicodec.codecs.hub.video_codec import HubVideo
from omnicodec.codecs.media import Video

if TYPE_CHECKING:
    import torch


class CosmosCodec(SoftNetwork[Video], HubVideo):
    """The latents of a video: the library's own, before any scaling for a diffusion model."""

    citation: ClassVar[str] = "Cosmos: NVIDIA 2025, arXiv:2501.03575"

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        return diffusers_config(diffusers_class("AutoencoderKLCosmos"), snapshot)

    @classmethod
    def _facts(cls, config: Any) -> dict[str, Any]:
        stride, span = config.spatial_compression_ratio, config.temporal_compression_ratio
        width = config.latent_channels
        facts = cls._soft_facts(cls._grid_facts(stride, span), width)
        facts["summary"] = f"{width} real values for {stride}x{stride} pixels of {span} frames"
        known = config.latents_mean and config.latents_std
        value = "(value - latents_mean) / latents_std of its config.json" if known else "value"
        facts["details"]["a diffusion model takes"] = f"{value}, times its scheduler's sigma_data"
        return facts

    @classmethod
    def _load(cls, snapshot: Snapshot, config: Any) -> torch.nn.Module:
        library = diffusers_class("AutoencoderKLCosmos")
        model: torch.nn.Module = pretrained_of_diffusers(library, snapshot)
        return model

    def _prepare(self) -> None:
        self._stride = self.config.spatial_compression_ratio
        self._span = self.config.temporal_compression_ratio

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        found: torch.Tensor = self._model.encode(batch).latent_dist.mode()
        return found

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model.decode(codes).sample
        return found
