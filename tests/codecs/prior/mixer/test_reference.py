"""The compiled mixer against the plain one: the same bytes, surprisals and states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from omnicodec.codecs import CorruptStream
from omnicodec.codecs.prior import Span
from omnicodec.codecs.prior.mixer import ByteModel, MixerPrior, Neighbour, Schema, kernel
from omnicodec.codecs.prior.mixer import reference_coder as plain
from omnicodec.codecs.prior.mixer.prior import NO_EXTRA
from omnicodec.codecs.prior.mixer.reference import Item
from omnicodec.codecs.prior.mixer.schema import FEATURE, GRID, MATCH
from omnicodec.codecs.prior.mixer.state import (
    MATCH_AT,
    MATCH_LENGTH,
    State,
    initial_tensors,
    open_state,
)

ANY = [
    b"",
    b"\0",
    b"\xff\xfe\xfd" * 9,
    bytes(range(0, 256, 2)),
    "Łódź, 東京, São Paulo: 1, 2, 3; caf\u00e9s. ".encode(),
]


def item(model: MixerPrior, span: Span, *, known: bool = True) -> Item:
    """Return the plain mixer at the start of a span, whose length is known or not."""
    symbols = len(span) * len(model.schema.bits)
    return Item(model.schema, model.tensors, span, symbols if known else None)


def assert_same_state(state: State, expected: Item) -> None:
    assert state.table.tobytes() == bytes(expected.table.content)
    assert state.weights.tolist() == [w for row in expected.weights for w in row]
    assert state.final.tolist() == [w for row in expected.final for w in row]
    assert state.refined.tolist() == [p for steps in expected.refined for p in steps]
    assert state.match_map.tolist() == expected.match_map
    assert state.history.tolist() == expected.history
    assert state.features.tolist() == expected.features
    at, length = state.registers[[MATCH_AT, MATCH_LENGTH]].tolist()
    assert (at if at >= 0 else None, length) == (expected.match, expected.match_length)


def texts(text_of: Callable[[int, int], bytes]) -> list[bytes]:
    repeated = text_of(200, 130)
    return [*ANY, text_of(201, 150), repeated + b"\n" + repeated]


def test_text(text_model: ByteModel, text_of: Callable[[int, int], bytes]) -> None:
    for text in texts(text_of):
        span = Span((len(text),), 0, len(text))
        ids = np.frombuffer(text, np.uint8).astype(np.int32)[None]
        expected = item(text_model, span)
        code = plain.encode(expected, text)
        assert MixerPrior.encode(text_model, ids, span) == code
        if len(text) < 200:
            assert plain.decode(item(text_model, span), code, len(text)) == list(text)
        state = open_state(text_model.schema, text_model.tensors, len(text))
        surprisal = np.zeros(len(text), np.int32)
        text_model.run(state, ids[0], span, kernel.MEASURE, surprisal=surprisal)
        assert_same_state(state, expected)
        assert surprisal.tolist() == plain.surprisal(item(text_model, span), text)


def test_information_of_text(text_model: ByteModel, text_of: Callable[[int, int], bytes]) -> None:
    for text in texts(text_of)[::2]:
        span = Span((len(text),), 0, len(text))

        def begin(span: Span = span) -> Item:
            return item(text_model, span, known=False)

        assert text_model.surprisal(text).tolist() == plain.surprisal(begin(), text)
        assert text_model.nibble_entropy(text).tolist() == plain.entropy(begin(), text)
        windows = plain.to_windows(begin(), text)
        assert text_model.to_windows(text).tolist() == windows
        if text:
            assert plain.from_windows(begin(), windows) == text


@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(0, 2**16 - 1), min_size=2, max_size=6))
def test_windows_that_nobody_wrote(text_model: ByteModel, windows: list[int]) -> None:
    expected = plain.from_windows(item(text_model, Span((0,), 0, 0), known=False), windows)
    assert text_model.from_windows(np.array(windows, np.int32), 1 << 20) == expected


@pytest.mark.parametrize(
    ("grid", "start"), [((90,), 0), ((90,), 17), ((9, 11), 0), ((9, 11), 30), ((3, 6, 7), 50)]
)
def test_grids(grid_model: Any, grid: tuple[int, ...], start: int) -> None:
    prior, kind = grid_model.prior, grid_model.kind
    everything = kind.draw(grid, 7)
    ids = everything[:, start:]
    span = Span(grid, start, everything.shape[1])
    symbols = ids.T.reshape(-1)
    expected = item(prior, span)
    code = plain.encode(expected, symbols.tolist())
    assert prior.encode(ids, span) == code
    assert plain.decode(item(prior, span), code, symbols.size) == symbols.tolist()
    state = open_state(prior.schema, prior.tensors, symbols.size)
    surprisal = np.zeros(symbols.size, np.int32)
    prior.run(state, symbols.copy(), span, kernel.MEASURE, surprisal=surprisal)
    assert_same_state(state, expected)
    assert surprisal.tolist() == plain.surprisal(item(prior, span), symbols.tolist())


NEIGHBOURS = st.builds(
    Neighbour,
    back=st.integers(0, 2),
    up=st.integers(-1, 2),
    left=st.integers(-2, 3),
    book=st.integers(-1, 2),
    absolute=st.booleans(),
    shift=st.integers(0, 5),
)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """Return any schema of a grid, with few rows."""
    neighbours = tuple(draw(st.lists(NEIGHBOURS, max_size=4)))
    term = st.integers(3, max(3, 2 + len(neighbours)))
    sums = st.lists(st.lists(term, max_size=3).map(tuple), max_size=2)
    added = tuple(draw(sums)) if neighbours else ()
    feature = st.integers(0, 2 + len(neighbours) + len(added))
    context = st.lists(feature, max_size=3).map(tuple)
    contexts = tuple(draw(st.lists(context, min_size=1, max_size=5)))
    selector = st.one_of(
        st.tuples(st.integers(0, 2), st.just(0), st.just(0)),
        st.tuples(st.just(FEATURE), feature, st.integers(0, 4)),
    )
    rate = draw(st.integers(0, 12))
    return Schema(
        features=GRID,
        bits=tuple(draw(st.lists(st.integers(1, 16), min_size=1, max_size=3))),
        contexts=contexts,
        parents=(-1,) * len(contexts),
        selectors=tuple(draw(st.lists(selector, min_size=1, max_size=3))),
        refinements=tuple(draw(st.lists(context, min_size=1, max_size=2))),
        neighbours=neighbours,
        sums=added,
        match=draw(st.integers(1, 4)),
        rate=rate,
        final_rate=draw(st.integers(0, 5)),
        boost=draw(st.integers(0, 255 - rate)),
        extra=draw(st.booleans()),
    )


def random_tensors(schema: Schema, seed: int) -> dict[str, NDArray[Any]]:
    """Return tensors that use all of their range, far from what training gives."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[Any]] = initial_tensors(schema)
    for name, limit in (("joint", 2047), ("static_map", 2047), ("state_map", 2047),
                        ("weights", (1 << 19) - 1), ("final", 1 << 18)):  # fmt: skip
        shape, dtype = tensors[name].shape, tensors[name].dtype
        tensors[name] = rng.integers(-limit, limit + 1, shape).astype(dtype)
    for name in ("refined", "match_map"):
        tensors[name] = rng.integers(0, 65536, tensors[name].shape).astype(tensors[name].dtype)
    tensors["static"] = rng.integers(0, 249, (16, 1 << 12), np.uint8)
    tensors["static"][0] = rng.integers(0, 40, 1 << 12)
    return tensors


