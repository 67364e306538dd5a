"""VQ-GANs and MoVQ (Esser et al. 2021, Zheng et al. 2022), from `diffusers.VQModel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.image_codec import HubImage
from omnicodec.codecs.hub.libraries import (
    diffusers_class,
    diffusers_config,
    pretrained_of_diffusers,
)

if TYPE_CHECKING:
    import torch


class DiffusersVqCodec(HubImage):
    """Vector quantization of a picture's latents.

    The codes are those that `VQModel.decode` quantizes the latents of `VQModel.encode` to, and
    decoding is the library's from codes (`lookup_from_codebook`).
    """

    citation: ClassVar[str] = "VQ-GAN: Esser et al. 2021, arXiv:2012.09841"

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> Any:
        return diffusers_config(diffusers_class("VQModel"), snapshot)

    @classmethod
    def _facts(cls, config: Any) -> dict[str, Any]:
        return cls._code_facts(_stride(config), config.num_vq_embeddings)

    @classmethod
    def _load(cls, snapshot: Snapshot, config: Any) -> torch.nn.Module:
        model: torch.nn.Module = pretrained_of_diffusers(diffusers_class("VQModel"), snapshot)
        return model

    def _prepare(self) -> None:
        self._stride = _stride(self.config)

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        latents = self._model.encode(batch).latents
        _, _, (_, _, codes) = self._model.quantize(latents)
        found: torch.Tensor = codes.reshape(len(batch), 1, *latents.shape[2:])
        return found

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        model = self._model
        shape = (len(codes), *codes.shape[2:], model.quantize.vq_embed_dim)
        quantized = model.quantize.get_codebook_entry(codes.flatten(), shape)
        spatial = quantized if self.config.norm_type == "spatial" else None
        found: torch.Tensor = model.decoder(model.post_quant_conv(quantized), spatial)
        return found


def _stride(config: Any) -> int:
    halvings: int = len(config.block_out_channels) - 1
    return 1 << halvings
