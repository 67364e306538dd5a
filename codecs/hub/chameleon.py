"""Chameleon's tokenizer of pictures (Gafni et al. 2022), from `transformers.ChameleonVQVAE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from omnicodec.codecs.errors import Unavailable
from omnicodec.codecs.hub.vqvae import PixelScale, TransformersVq, VqConfig

if TYPE_CHECKING:
    import torch


class ChameleonCodec(TransformersVq):
    """Chameleon's VQ-VAE, or that of a whole Chameleon.

    The library has no decoder of it, and what is published for the library has no weights of
    one: pictures become tokens, tokens no pictures.
    """

    citation: ClassVar[str] = (
        "Make-A-Scene: Gafni et al. 2022, arXiv:2203.13131; Chameleon: 2024, arXiv:2405.09818"
    )

    # What the library's own processor does where a folder does not say it.
    pixels: ClassVar[PixelScale] = PixelScale(0.0078, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))

    @classmethod
    def _classes(cls) -> tuple[Any, Any]:
        from transformers import ChameleonVQVAE, ChameleonVQVAEConfig

        return ChameleonVQVAEConfig, ChameleonVQVAE

    @classmethod
    def _entries(cls, network: Any) -> int:
        entries: int = network.num_embeddings
        return entries

    @classmethod
    def _facts(cls, config: VqConfig) -> dict[str, Any]:
        facts = super()._facts(config)
        facts["details"]["decoding"] = "none: the library has no decoder"
        return facts

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        codes = self._model.encode(batch).image_tokens
        grid = (size // self._stride for size in batch.shape[2:])
        found: torch.Tensor = codes.reshape(len(batch), 1, *grid)
        return found

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        raise Unavailable(f"{self.spec.name} cannot be decoded: transformers has no decoder of it")
