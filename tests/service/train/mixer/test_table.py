"""The static table: counted as it should be, and pruned to what says most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer import Schema, text_schema
from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer.kernel import context_hashes, static_bucket
from omnicodec.codecs.prior.mixer.reference import Buckets, hash2, hashed
from omnicodec.codecs.prior.mixer.schema import MATCH
from omnicodec.codecs.prior.mixer.state import initial_tensors, model
from omnicodec.codecs.prior.mixer.text import LAST1
from omnicodec.service.train.mixer.items import Items, text_item
from omnicodec.service.train.mixer.table import build, codes, prune

SCHEMA = Schema(
    features="text",
    bits=(8,),
    contexts=((), (LAST1,)),
    parents=(-1, 0),
    selectors=((MATCH, 0, 0),),
    refinements=((),),
)
ALTERNATING = b"a1b2" * 300


def built(items: Items, counted: int = 10, shipped: int = 9, schema: Schema = SCHEMA) -> Any:
    bare = model(schema, initial_tensors(schema))
    return build(bare, schema.parents, items, counted, shipped)


def found(table: NDArray[np.uint8], h: int) -> list[int] | None:
    """Return the bucket of a hash, as the codec looks it up."""
    buckets = Buckets(bytearray(table.T.tobytes()))
    place = buckets.find(h)
    assert (-1 if place is None else place) == static_bucket(table.T.reshape(-1), h)
    return None if place is None else list(buckets.content[place : place + fmt.BUCKET])


def level(code: int) -> int:
    """Return the level of log-odds of a code, 0 for even odds."""
    return (code - 1) % fmt.LEVELS - fmt.LEVELS // 2


def test_what_always_follows_is_known() -> None:
    table = built([text_item(ALTERNATING)])
    after_a = hashed([ord("a")], 2)
    high, low = found(table, hash2(after_a, 1)), found(table, hash2(after_a, 0b1_0011))
    assert high is not None
    assert low is not None
    path, node = [], 1
    for bit in (0, 0, 1, 1):  # of 0x31, "1"
        path.append((high[node], bit))
        node = node * 2 + bit
    node = 1
    for bit in (0, 0, 0, 1):
        path.append((low[node], bit))
        node = node * 2 + bit
    assert all((level(code) > 0) == bool(bit) for code, bit in path)
    assert all(abs(level(code)) > 8 for code, _ in path)
    assert all((code - 1) // fmt.LEVELS == len(fmt.CONFIDENCES) - 1 for code, _ in path)
    assert high[2 + 1] == 0  # no byte above 127 came: nothing is known of one


def test_what_was_never_seen_is_not_there() -> None:
    table = built([text_item(ALTERNATING)])
    assert found(table, hash2(hashed([ord("z")], 2), 1)) is None
    assert (built([]) == 0).all()


def test_a_context_must_say_more_than_its_parent() -> None:
    """Of one repeated letter, order 0 says it all."""
    table = built([text_item(b"a" * 900)])
    assert found(table, hash2(hashed([], 1), 1)) is not None
    assert found(table, hash2(hashed([ord("a")], 2), 1)) is None


def test_hashes_are_those_of_the_kernel() -> None:
    bare = model(SCHEMA, initial_tensors(SCHEMA))
    features, hashes = np.arange(5, 20), np.zeros(2, np.int64)
    context_hashes(bare.contexts, features, 0, hashes)
    assert hashes.tolist() == [1, hashed([5], 2)]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(0, 3), st.integers(1, 3))
def test_the_largest_gains_are_kept(seed: int, shipped: int, more: int, contexts: int) -> None:
    counted = shipped + more
    rng = np.random.default_rng(seed)
    buckets = contexts << counted
    nodes = np.full((buckets, fmt.BUCKET), 1 << 31, np.uint32)
    nodes[:, 0] = rng.integers(1, 256, buckets)
    nodes[:, 1] = np.arange(buckets) << 12 | 5  # a probability that tells buckets apart
    gain = rng.permutation(buckets).astype(np.float32) / 8
    table = prune(nodes, gain, counted, shipped).T
    kept = table[:, 0] != 0
    per_set = kept.reshape(-1, fmt.WAYS)
    for index in range(1 << (shipped - 2)):
        places = np.arange(buckets) & ((1 << shipped) - 1)
        mine = np.flatnonzero((places // fmt.WAYS == index) & (gain > 3.0))
        best = mine[np.argsort(-gain[mine])][: fmt.WAYS]
        expected = codes(nodes[best])
        ours = table[index * fmt.WAYS : (index + 1) * fmt.WAYS]
        assert per_set[index].sum() == len(best)
        assert ours[: len(best)].tolist() == expected.tolist()
        assert (ours[len(best) :] == 0).all()


def test_codes_of_counts() -> None:
    nodes = np.full((1, fmt.BUCKET), 1 << 31, np.uint32)
    nodes[0, 0] = 77
    for k, count in enumerate((1, 2, 3, 4, 7, 13, 31, 101), 1):
        nodes[0, k] = (1 << 31) | count
    nodes[0, 9] = (((1 << 22) - 1) << 10) | 12
    nodes[0, 10] = 12
    (coded,) = codes(nodes).tolist()
    middle = 1 + fmt.LEVELS // 2
    assert coded[0] == 77
    assert coded[1:9] == [middle + fmt.LEVELS * confidence for confidence in range(8)]
    assert coded[9] == 1 + 4 * fmt.LEVELS + fmt.LEVELS - 1
    assert coded[10] == 1 + 4 * fmt.LEVELS
    assert coded[11:] == [0] * 5


@pytest.mark.parametrize(("counted", "shipped"), [(8, 8), (11, 8), (12, 10)])
def test_sizes(counted: int, shipped: int) -> None:
    table = built([text_item(ALTERNATING)], counted, shipped, text_schema())
    assert table.shape == (fmt.BUCKET, 1 << shipped)
    assert table.dtype == np.uint8
    assert table.max() <= len(fmt.CONFIDENCES) * fmt.LEVELS or (table[1:] <= 248).all()
