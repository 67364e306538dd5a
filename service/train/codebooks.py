"""How the codebooks of a residual quantizer are trained: by moving averages, and kept alive."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omnicodec.models.audio.residual import ResidualQuantizer, nearest


class CodebookTrainer(nn.Module):
    """Moves each entry to the mean of the vectors that chose it.

    Exponential moving averages as in VQ-VAE-2 (Razavi et al. 2019, arXiv:1906.00446); they
    start from k-means, and an entry that is hardly chosen any more is put beside one that
    is chosen most. Entry 0 stays zero.
    """

    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, quantizer: ResidualQuantizer, decay: float, least: float) -> None:
        super().__init__()
        books, entries, dims = quantizer.codebooks.shape
        # A list, so that the quantizer is not a part of this module's state as well.
        self._quantizer = [quantizer]
        self.decay = decay
        self.least = least
        self.register_buffer("counts", torch.zeros(books, entries))
        self.register_buffer("sums", torch.zeros(books, entries, dims))
        self.register_buffer("started", torch.zeros(1))

    @property
    def codebooks(self) -> Tensor:
        return self._quantizer[0].codebooks

    @torch.no_grad()
    def start(self, vectors: Tensor, seed: int, rounds: int = 8) -> None:
        """Set all codebooks by k-means over vectors `(N, D)`, each over what is left."""
        books, entries, _ = self.codebooks.shape
        generator = torch.Generator().manual_seed(seed)
        residual = vectors
        for book in range(books):
            # Entries begin small: one of a residual's own length is nearest to little else.
            centres = residual[_some(residual, entries, generator)] * 0.3
            counts = torch.ones(entries, device=vectors.device)
            centres[0] = 0
            for last in [False] * (rounds - 1) + [True]:
                found = nearest(residual, centres)
                sums, counts = _gather(residual, found, entries)
                centres = sums / counts.clamp(min=1)[:, None]
                if not last:
                    centres, counts = self._split(centres, counts, residual, generator)
                centres[0] = 0
            self.codebooks[book] = centres
            self.counts[book] = counts * (entries / counts.sum())
            self.sums[book] = centres * self.counts[book][:, None]
            residual = residual - centres[nearest(residual, centres)]
        self.started.fill_(1)

    @torch.no_grad()
    def quantize(self, z: Tensor, used: Tensor, seed: int | None = None) -> Tensor:
        """Return the quantized `(B, N, D)`, clip b by `used[b]` codebooks, and move the entries.

        With a seed, entries that are hardly chosen are given new places.
        """
        books, entries, dims = self.codebooks.shape
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        residual = z.detach().clone()
        for book in range(books):
            active = used > book
            if not active.any():
                break
            vectors = residual[active].reshape(-1, dims)
            found = nearest(vectors, self.codebooks[book])
            taken = self.codebooks[book][found].reshape(residual[active].shape)
            sums, counts = _gather(vectors, found, entries)
            # The fewer clips use a book, the less a step says about it.
            keep = self.decay ** float(active.float().mean())
            self.counts[book].lerp_(counts, 1 - keep)
            self.sums[book].lerp_(sums, 1 - keep)
            centres = self.sums[book] / self.counts[book].clamp(min=1e-6)[:, None]
            if generator is not None:
                centres, self.counts[book] = self._split(
                    centres, self.counts[book].clone(), vectors, generator
                )
                self.sums[book] = centres * self.counts[book][:, None]
            centres[0] = 0
            self.codebooks[book] = centres
            residual[active] -= taken
        return z.detach() - residual

    def _split(
        self, centres: Tensor, counts: Tensor, vectors: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return entries and counts in which the rarest share the place of the most chosen.

        A new place at one of the vectors themselves would not do: in many dimensions
        nothing else is near it, and it is never chosen again.
        """
        rare = torch.nonzero(counts < self.least * counts.mean())[:, 0]
        rare = rare[rare > 0]
        if not len(rare):
            return centres, counts
        order = counts.argsort(descending=True)
        often = order[order > 0][: len(rare)]
        rare = rare[: len(often)]
        towards = vectors[_some(vectors, len(rare), generator)]
        centres[rare] = centres[often].lerp(towards, 0.1)
        counts[rare] = counts[often] = counts[often] / 2
        return centres, counts


@torch.no_grad()
def k_means(vectors: Tensor, entries: int, seed: int, rounds: int = 12) -> Tensor:
    """Return the centres, `(entries, D)`, of vectors `(N, D)`."""
    generator = torch.Generator().manual_seed(seed)
    centres = vectors[_some(vectors, entries, generator)]
    for _ in range(rounds):
        sums, counts = _gather(vectors, nearest(vectors, centres), entries)
        alone = torch.nonzero(counts == 0)[:, 0]
        sums[alone] = vectors[_some(vectors, len(alone), generator)]
        centres = sums / counts.clamp(min=1)[:, None]
    return centres


def _some(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the indices of some of the vectors."""
    return torch.randint(len(vectors), (count,), generator=generator).to(vectors.device)


def _gather(vectors: Tensor, found: Tensor, entries: int) -> tuple[Tensor, Tensor]:
    """Return the sum and the number of the vectors that chose each entry."""
    sums = vectors.new_zeros(entries, vectors.shape[1]).index_add_(0, found, vectors)
    counts = torch.bincount(found, minlength=entries).to(vectors.dtype)
    return sums, counts
