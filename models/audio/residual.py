"""Residual vector quantization with nested codebooks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omnicodec.models.exact.matmul import int8_matmul


class ResidualQuantizer(nn.Module):
    """Codebooks in a row, each of which codes what those before it left over.

    After SoundStream (Zeghidour et al. 2021, arXiv:2107.03312). Entry 0 of every codebook is
    the zero vector: a row of zeros is a codebook that was not used, so that tokens of every
    bit rate have one shape and are decoded alike, and no codebook can make things worse.

    Vectors are `(..., D)`, indices int64 `(K, ...)`.
    """

    codebooks: Tensor
    coarse: Tensor | None
    scales: Tensor
    halves: Tensor

    def __init__(self, books: int, entries: int, dims: int) -> None:
        super().__init__()
        self.register_buffer("codebooks", torch.zeros(books, entries, dims))
        self.register_buffer("coarse", None, persistent=False)
        self.register_buffer("scales", None, persistent=False)
        self.register_buffer("halves", None, persistent=False)

    def freeze(self) -> None:
        """Let `indices` search among entries of 8 bits from now on, which is twice as quick.

        What it finds is as near but for the rounding; sums are still of the entries
        themselves, which must not change any more.
        """
        largest = self.codebooks.abs().amax(-1, keepdim=True).clamp(min=1e-9)
        self.coarse = (self.codebooks * (127 / largest)).round().to(torch.int8)
        self.scales = largest[..., 0] / 127
        self.halves = self.codebooks.square().sum(-1) / 2

    def forward(self, z: Tensor, used: int) -> Tensor:
        """Return the vectors as the first `used` codebooks give them back."""
        return self.vectors(self.indices(z, used))

    def indices(self, z: Tensor, used: int, width: int = 1) -> Tensor:
        """Return entries whose sum is near; those from `used` on are 0.

        They are the nearest, book by book; with a `width` above 1 so many of the best sums
        so far are followed (a beam search), which finds nearer ones.
        """
        books, _, dims = self.codebooks.shape
        residual = z.reshape(-1, dims)
        found = torch.zeros(books, residual.shape[0], dtype=torch.int64, device=z.device)
        if width > 1:
            found[:used] = self._beam(residual, used, width)
            return found.reshape(books, *z.shape[:-1])
        for book in range(used):
            found[book] = self._nearest(residual, book)
            residual = residual - self.codebooks[book].index_select(0, found[book])
        return found.reshape(books, *z.shape[:-1])

    def _nearest(self, vectors: Tensor, book: int) -> Tensor:
        """Return the entries of a codebook nearest to vectors `(N, D)`."""
        if self.coarse is None:
            return nearest(vectors, self.codebooks[book])
        inverse = 127 / vectors.abs().amax(1, keepdim=True).clamp(min=1e-9)
        products = int8_matmul((vectors * inverse).round_().to(torch.int8), self.coarse[book])
        # Each row times its `inverse`, which changes nothing about its largest.
        scores = products * self.scales[book]
        return scores.addr_(inverse[:, 0], self.halves[book], alpha=-1).argmax(1)

    def _beam(self, z: Tensor, used: int, width: int) -> Tensor:
        """Return the entries `(used, N)` of the best path of `width` for vectors `(N, D)`."""
        residual = z[:, None]
        paths = torch.zeros(used, len(z), 1, dtype=torch.int64, device=z.device)
        for book, codebook in enumerate(self.codebooks[:used]):
            halves = codebook.square().sum(1) / 2
            left = residual.square().sum(2, keepdim=True) / 2
            error = (left + halves - residual @ codebook.T).flatten(1)
            best = error.topk(width, largest=False).indices
            parent, entry = best // len(codebook), best % len(codebook)
            paths = paths.gather(2, parent.expand(used, -1, -1))
            paths[book] = entry
            residual = residual.take_along_dim(parent[..., None], 1) - codebook[entry]
        # The last step's are in order, the best first.
        return paths[:, :, 0]

    def vectors(self, indices: Tensor) -> Tensor:
        """Return the sum of the entries; the order of addition is fixed."""
        total = self.codebooks[0][indices[0]]
        for codebook, row in zip(self.codebooks[1:], indices[1:], strict=True):
            total = total + codebook[row]
        return total


class GainShapeQuantizer(nn.Module):
    """A codebook for the levels of bands, and residual codebooks for shapes.

    Indices are int64 `(K, ...)`; those of the levels come first, and are always used. Level
    entry 0 is the quietest.
    """

    levels: Tensor

    def __init__(self, books: int, entries: int, bands: int, dims: int) -> None:
        super().__init__()
        self.register_buffer("levels", torch.zeros(entries, bands))
        self.shapes = ResidualQuantizer(books - 1, entries, dims)

    def level_indices(self, levels: Tensor) -> Tensor:
        """Return the indices `(...)` of the entries nearest to levels `(..., bands)`."""
        return nearest(levels.flatten(0, -2), self.levels).reshape(levels.shape[:-1])

    def indices(self, first: Tensor, shapes: Tensor, used: int, width: int = 1) -> Tensor:
        """Return all indices of frames whose levels have the indices `first`, `(...)`.

        The shapes `(..., D)` are those under these levels. `used` counts the levels' codebook;
        `width` is that of `ResidualQuantizer.indices`.
        """
        return torch.cat([first[None], self.shapes.indices(shapes, used - 1, width)])

    def vectors(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return levels `(..., bands)` and shapes `(..., D)`."""
        return self.levels[indices[0]], self.shapes.vectors(indices[1:])


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the index of the entry nearest to each vector: `(N, D)`, `(M, D)` to `(N,)`."""
    halves = codebook.square().sum(1) / 2
    return torch.addmm(-halves, vectors, codebook.T).argmax(1)
