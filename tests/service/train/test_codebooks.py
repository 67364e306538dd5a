"""Codebooks that are trained by moving averages find clusters and stay alive."""

from __future__ import annotations

import pytest
import torch

from omnicodec.models.audio.residual import ResidualQuantizer
from omnicodec.service.train.codebooks import CodebookTrainer, k_means


def error(quantizer: ResidualQuantizer, z: torch.Tensor, used: int) -> float:
    return float((quantizer(z, used) - z).square().mean())


@pytest.fixture
def clusters() -> torch.Tensor:
    torch.manual_seed(0)
    centres = torch.randn(15, 4) * 3
    return (centres[torch.randint(15, (600,))] + 0.1 * torch.randn(600, 4)).reshape(6, 100, 4)


def test_a_start_from_k_means_finds_clusters(clusters: torch.Tensor) -> None:
    quantizer = ResidualQuantizer(2, 32, 4)
    trainer = CodebookTrainer(quantizer, 0.9, 0.05)
    assert not trainer.started
    trainer.start(clusters.reshape(-1, 4), 0)
    assert trainer.started
    assert error(quantizer, clusters, 1) < 0.05 * float(clusters.square().mean())
    assert error(quantizer, clusters, 2) < error(quantizer, clusters, 1)
    assert not quantizer.codebooks[:, 0].any()


def test_entries_follow_what_chooses_them(clusters: torch.Tensor) -> None:
    quantizer = ResidualQuantizer(2, 32, 4)
    trainer = CodebookTrainer(quantizer, 0.8, 0.05)
    trainer.start(clusters.reshape(-1, 4), 0)
    moved = clusters * 0.7 + 1
    used = torch.full((6,), 2)
    before = error(quantizer, moved, 2)
    for step in range(60):
        trainer.quantize(moved, used, step if step % 5 == 0 else None)
    assert error(quantizer, moved, 2) < 0.3 * before
    assert not quantizer.codebooks[:, 0].any()


def test_dead_entries_come_back(clusters: torch.Tensor) -> None:
    quantizer = ResidualQuantizer(1, 32, 4)
    trainer = CodebookTrainer(quantizer, 0.8, 0.05)
    trainer.start(clusters.reshape(-1, 4), 0)
    quantizer.codebooks[0, 1:] += 1000.0  # all but zero are out of reach
    trainer.sums[0] = quantizer.codebooks[0] * trainer.counts[0][:, None]
    for step in range(80):
        trainer.quantize(clusters, torch.full((6,), 1), step)
    assert len(quantizer.indices(clusters, 1)[0].unique()) > 10


def test_each_clip_is_coded_with_its_own_number_of_books(clusters: torch.Tensor) -> None:
    quantizer = ResidualQuantizer(3, 8, 4)
    trainer = CodebookTrainer(quantizer, 0.99, 0.05)
    trainer.start(clusters.reshape(-1, 4), 0)
    used = torch.tensor([3, 0, 1, 2, 3, 1])
    expected = torch.stack(
        [quantizer(clip, int(n)) for clip, n in zip(clusters, used, strict=True)]
    )
    found = trainer.quantize(clusters, used)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not found[1].any()


def test_k_means_uses_every_entry(clusters: torch.Tensor) -> None:
    vectors = clusters.reshape(-1, 4)
    centres = k_means(vectors, 15, 0)
    found = torch.cdist(vectors, centres)
    assert len(found.argmin(1).unique()) == 15
    assert float(found.amin(1).square().mean()) < 0.2 * float(vectors.var(0).sum())
