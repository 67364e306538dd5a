"""Embedding tables that grow with a vocabulary."""

from __future__ import annotations

import pytest
import torch

from omnicodec.codecs import InvalidInput, Vocabulary
from omnicodec.codecs.vocabulary import grow_embeddings

from .documents import AUDIO, FINE, TEXT

OLD = Vocabulary.build([TEXT, AUDIO])
NEW = OLD.extend(FINE)


def table(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(rows, width, generator=generator) @ torch.randn(
        width, width, generator=generator
    )
    return mixed + torch.arange(width)


def test_rows_are_kept_and_new_ones_are_near_the_mean() -> None:
    weight = table(OLD.size + 5, 8)
    weight[OLD.size :] = 1e6  # padding of the old table, which was never trained
    grown = grow_embeddings(weight, OLD, NEW, multiple=64)
    assert grown.shape == (-(-NEW.size // 64) * 64, 8)
    assert torch.equal(grown[: OLD.size], weight[: OLD.size])
    mean = weight[: OLD.size].mean(0)
    assert torch.allclose(grown[OLD.size :], mean.expand_as(grown[OLD.size :]), atol=0.1)
    assert grown[OLD.size :].unique(dim=0).shape[0] == grown.shape[0] - OLD.size


def test_new_rows_have_the_covariance_of_the_old() -> None:
    text = Vocabulary.build([TEXT])
    weight = table(256, 4)
    grown = grow_embeddings(weight, 256, text, multiple=100_000, noise=1.0)
    wanted = torch.cov(weight.T, correction=0)
    assert torch.allclose(torch.cov(grown[256:].T), wanted, atol=0.03 * float(wanted.max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_type_is_kept_and_the_same_seed_gives_the_same_rows(dtype: torch.dtype) -> None:
    weight = torch.nn.Parameter(table(256, 6).to(dtype))
    grown = grow_embeddings(weight, 256, OLD, seed=3)
    assert grown.dtype == dtype
    assert not grown.requires_grad
    assert torch.equal(grown, grow_embeddings(weight, 256, OLD, seed=3))
    assert not torch.equal(grown, grow_embeddings(weight, 256, OLD, seed=4))
    assert torch.equal(grown[:256], weight)


def test_no_noise_biases_and_fewer_rows_than_columns() -> None:
    weight = table(256, 3)
    grown = grow_embeddings(weight, 256, OLD, noise=0)
    assert torch.allclose(grown[256:], weight.mean(0).expand(grown.shape[0] - 256, 3))
    bias = grow_embeddings(torch.arange(256.0), 256, OLD)
    assert bias.shape == (OLD.size,)
    assert bias[300] == pytest.approx(127.5, abs=2)
    wide = grow_embeddings(table(2, 40), 2, OLD)
    assert wide.isfinite().all()
    same = grow_embeddings(torch.zeros(4, 5), 4, OLD)
    assert same.abs().max() < 1e-6


def test_a_loss_goes_on_where_it_was() -> None:
    """The grown output layer gives its new ids little more than one average id each."""
    weight = table(256, 8)
    hidden = torch.randn(50, 8, generator=torch.Generator().manual_seed(1)) / 8
    grown = grow_embeddings(weight, 256, Vocabulary.build([TEXT]))
    before = torch.logsumexp(hidden @ weight.T, 1)
    after = torch.logsumexp(hidden @ grown.T, 1)
    rows = torch.tensor(grown.shape[0] / 256.0)
    assert (after - before).max() <= rows.log() + 0.05


def test_what_does_not_go_on_is_refused() -> None:
    weight = table(OLD.size, 2)
    other = Vocabulary.build([TEXT, FINE, AUDIO])
    with pytest.raises(InvalidInput, match="does not begin with"):
        grow_embeddings(weight, OLD, other)
    with pytest.raises(InvalidInput, match="no 1,839 rows"):
        grow_embeddings(weight[:-1], OLD, NEW)
    with pytest.raises(InvalidInput, match="more than the"):
        grow_embeddings(weight, NEW.size + 1, NEW)
    with pytest.raises(InvalidInput, match="no 0 rows"):
        grow_embeddings(weight, 0, NEW)
    with pytest.raises(InvalidInput, match="multiple"):
        grow_embeddings(weight, OLD, NEW, multiple=0)
