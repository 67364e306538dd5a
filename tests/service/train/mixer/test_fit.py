"""Training a mixer: the same every time, better than untrained, for text and for grids."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs.prior import Span
from omnicodec.codecs.prior.mixer import ByteModel, MixerPrior, Neighbour, Schema, text_schema
from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer.schema import GRID, MATCH, SYMBOL
from omnicodec.codecs.prior.mixer.state import initial_tensors
from omnicodec.service.train.mixer import MixerSettings, fit_mixer
from omnicodec.service.train.mixer.items import grid_item, text_item

SETTINGS = MixerSettings(counted=11, shipped=10, rates=((8, 2), (4, 1)))
WORDS = [
    "lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do",
]  # fmt: skip


def write(seed: int, length: int = 1500) -> bytes:
    pick = random.Random(seed)
    return " ".join(pick.choices(WORDS, k=length))[:length].encode()


SEEN = [text_item(write(seed)) for seed in range(6)]
HELD_OUT = [text_item(write(seed)) for seed in range(50, 54)]


@pytest.fixture(scope="module")
def fitted() -> tuple[dict[str, Any], list[dict[str, float]]]:
    rows: list[dict[str, float]] = []
    tensors = fit_mixer(
        text_schema(), SEEN, HELD_OUT, SETTINGS, lambda **values: rows.append(values)
    )
    return tensors, rows


def cost(schema: Schema, tensors: dict[str, Any]) -> float:
    """Return the bits per byte of texts that were never seen."""
    model = ByteModel(schema, tensors)
    return float(np.mean([model.surprisal(write(seed)).mean() for seed in range(90, 94)])) / 4096


def test_the_same_every_time(fitted: Any) -> None:
    again = fit_mixer(text_schema(), SEEN, HELD_OUT, SETTINGS, lambda **_: None)
    assert again.keys() == fitted[0].keys()
    for name, tensor in again.items():
        assert tensor.dtype == fitted[0][name].dtype
        assert np.array_equal(tensor, fitted[0][name]), name


def test_training_helps(fitted: Any) -> None:
    tensors, untrained = fitted[0], initial_tensors(text_schema())
    table_only = untrained | {"static": tensors["static"]}
    maps = untrained | {k: tensors[k] for k in ("static", "joint", "static_map", "state_map")}
    steps = [cost(text_schema(), each) for each in (untrained, table_only, maps, tensors)]
    assert min(steps) == steps[3]
    assert max(steps) == steps[0]
    assert steps[3] < 0.75 * steps[0]


def test_what_is_logged(fitted: Any) -> None:
    rows = fitted[1]
    assert [row["stage"] for row in rows] == [1, 2, 3, 3, 4]
    assert [row["rate"] for row in rows[2:4]] == [8, 4]
    assert 0 < rows[3]["bits_per_symbol"] < rows[2]["bits_per_symbol"] < 8
    assert rows[0]["buckets"] <= rows[4]["buckets"] <= 1 << SETTINGS.shipped


def test_tensors_are_in_range(fitted: Any) -> None:
    tensors = fitted[0]
    for name in ("joint", "static_map", "state_map"):
        assert abs(tensors[name].astype(int)).max() <= fmt.LOGIT_MAX
    assert abs(tensors["weights"].astype(int)).max() <= fmt.WEIGHT_MAX
    assert (tensors["weights"][:, text_schema().inputs :] == 0).all()
    assert 0 <= tensors["match_map"].min() <= tensors["match_map"].max() < fmt.ONE
    assert (tensors["static"][1:] <= 8 * fmt.LEVELS).all()
    # What was never seen says nothing.
    assert (tensors["static_map"][:, 0] == 0).all()
    assert (tensors["state_map"][:, 0] == 0).all()
    assert (tensors["joint"][:, 0] == 0).all()


def test_the_table_that_ships_has_seen_all_items() -> None:
    """Words of held-out items alone must be in it as well."""
    other = [text_item(b"quick brown fox jumps over the lazy dog " * 30)] * 3
    tensors = fit_mixer(text_schema(), SEEN, other, SETTINGS, lambda **_: None)
    model = ByteModel(text_schema(), tensors)
    bare = ByteModel(text_schema(), tensors | {"static": np.zeros((16, 0), np.uint8)})
    text = b"the lazy dog jumps"
    assert model.surprisal(text).sum() < 0.7 * bare.surprisal(text).sum()


def test_grids_of_several_codebooks() -> None:
    schema = Schema(
        features=GRID,
        bits=(6, 9),
        neighbours=(Neighbour(left=1), Neighbour(up=1), Neighbour(book=1)),
        contexts=((), (3,), (4,), (5,), (3, 4, 5)),
        parents=(-1, 0, 0, 0, 1),
        selectors=((MATCH, 0, 0), (SYMBOL, 0, 0)),
        refinements=((5,),),
        match=4,
    )

    def draw(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        first = np.cumsum(rng.random(180) < 0.2) * 11 % 50
        second = np.where(rng.random(180) < 0.9, first * 7, rng.integers(0, 400, 180))
        return np.stack([first, second]).astype(np.int32)

    grid = (12, 15)
    items = [grid_item(draw(seed), grid) for seed in range(12)]
    tensors = fit_mixer(schema, items[:8], items[8:], SETTINGS, lambda **_: None)
    prior = MixerPrior(schema, tensors, (50, 400))
    bare = MixerPrior(schema, initial_tensors(schema), (50, 400))
    span, ids = Span(grid, 0, 180), draw(77)
    code = prior.encode(ids, span)
    assert np.array_equal(prior.decode(code, span), ids)
    assert len(code) < 0.75 * len(bare.encode(ids, span))


def test_an_item_of_nothing() -> None:
    items = [*SEEN[:2], text_item(b"")]
    tensors = fit_mixer(text_schema(), items, items, SETTINGS, lambda **_: None)
    assert cost(text_schema(), tensors) < 8
    quick = replace(SETTINGS, rates=())
    assert fit_mixer(text_schema(), items, [], quick, lambda **_: None).keys() == tensors.keys()


def test_items() -> None:
    symbols, layout = text_item(b"\x00\xff")
    assert symbols.tolist() == [0, 255]
    assert layout.tolist() == [1, 0, 1, 2]
    ids = np.arange(12, dtype=np.int32).reshape(2, 6)
    symbols, layout = grid_item(ids, (2, 3))
    assert symbols.tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    assert layout.tolist() == [2, 0, 2, 3]
    assert grid_item(ids, (6,))[1].tolist() == [2, 0, 1, 6]
    assert grid_item(ids, (1, 2, 3))[1].tolist() == [2, 0, 2, 3]
