"""Small trained mixers: over made-up text, and over grids of made-up codes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer import ByteModel, MixerPrior, Neighbour, Schema, text_schema
from omnicodec.codecs.prior.mixer.schema import FEATURE, FOUND, GRID, MATCH, SYMBOL
from omnicodec.service.train.mixer import MixerSettings, fit_mixer
from omnicodec.service.train.mixer.items import grid_item, text_item

Ids = NDArray[np.int32]
SETTINGS = MixerSettings(counted=12, shipped=10, rates=((5, 1),))


def quiet(**values: float) -> None:
    """Log nothing."""


def write_text(seed: int, length: int) -> bytes:
    """Return text of made-up words, the first of them the most frequent."""
    spell = random.Random(1)
    syllables = ["ka", "lo", "mi", "su", "ter", "an", "po", "\u00fc", "\u0448\u0430"]
    words = ["".join(spell.choices(syllables, k=spell.randint(1, 4))) for _ in range(120)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    pick = random.Random(seed)
    text = ""
    while len(text) < length:
        sentence = pick.choices(words, weights, k=pick.randint(3, 12))
        sentence.append(str(pick.randint(0, 999)))
        text += " ".join(sentence).capitalize() + pick.choice([". ", "! ", ".\n"])
    return text.encode()[:length]


@pytest.fixture(scope="session")
def text_of() -> Callable[[int, int], bytes]:
    """Return a function of a seed and a length that makes text like that of training."""
    return write_text


@pytest.fixture(scope="session")
def text_model() -> ByteModel:
    """Return a byte model of made-up text."""
    seen = [text_item(write_text(seed, 2000)) for seed in range(8)]
    held_out = [text_item(write_text(seed, 1000)) for seed in range(100, 104)]
    return ByteModel(text_schema(), fit_mixer(text_schema(), seen, held_out, SETTINGS, quiet))


@dataclass
class Kind:
    """A way to look at codes: a schema, and sizes of codebooks."""

    schema: Schema
    sizes: tuple[int, ...]

    def draw(self, grid: tuple[int, ...], seed: int) -> Ids:
        """Return codes `(K, N)`: often those of the position before, or a little more."""
        rng = np.random.default_rng(seed)
        ids = np.empty((len(self.sizes), int(np.prod(grid))), np.int32)
        for book, size in enumerate(self.sizes):
            steps = np.where(rng.random(ids.shape[1]) < 0.3, rng.integers(0, 9, ids.shape[1]), 0)
            ids[book] = np.cumsum(steps) * (book + 3) % size
        return ids


LEFT, UP = Neighbour(left=1), Neighbour(up=1)
KINDS = {
    "one book of 10 bits": Kind(
        Schema(
            features=GRID,
            bits=(10,),
            neighbours=(LEFT, UP, Neighbour(up=1, left=-1), Neighbour(left=1, shift=6)),
            contexts=((), (3,), (4,), (3, 4), (5, 2), (6, 1)),
            parents=(-1, 0, 0, 1, 0, -1),
            selectors=((MATCH, 0, 0), (SYMBOL, 0, 0), (FOUND, 0, 0), (FEATURE, 6, 5)),
            refinements=((6,), ()),
            match=4,
        ),
        (1000,),
    ),
    "three books of 3, 1 and 16 bits": Kind(
        Schema(
            features=GRID,
            bits=(3, 1, 16),
            neighbours=(LEFT, UP, Neighbour(back=1), Neighbour(book=1),
                        Neighbour(left=1, book=2, absolute=True, shift=12)),
            contexts=((), (0, 3), (3, 4), (5,), (6, 7)),
            parents=(-1, 0, 1, 0, 0),
            selectors=((SYMBOL, 0, 0), (FEATURE, 0, 2), (FEATURE, 2, 3)),
            refinements=((0,), (3,), (6,)),
            match=3,
        ),
        (6, 2, 40_000),
    ),
    "two books of 5 and 13 bits": Kind(
        Schema(
            features=GRID,
            bits=(5, 13),
            neighbours=(LEFT, Neighbour(left=2), Neighbour(book=1), Neighbour(back=1, up=1)),
            contexts=((3,), (3, 4), (5, 3), ()),
            parents=(3, 0, -1, -1),
            selectors=((FOUND, 0, 0), (MATCH, 0, 0)),
            refinements=((3,),),
            match=6,
        ),
        (17, 8191),
    ),
}  # fmt: skip


@dataclass
class GridModel:
    """A trained prior and the kind of codes that it knows."""

    prior: MixerPrior
    kind: Kind


@pytest.fixture(scope="session", params=KINDS)
def grid_model(request: pytest.FixtureRequest) -> GridModel:
    """Return mixers over one to three codebooks."""
    kind = KINDS[request.param]
    grid = (12, 20)
    seen = [grid_item(kind.draw(grid, seed), grid) for seed in range(6)]
    held_out = [grid_item(kind.draw(grid, seed), grid) for seed in range(50, 53)]
    tensors: dict[str, Any] = fit_mixer(kind.schema, seen, held_out, SETTINGS, quiet)
    return GridModel(MixerPrior(kind.schema, tensors, kind.sizes), kind)
