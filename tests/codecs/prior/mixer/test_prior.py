"""The mixer as a prior: any codes come back, and any bytes are codes or refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from omnicodec.codecs import CorruptStream, InvalidInput
from omnicodec.codecs.prior import Span
from omnicodec.codecs.prior.mixer import ByteModel, MixerPrior, Neighbour, Schema, kernel
from omnicodec.codecs.prior.mixer.schema import FEATURE, GRID, MATCH, SYMBOL
from omnicodec.codecs.prior.mixer.state import TOUCHED, initial_tensors, open_state
from omnicodec.models import exact

Ids = NDArray[np.int32]
GRIDS = st.lists(st.integers(1, 12), min_size=1, max_size=3).map(tuple)


@settings(deadline=None, max_examples=60)
@given(GRIDS, st.integers(0, 2**32 - 1), st.data())
def test_codes_come_back(
    grid_model: Any, grid: tuple[int, ...], seed: int, data: st.DataObject
) -> None:
    everything = grid_model.kind.draw(grid, seed)
    start = data.draw(st.integers(0, everything.shape[1]))
    stop = data.draw(st.integers(start, everything.shape[1]))
    ids, span = everything[:, start:stop], Span(grid, start, stop)
    back = grid_model.prior.decode(grid_model.prior.encode(ids, span), span)
    assert back.dtype == np.int32
    assert np.array_equal(back, ids)


def test_random_codes_come_back(grid_model: Any) -> None:
    """Codes of their own largest size, which no model can shorten."""
    rng = np.random.default_rng(2)
    sizes = np.array(grid_model.kind.sizes)[:, None]
    ids = rng.integers(0, sizes, (len(sizes), 400)).astype(np.int32)
    ids[:, :20] = sizes - 1
    span = Span((20, 20), 0, 400)
    code = grid_model.prior.encode(ids, span)
    assert np.array_equal(grid_model.prior.decode(code, span), ids)
    # A model of other codes loses, but not more than it takes to learn that.
    assert 8 * len(code) < 1.6 * 400 * np.log2(sizes).sum()


def test_what_is_known_of_codes_makes_them_shorter(grid_model: Any) -> None:
    kind, grid = grid_model.kind, (12, 20)
    span = Span(grid, 0, 240)
    bare = MixerPrior(kind.schema, initial_tensors(kind.schema), kind.sizes)
    pairs = [
        (len(grid_model.prior.encode(ids, span)), len(bare.encode(ids, span)))
        for ids in (kind.draw(grid, seed) for seed in range(70, 75))
    ]
    trained, untrained = np.sum(pairs, 0)
    assert trained < 0.9 * untrained


def test_first_codebooks_come_back_alone(grid_model: Any) -> None:
    kind, span = grid_model.kind, Span((12, 20), 0, 240)
    ids = kind.draw((12, 20), 4)
    sizes = []
    for books in range(1, len(kind.sizes) + 1):
        code = grid_model.prior.encode(ids[:books], span)
        assert np.array_equal(grid_model.prior.decode_first(code, span, books), ids[:books])
        sizes.append(len(code))
    assert sizes == sorted(sizes)
    wrong = np.full((1, 240), kind.sizes[0], np.int32)
    with pytest.raises(InvalidInput):
        grid_model.prior.encode(wrong, span)


@pytest.mark.parametrize("grid", [(0,), (0, 5), (5, 0), (0, 0, 0)])
def test_nothing_is_coded_as_nothing(grid_model: Any, grid: tuple[int, ...]) -> None:
    empty = np.zeros((len(grid_model.kind.sizes), 0), np.int32)
    span = Span(grid, 0, 0)
    assert grid_model.prior.encode(empty, span) == b""
    assert grid_model.prior.decode(b"", span).shape == empty.shape


def test_ids_may_be_read_only_and_of_any_layout(grid_model: Any) -> None:
    ids = grid_model.kind.draw((6, 6), 3)
    span = Span((6, 6), 0, 36)
    code = grid_model.prior.encode(ids, span)
    ids.flags.writeable = False
    wide = np.repeat(ids, 2, 1)[:, ::2]
    assert grid_model.prior.encode(ids, span) == code
    assert grid_model.prior.encode(np.asfortranarray(ids), span) == code
    assert grid_model.prior.encode(wide, span) == code


def test_a_grid_of_four_axes_is_refused(grid_model: Any) -> None:
    ids = np.zeros((len(grid_model.kind.sizes), 16), np.int32)
    with pytest.raises(InvalidInput, match="rank 4"):
        grid_model.prior.encode(ids, Span((2, 2, 2, 2), 0, 16))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=40), GRIDS, st.data())
def test_any_bytes_decode_or_are_refused(
    grid_model: Any, code: bytes, grid: tuple[int, ...], data: st.DataObject
) -> None:
    total = int(np.prod(grid))
    start = data.draw(st.integers(0, total))
    span = Span(grid, start, data.draw(st.integers(start, total)))
    try:
        ids = grid_model.prior.decode(code, span)
    except CorruptStream:
        return
    assert ids.shape == (len(grid_model.kind.sizes), len(span))
    assert ids.min(initial=0) >= 0
    assert (ids < np.array(grid_model.kind.sizes)[:, None]).all()


def test_damaged_codes_end_in_codes_or_are_refused(grid_model: Any) -> None:
    grid = (12, 12)
    span = Span(grid, 0, 144)
    ids = grid_model.kind.draw(grid, 5)
    code = grid_model.prior.encode(ids, span)
    rng = np.random.default_rng(4)
    sizes = np.array(grid_model.kind.sizes)[:, None]
    refused = 0
    for _ in range(60):
        damaged = bytearray(code)
        damaged[rng.integers(0, len(code))] ^= 1 << rng.integers(0, 8)
        cut = code[: rng.integers(0, len(code) - 8)]
        longer = code + rng.bytes(int(rng.integers(5, 40)))
        for bad in (bytes(damaged), cut):
            try:
                assert (grid_model.prior.decode(bad, span) < sizes).all()
            except CorruptStream:
                refused += 1
        with pytest.raises(CorruptStream):
            grid_model.prior.decode(longer, span)
    assert refused > 20


def test_a_few_bytes_are_not_millions_of_codes(grid_model: Any) -> None:
    """Behind their end codes are zeros, and the first five of them end it."""
    span = Span((1 << 12, 1 << 12), 0, 1 << 22)
    begun = time.process_time()
    for code in (b"", b"\0", b"\0" * 12, b"\xff" * 12, bytes(range(99, 120))):
        with pytest.raises(CorruptStream):
            grid_model.prior.decode(code, span)
    # Each could end after a hundred thousand codes; millions would take minutes.
    assert time.process_time() - begun < 20


def test_pieces_are_one_run(grid_model: Any) -> None:
    prior, kind = grid_model.prior, grid_model.kind
    ids = kind.draw((5, 40), 8)
    span = Span((5, 40), 0, 200)
    symbols = np.ascontiguousarray(ids.T).reshape(-1)
    code = prior.encode(ids, span)
    state = open_state(prior.schema, prior.tensors, symbols.size)
    buffer, surprisal = np.zeros(len(code) + 8, np.uint8), np.zeros(symbols.size, np.int32)
    at = 0
    for size in (1, 0, 7, 100, symbols.size):
        stop = min(at + size, symbols.size)
        done = prior.run(
            state, symbols, span, kernel.ENCODE, at, stop, buffer=buffer, surprisal=surprisal
        )
        assert done == stop
        at = stop
    whole = open_state(prior.schema, prior.tensors, symbols.size)
    expected = np.zeros(symbols.size, np.int32)
    again = np.zeros(len(code) + 8, np.uint8)
    prior.run(whole, symbols, span, kernel.ENCODE, buffer=again, surprisal=expected)
    assert np.array_equal(surprisal, expected)
    assert np.array_equal(buffer, again)
    for ours, theirs in zip(state[:-1], whole[:-1], strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(state.registers[:TOUCHED], whole.registers[:TOUCHED])


def test_surprisal_is_what_the_code_costs(text_model: ByteModel, text_of: Any) -> None:
    text = text_of(300, 4000)
    ids = np.frombuffer(text, np.uint8).astype(np.int32)[None]
    span = Span((len(text),), 0, len(text))
    state = open_state(text_model.schema, text_model.tensors, len(text))
    surprisal = np.zeros(len(text), np.int32)
    text_model.run(state, ids[0], span, kernel.MEASURE, surprisal=surprisal)
    bits = surprisal.sum() / 4096
    assert bits - 8 < 8 * len(MixerPrior.encode(text_model, ids, span)) < bits + 40


def test_threads_do_not_meet(grid_model: Any) -> None:
    grid = (10, 10)
    items = [grid_model.kind.draw(grid, seed) for seed in range(24)]
    span = Span(grid, 0, 100)
    alone = [grid_model.prior.encode(ids, span) for ids in items]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda ids: grid_model.prior.encode(ids, span), items)) == alone
        back = pool.map(lambda code: grid_model.prior.decode(code, span), alone)
        assert all(np.array_equal(a, b) for a, b in zip(back, items, strict=True))


def test_a_buffer_that_is_too_short_is_full(grid_model: Any) -> None:
    ids = grid_model.kind.draw((9, 9), 1)
    symbols, span = np.ascontiguousarray(ids.T).reshape(-1), Span((9, 9), 0, 81)
    code = grid_model.prior.encode(ids, span)
    for room in (0, 1, len(code) - 1):
        assert grid_model.prior.encode_within(symbols.copy(), span, room) is None
    assert grid_model.prior.encode_within(symbols, span, len(code)) == code


class Bigrams:
    """An exact network that knows which code follows which, as an advisor."""

    def __init__(self, following: Callable[[int], int], codes: int) -> None:
        embedding = exact.Embedding([codes + 1], codes, 16)
        embedding.shift.fill_(-3)
        embedding.weight.fill_(-60)
        for code in range(codes):
            embedding.weight[code + 1, following(code)] = 100
        self.network = exact.Network([embedding])
        self.fingerprint = self.network.fingerprint()

    def log_odds(self, symbols: Ids, span: Span) -> Ids:
        before = np.concatenate([[0], symbols[:-1] + 1])
        return exact.log_odds(self.network(torch.from_numpy(before)[None]))[0].numpy()

    def open(self, span: Span) -> BigramSteps:
        return BigramSteps(exact.Stepper(self.network))


class BigramSteps:
    """The same, step by step."""

    def __init__(self, stepper: exact.Stepper) -> None:
        self.stepper = stepper

    def next(self, known: Ids) -> Ids:
        logits = self.stepper.step([known[-1] + 1 if known.size else 0])
        return exact.log_odds(torch.from_numpy(logits)).numpy()


def advised(extra: bool) -> Schema:
    return Schema(
        features=GRID,
        bits=(5,),
        neighbours=(Neighbour(up=1),),
        contexts=((), (3,)),
        parents=(-1, 0),
        selectors=((MATCH, 0, 0), (SYMBOL, 0, 0), (FEATURE, 2, 3)),
        refinements=((),),
        extra=extra,
    )


def test_an_exact_network_advises() -> None:
    def following(code: int) -> int:
        return (7 * code + 3) % 29

    advisor = Bigrams(following, 29)
    chain = [1]
    rng = np.random.default_rng(0)
    for _ in range(599):
        chain.append(following(chain[-1]) if rng.random() < 0.9 else int(rng.integers(0, 29)))
    ids, span = np.array([chain], np.int32), Span((20, 30), 0, 600)
    schema = advised(True)
    tensors = initial_tensors(schema)
    prior = MixerPrior(schema, tensors, (29,), advisor)
    code = prior.encode(ids, span)
    assert np.array_equal(prior.decode(code, span), ids)

    alone = MixerPrior(advised(False), initial_tensors(advised(False)), (29,))
    assert len(code) < 0.8 * len(alone.encode(ids, span))
    other = MixerPrior(schema, tensors, (29,), Bigrams(lambda code: code, 29))
    assert other.encode(ids, span) != code
    assert len({prior.fingerprint, alone.fingerprint, other.fingerprint}) == 3
    with pytest.raises(CorruptStream):
        prior.decode(code[: len(code) // 2], span)


def test_an_advisor_comes_with_its_input() -> None:
    advisor = Bigrams(lambda code: code, 29)
    for schema, given_advisor in ((advised(False), advisor), (advised(True), None)):
        with pytest.raises(ValueError, match="if and only if"):
            MixerPrior(schema, initial_tensors(schema), (29,), given_advisor)
    # A network of fewer codes gives log-odds for fewer nodes than are read.
    schema = advised(True)
    prior = MixerPrior(schema, initial_tensors(schema), (29,), Bigrams(lambda code: code, 16))
    with pytest.raises(ValueError, match="shape"):
        prior.encode(np.zeros((1, 4), np.int32), Span((4,), 0, 4))


def test_codebooks_fit_the_schema(grid_model: Any) -> None:
    kind = grid_model.kind
    largest = [1 << bits for bits in kind.schema.bits]
    MixerPrior(kind.schema, grid_model.prior.tensors, largest)
    for wrong in (
        largest[:-1],
        [*largest, 2],
        [*largest[:-1], largest[-1] + 1],
        [0] * len(largest),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            MixerPrior(kind.schema, grid_model.prior.tensors, wrong)


def test_tensors_fit_the_schema(text_model: ByteModel) -> None:
    good = dict(text_model.tensors)
    wrong: list[dict[str, Any]] = [
        {name: tensor for name, tensor in good.items() if name != missing} for missing in good
    ]
    wrong += [
        good | {"joint": good["joint"][:-1]},
        good | {"weights": good["weights"].astype("i8")},
    ]
    wrong += [good | {"static": np.zeros((16, buckets), np.uint8)} for buckets in (1, 2, 12)]
    wrong += [good | {"static": np.zeros((15, 16), np.uint8)}]
    for tensors in wrong:
        with pytest.raises(ValueError, match="does not fit|power of two"):
            MixerPrior(text_model.schema, tensors, (256,))
    MixerPrior(text_model.schema, good | {"static": np.zeros((16, 0), np.uint8)}, (256,))


def test_fingerprints_tell_everything_apart(grid_model: Any) -> None:
    kind, tensors = grid_model.kind, dict(grid_model.prior.tensors)
    smaller = [*kind.sizes[:-1], kind.sizes[-1] - 1]
    other = dict(tensors, final=tensors["final"] + 1)
    prints = {
        MixerPrior(kind.schema, tensors, kind.sizes).fingerprint,
        MixerPrior(kind.schema, tensors, smaller).fingerprint,
        MixerPrior(kind.schema, other, kind.sizes).fingerprint,
    }
    assert grid_model.prior.fingerprint in prints
    assert len(prints) == 3
