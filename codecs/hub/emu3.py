"""Emu3's tokenizer (Wang et al. 2024) on pictures, from `transformers.Emu3VQVAE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.files import Snapshot
from omnicodec.codecs.hub.vqvae import TransformersVq, VqConfig

if TYPE_CHECKING:
    import torch


class Emu3Codec(TransformersVq):
    """Emu3's VQ-VAE, or that of a whole Emu3, for pictures.

    The network is one of video: the library repeats a picture to the frames that a token stands
    for, and of those that come back it takes the first.
    """

    # It takes a picture as four frames, and so the memory of larger ones.
    tile_pixels: ClassVar[int] = 512
    at_once: ClassVar[int] = 1 << 18

    citation: ClassVar[str] = "Emu3: Wang et al. 2024, arXiv:2409.18869"

    @classmethod
    def _classes(cls) -> tuple[Any, Any]:
        from transformers import Emu3VQVAE, Emu3VQVAEConfig

        return Emu3VQVAEConfig, Emu3VQVAE

    @classmethod
    def _configuration(cls, snapshot: Snapshot) -> VqConfig:
        config = super()._configuration(snapshot)
        frames = config.network.temporal_downsample_factor
        if frames < 1 or frames & (frames - 1):
            raise InvalidInput(f"{snapshot.name} has tokens of {frames} frames, no power of two")
        return config

    @classmethod
    def _entries(cls, network: Any) -> int:
        entries: int = network.codebook_size
        return entries

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        import torch

        sizes = torch.tensor([batch.shape[2:]] * len(batch))
        return torch.stack(self._model.encode(batch, sizes).image_tokens)[:, None]

    def _decode_batch(self, codes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model.decode(codes[:, 0])
        return found
