"""LlamaGen's tokenizer of pictures (Sun et al. 2024, arXiv:2406.06525), once it is converted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from omnicodec.codecs.hub.janus import JanusCodec

if TYPE_CHECKING:
    import torch


class LlamaGenCodec(JanusCodec):
    """LlamaGen's VQ in a folder that `omnicodec.codecs.hub.convert` has written.

    Its network is Janus's. Its codes are those of the nearest entry on the unit sphere: latents
    and entries are normalised before they are compared, which the library's Janus does not do.
    """

    citation: ClassVar[str] = "LlamaGen: Sun et al. 2024, arXiv:2406.06525"

    def _encode_batch(self, batch: torch.Tensor, books: int) -> torch.Tensor:
        import torch
        from torch.nn.functional import normalize

        latents = self._model.quant_conv(self._model.encoder(batch)).permute(0, 2, 3, 1)
        grid = latents.shape[1:3]
        latents = normalize(latents.reshape(-1, latents.shape[-1]), p=2, dim=-1)
        entries = normalize(self._model.quantize.embedding.weight, p=2, dim=-1)
        # In the order in which LlamaGen sums: the last bits decide between entries as near.
        lengths = latents.square().sum(1, keepdim=True) + entries.square().sum(1)
        distances = lengths.sub_(torch.einsum("bd,dn->bn", latents, entries.T).mul_(2))
        return distances.argmin(1).reshape(len(batch), 1, *grid)