class Given:
    """An advisor that says what it was given, whatever the symbols are."""

    fingerprint = "0123456789abcdef"

    def __init__(self, rows: NDArray[np.int32]) -> None:
        self.rows = rows

    def log_odds(self, symbols: NDArray[np.int32], span: Span) -> NDArray[np.int32]:
        return self.rows

    def open(self, span: Span) -> Given:
        return self

    def next(self, known: NDArray[np.int32]) -> NDArray[np.int32]:
        row: NDArray[np.int32] = self.rows[len(known)]
        return row


@settings(deadline=None, max_examples=20)
@given(schemas(), st.integers(0, 2**32 - 1), st.data())
def test_any_schema(schema: Schema, seed: int, data: st.DataObject) -> None:
    grid = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3), label="grid"))
    positions = int(np.prod(grid))
    span = Span(grid, data.draw(st.integers(0, positions - 1), label="start"), positions)
    rng = np.random.default_rng(seed)
    sizes = [1 << bits for bits in schema.bits]
    ids = np.stack([rng.integers(0, size, len(span)) for size in sizes]).astype(np.int32)
    ids[:, rng.random(len(span)) < 0.5] = 1  # so that there are matches
    symbols = np.ascontiguousarray(ids.T).reshape(-1)
    rows = rng.integers(-3000, 3000, (symbols.size, max(sizes) - 1)).astype(np.int32)
    advice = rows.tolist()
    advise = (lambda known: advice[len(known)]) if schema.extra else None
    tensors = random_tensors(schema, seed)
    prior = MixerPrior(schema, tensors, sizes, Given(rows) if schema.extra else None)

    expected = item(prior, span)
    code = plain.encode(expected, symbols.tolist(), advise)
    assert prior.encode(ids, span) == code
    assert np.array_equal(prior.decode(code, span), ids)
    assert plain.decode(item(prior, span), code, symbols.size, advise) == symbols.tolist()
    state = open_state(schema, tensors, symbols.size)
    surprisal = np.zeros(symbols.size, np.int32)
    extra = rows if schema.extra else NO_EXTRA
    prior.run(state, symbols, span, kernel.MEASURE, surprisal=surprisal, extra=extra)
    assert_same_state(state, expected)
    assert surprisal.tolist() == plain.surprisal(item(prior, span), symbols.tolist(), advise)


def test_sums_wrap_around() -> None:
    """More inputs at their limits than 32 bits hold: absurd, but still the same everywhere."""
    schema = Schema(
        features=GRID,
        bits=(4,),
        contexts=((),) * 32,
        parents=(-1,) * 32,
        selectors=((MATCH, 0, 0),),
        refinements=((),),
    )
    tensors = random_tensors(schema, 1)
    for name, limit in (("joint", 2047), ("static_map", 2047), ("state_map", 2047)):
        tensors[name][:] = limit
    tensors["weights"][:] = (1 << 19) - 1
    tensors["final"][:] = 1 << 16
    prior, span = MixerPrior(schema, tensors, (16,)), Span((9,), 0, 9)
    symbols = np.array([15, 0, 7, 7, 7, 1, 2, 15, 15], np.int32)
    expected = item(prior, span)
    assert prior.encode(symbols[None], span) == plain.encode(expected, symbols.tolist())
    state = open_state(schema, tensors, 9)
    prior.run(state, symbols, span, kernel.MEASURE)
    assert_same_state(state, expected)


def test_both_refuse_the_same_codes(text_model: ByteModel) -> None:
    rng = np.random.default_rng(3)
    span = Span((8,), 0, 8)
    for _ in range(16):
        code = rng.bytes(int(rng.integers(0, 14)))
        try:
            expected = plain.decode(item(text_model, span), code, 8)
        except CorruptStream:
            with pytest.raises(CorruptStream):
                MixerPrior.decode(text_model, code, span)
        else:
            assert MixerPrior.decode(text_model, code, span).tolist() == [expected]
