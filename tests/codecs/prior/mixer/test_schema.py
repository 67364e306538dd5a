"""What schemas there are, and how they are written down."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from omnicodec.codecs.prior.mixer import Neighbour, Schema, text_schema
from omnicodec.codecs.prior.mixer.schema import FEATURE, FOUND, GRID, MATCH, SYMBOL

CODES = Schema(
    features=GRID,
    bits=(10, 1, 16, 4),
    neighbours=(Neighbour(left=1), Neighbour(up=1, book=1, absolute=True, shift=3)),
    contexts=((), (3,), (3, 4)),
    parents=(-1, 0, 1),
    selectors=((MATCH, 0, 0), (SYMBOL, 0, 0), (FOUND, 0, 0), (FEATURE, 4, 5)),
    refinements=((0,),),
    extra=True,
)


@pytest.mark.parametrize(
    "schema", [CODES, replace(CODES, sums=((3, 4), ())), text_schema(), text_schema(extra=True)]
)
def test_schemas_are_written_and_read(schema: Schema) -> None:
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_schemas_without_sums_are_written_as_before() -> None:
    """Their fingerprints, which streams carry, depend on it."""
    assert "sums" not in text_schema().to_json()
    assert replace(CODES, sums=((3, 4),)).to_json()["sums"] == ((3, 4),)


def test_symbols_are_cut_into_groups_of_four_bits_at_most() -> None:
    assert [CODES.groups(book) for book in range(4)] == [[2, 4, 4], [1], [4] * 4, [4]]
    assert text_schema().groups(0) == [4, 4]


def test_sizes() -> None:
    assert CODES.inputs == 3 * 3 + 3
    assert CODES.row == 16
    assert replace(CODES, extra=False, contexts=((),) * 5, parents=(-1,) * 5).row == 32
    assert CODES.selector_rows() == [32, 4 * 320, 16, 32]
    assert CODES.feature_count == 5
    assert replace(CODES, sums=((3, 4), ())).feature_count == 7
    assert text_schema().feature_count == 15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contexts": (), "parents": ()}, "1 to 32"),
        ({"contexts": ((),) * 33, "parents": (-1,) * 33}, "1 to 32"),
        ({"selectors": ()}, "1 to 32"),
        ({"refinements": ()}, "1 to 32"),
        ({"parents": (-1, 0)}, "1 to 32"),
        ({"bits": ()}, "1 to 16 bits"),
        ({"bits": (8, 0)}, "1 to 16 bits"),
        ({"bits": (17,)}, "1 to 16 bits"),
        ({"features": "music"}, "features are"),
        ({"features": "text"}, "features are"),
        ({"contexts": ((), (3,), (5,))}, "features are 0 to 4"),
        ({"contexts": ((), (-1,), (3,))}, "features are 0 to 4"),
        ({"refinements": ((5,),)}, "features are 0 to 4"),
        ({"selectors": ((FEATURE, 5, 2),)}, "features are 0 to 4"),
        ({"selectors": ((4, 0, 0),)}, "selector"),
        ({"selectors": ((-1, 0, 0),)}, "selector"),
        ({"selectors": ((FEATURE, 0, 17),)}, "selector"),
        ({"selectors": ((FEATURE, 0, -1),)}, "selector"),
        ({"neighbours": (Neighbour(left=1),) * 61}, "60 neighbours"),
        ({"neighbours": (Neighbour(left=1),) * 60, "sums": ((3,),)}, "a sum"),
        ({"sums": ((2,),)}, "a sum"),
        ({"sums": ((5,),)}, "a sum"),
        ({"neighbours": (Neighbour(left=1), Neighbour(shift=-1))}, "neighbours"),
        ({"neighbours": (Neighbour(left=1), Neighbour(shift=17))}, "neighbours"),
        ({"neighbours": (Neighbour(left=1), Neighbour(back=1 << 40))}, "neighbours"),
        ({"parents": (-1, 0, 3)}, "parent"),
        ({"parents": (-2, 0, 0)}, "parent"),
        ({"match": 0}, "match"),
        ({"match": 33}, "match"),
        ({"rate": -1}, "rates"),
        ({"rate": 250, "boost": 6}, "rates"),
        ({"final_rate": 256}, "rates"),
    ],
)
def test_what_is_no_schema_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CODES, **change)
