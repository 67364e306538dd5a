"""Residual vector quantization with nested codebooks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualQuantizer(nn.Module):
    """Codebooks in a row, each of which codes what those before it left over.

    After SoundStream (Zeghidour et al. 2021, arXiv:2107.03312). Entry 0 of every codebook is
    the zero vector: a row of zeros is a codebook that was not used, so that tokens of every
    bit rate have one shape and are decoded alike, and no codebook can make things worse.

    Vectors are `(..., D)`, indices int64 `(K, ...)`.
    """

    codebooks: Tensor

    def __init__(self, books: int, entries: int, dims: int) -> None:
        super().__init__()
        self.register_buffer("codebooks", torch.zeros(books, entries, dims))

    def forward(self, z: Tensor, used: int) -> Tensor:
        """Return the vectors as the first `used` codebooks give them back."""
        return self.vectors(self.indices(z, used))

    def indices(self, z: Tensor, used: int) -> Tensor:
        """Return the nearest entries, book by book; those from `used` on are 0."""
        books, _, dims = self.codebooks.shape
        residual = z.reshape(-1, dims)
        found = torch.zeros(books, residual.shape[0], dtype=torch.int64, device=z.device)
        for book in range(used):
            found[book] = nearest(residual, self.codebooks[book])
            residual = residual - self.codebooks[book][found[book]]
        return found.reshape(books, *z.shape[:-1])

    def vectors(self, indices: Tensor) -> Tensor:
        """Return the sum of the entries; the order of addition is fixed."""
        total = self.codebooks[0][indices[0]]
        for codebook, row in zip(self.codebooks[1:], indices[1:], strict=True):
            total = total + codebook[row]
        return total


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the index of the entry nearest to each vector: `(N, D)`, `(M, D)` to `(N,)`."""
    halves = codebook.square().sum(1) / 2
    return torch.addmm(-halves, vectors, codebook.T).argmax(1)
