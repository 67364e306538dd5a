"""Embedding tables that grow with a vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from omnicodec.codecs.errors import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor

    from omnicodec.codecs.vocabulary.vocabulary import Vocabulary

# Rows that are drawn at once, which bounds memory.
_AT_ONCE: Final = 1 << 14


def grow_embeddings(
    weight: Tensor,
    old: Vocabulary | int,
    new: Vocabulary,
    *,
    multiple: int = 1,
    noise: float = 1e-5,
    seed: int = 0,
) -> Tensor:
    """Return a table with a row for each id of `new`, from one with a row for each of `old`.

    `weight` has shape `(rows, ...)`: input embeddings, those of an output layer, or its bias.
    `old` is the vocabulary that `new` was made from with `extend`, or how many ids the model has
    had so far (rows behind them are padding, and are not kept). Rows of old ids stay as they are;
    new ones are drawn from a normal distribution with the mean of the old rows and `noise` times
    their covariance (Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language
    Models"), so that they take next to nothing from the probability of the others. Their number is
    rounded up to a multiple of `multiple`. The result has the type and device of `weight`, no
    gradient, and is the same for the same `seed`.

    Raises `InvalidInput` where `new` does not go on from `old`, or `weight` has too few rows.
    """
    import torch

    kept = _ids_kept(old, new)
    if not 1 <= kept <= (weight.shape[0] if weight.ndim else 0):
        raise InvalidInput(f"a table of shape {tuple(weight.shape)} has no {kept:,} rows to keep")
    if multiple < 1 or noise < 0:
        raise InvalidInput("a multiple is 1 or more, and noise 0 or more")
    rows = -(-new.size // multiple) * multiple
    out = weight.detach().new_empty((rows, *weight.shape[1:]))
    out[:kept] = weight.detach()[:kept]
    known = out[:kept].reshape(kept, -1).to("cpu", torch.float64)
    mean = known.mean(0)
    root = _root(known - mean) * noise**0.5
    generator = torch.Generator().manual_seed(seed)
    for at in range(kept, rows, _AT_ONCE):
        count = min(_AT_ONCE, rows - at)
        drawn = torch.randn(count, mean.numel(), generator=generator, dtype=torch.float32)
        added = mean + (drawn @ root.T.to(torch.float32)).to(torch.float64)
        out[at : at + count] = added.reshape(count, *weight.shape[1:]).to(out)
    return out


def _ids_kept(old: Vocabulary | int, new: Vocabulary) -> int:
    if isinstance(old, int):
        if old > new.size:
            raise InvalidInput(f"{old:,} ids are more than the {new.size:,} of the vocabulary")
        return old
    same = old.entries == new.entries[: len(old.entries)] and old.tokenizer == new.tokenizer
    if not same:
        raise InvalidInput("the new vocabulary does not begin with the codecs of the old one")
    return old.size


def _root(centred: Tensor) -> Tensor:
    """Return a matrix R with R times its transpose the covariance of rows, `(D, D)`."""
    import torch

    covariance = centred.T @ centred / centred.shape[0]
    # Of fewer rows than columns the covariance is singular: a grain of the identity helps.
    grain = covariance.diagonal().mean().clamp(min=1e-30) * 1e-6
    covariance.diagonal().add_(grain)
    root: Tensor = torch.linalg.cholesky(covariance)
    return root
