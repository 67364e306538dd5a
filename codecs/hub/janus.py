"""Janus's tokenizer of pictures (LlamaGen: Sun et al. 2024), from `transformers.JanusVQVAE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from omnicodec.codecs.hub.vqvae import TransformersVq

if TYPE_CHECKING:
    import torch


class JanusCodec(TransformersVq):
    """Janus's VQ-VAE, or that of a whole Janus.

    Codes are the library's: the nearest entry to a latent that is not normalised, while entries
    are normalised when they are decoded. The library decodes squares of `num_patches` tokens
    only; here the same network decodes any grid.
    """

    citation: ClassVar[str] = (
        "LlamaGen: Sun et al. 2024, arXiv:2406.06525; Janus: Wu et al. 2024, arXiv:2410.13848"
    )

    @classmethod
    def _classes(cls) -> tuple[Any, Any]:
        from transformers import JanusVQVAE, JanusVQVAEConfig

        return JanusVQVAEConfig, JanusVQVAE

    @classmethod
    def _entries(cls, network: Any) -> int:
        entries: int = network.num_embeddings
        return entries

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        codes = self._model.encode(batch).image_tokens
        grid = (size // self._stride for size in batch.shape[2:])
        found: torch.Tensor = codes.reshape(len(batch), 1, *grid)
        return found

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import normalize

        entries = normalize(self._model.quantize.embedding(codes[:, 0]), p=2, dim=-1)
        latents = entries.permute(0, 3, 1, 2).contiguous()
        found: torch.Tensor = self._model.decoder(self._model.post_quant_conv(latents))
        return found
