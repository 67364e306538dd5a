"""The prior of `audio/rvq`: exact, no bits for what is not there, and no trust in bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from omnicodec.codecs.audio._prior import NestedPrior, audio_schema
from omnicodec.codecs.errors import CorruptStream
from omnicodec.codecs.prior import Span
from omnicodec.codecs.prior.mixer import reference_coder as plain
from omnicodec.codecs.prior.mixer.reference import Item
from omnicodec.codecs.prior.mixer.state import initial_tensors
from omnicodec.service.train.audio_prior import AudioPriorSettings, fit_audio_prior
from omnicodec.service.train.mixer import MixerSettings

BOOKS, ENTRIES = 4, 32
SETTINGS = AudioPriorSettings(mixer=MixerSettings(counted=11, shipped=9, rates=((5, 1),)))
Ids = NDArray[np.int32]


def span(frames: int, channels: int = 1) -> Span:
    return Span((frames, channels), 0, frames * channels)


def drawn(frames: int, used: int = BOOKS, seed: int = 0) -> Ids:
    """Return codes that go on from frame to frame, and from book to book."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((BOOKS, frames), np.int32)
    level = np.cumsum(rng.integers(-2, 3, frames)) // 2 * 7
    for book in range(used):
        ids[book] = (level * (book + 1) + rng.integers(0, 4, frames)) % ENTRIES
    return ids


def scrambled(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return tensors from a formula: training uses floating point, and so may differ."""
    order = np.array([(np.arange(ENTRIES) * 5 + book) % ENTRIES for book in range(BOOKS)])
    return {**tensors, "order": order.astype(np.int32)}


@pytest.fixture(scope="module")
def prior() -> NestedPrior:
    items = [drawn(150, seed=seed) for seed in range(20)]
    return NestedPrior(fit_audio_prior(items, ENTRIES, SETTINGS, lambda **_: None))


@pytest.fixture(scope="module")
def fixed() -> NestedPrior:
    return NestedPrior(scrambled(initial_tensors(audio_schema(BOOKS, 5))))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 40), st.integers(0, BOOKS), st.integers(1, 3), st.data())
def test_round_trip(
    prior: NestedPrior, frames: int, used: int, channels: int, data: st.DataObject
) -> None:
    ids = drawn(frames * channels, used, data.draw(st.integers(0, 99)))
    if data.draw(st.booleans()):  # all channels the same
        ids = np.repeat(ids[:, :frames], channels, 1)
    start = data.draw(st.integers(0, frames * channels))
    stop = data.draw(st.integers(start, frames * channels))
    part, where = ids[:, start:stop], Span((frames, channels), start, stop)
    back = prior.decode(prior.encode(part, where), where)
    assert back.dtype == np.int32
    assert np.array_equal(back, part)


def test_what_is_known_of_codes_makes_them_shorter(prior: NestedPrior, fixed: NestedPrior) -> None:
    ids = [drawn(200, seed=seed) for seed in range(50, 55)]
    sizes = [sum(len(p.encode(i, span(200))) for i in ids) for p in (prior, fixed)]
    raw = 5 * BOOKS * 200 * 5 / 8
    assert sizes[0] < 0.75 * raw
    assert sizes[0] < 0.85 * sizes[1]


def test_unused_books_take_no_bits(prior: NestedPrior) -> None:
    sizes = [len(prior.encode(drawn(300, used), span(300))) for used in range(BOOKS + 1)]
    assert sizes[0] == 1
    assert np.diff(sizes).min() > 20
    whole = drawn(300)
    for used in range(1, BOOKS):  # the same bytes as from a prior of fewer books
        first = np.where(np.arange(BOOKS)[:, None] < used, whole, 0)
        assert len(prior.encode(first, span(300))) == sizes[used]


def test_a_book_of_zeros_in_between_is_kept(prior: NestedPrior) -> None:
    ids = drawn(50)
    ids[1] = 0
    assert np.array_equal(prior.decode(prior.encode(ids, span(50)), span(50)), ids)


@pytest.mark.parametrize("start", [0, 1, 4])
def test_equal_channels_cost_as_much_as_one(prior: NestedPrior, start: int) -> None:
    one = drawn(60)
    both = np.repeat(one, 2, 1)
    part = Span((60, 2), start, 120)
    code = prior.encode(both[:, start:], part)
    assert code == prior.encode(one[:, start // 2 :], Span((60, 1), start // 2, 60))
    assert np.array_equal(prior.decode(code, part), both[:, start:])
    both[0, -1] = (both[0, -1] + 1) % ENTRIES
    longer = prior.encode(both[:, start:], part)
    assert len(longer) > 1.1 * len(code)
    assert np.array_equal(prior.decode(longer, part), both[:, start:])


@pytest.mark.parametrize(("used", "channels"), [(1, 1), (3, 1), (4, 1), (3, 2)])
def test_the_plain_mixer_makes_the_same_codes(fixed: NestedPrior, used: int, channels: int) -> None:
    frames = 30 // channels
    ids = drawn(frames * channels, used)
    where = span(frames, channels)
    tensors = initial_tensors(audio_schema(BOOKS, 5))
    order = scrambled(tensors)["order"]
    numbers = np.stack([np.argsort(row)[codes] for row, codes in zip(order, ids, strict=True)])
    symbols = numbers[:used].T.reshape(-1).tolist()

    def item() -> Item:
        return Item(audio_schema(BOOKS, 5), tensors, where, len(symbols), used)

    code = plain.encode(item(), symbols)
    head = used | (0x80 if channels == 1 else 0)
    assert fixed.encode(ids, where) == bytes([head]) + code
    assert plain.decode(item(), code, len(symbols)) == symbols


def test_the_format_stays(fixed: NestedPrior) -> None:
    """A digest of codes of untrained tensors, which are integers from formulas."""
    digest = hashlib.sha256()
    for frames, channels, used in ((40, 1, 4), (25, 2, 3), (3, 3, 1), (9, 1, 0)):
        ids = np.zeros((BOOKS, frames * channels), np.int32)
        steps = np.arange(frames * channels)
        for book in range(used):
            ids[book] = (steps * steps // (book + 3) + book) % ENTRIES
        digest.update(fixed.encode(ids, span(frames, channels)))
    assert digest.hexdigest() == GOLDEN
    assert fixed.fingerprint == GOLDEN_FINGERPRINT


GOLDEN = "c030b6f898cc5cee3d79be8fa3ad09d6258075417365b4aba96641812f3bb5df"
GOLDEN_FINGERPRINT = "d1ed2e0fabb8b545"


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=40), st.integers(0, 8), st.integers(1, 3))
def test_any_bytes_decode_or_are_refused(
    prior: NestedPrior, data: bytes, frames: int, channels: int
) -> None:
    try:
        ids = prior.decode(data, span(frames, channels))
    except CorruptStream:
        return
    assert ids.shape == (BOOKS, frames * channels)
    assert 0 <= ids.min(initial=0) <= ids.max(initial=0) < ENTRIES


def test_cut_and_damaged_codes(prior: NestedPrior) -> None:
    ids, where = drawn(120), span(120)
    code = prior.encode(ids, where)
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(60):
        damaged = bytearray(code)
        damaged[rng.integers(0, len(code))] ^= 1 << rng.integers(0, 8)
        for bad in (bytes(damaged), code[: rng.integers(0, len(code) - 8)]):
            try:
                assert prior.decode(bad, where).max() < ENTRIES
            except CorruptStream:
                refused += 1
    assert refused > 30
    with pytest.raises(CorruptStream):
        prior.decode(code + bytes(9), where)


@pytest.mark.parametrize("data", [b"", b"\x05", b"\x85", b"\x00\x01", b"\x80\x00", b"\xff"])
def test_impossible_beginnings(prior: NestedPrior, data: bytes) -> None:
    with pytest.raises(CorruptStream):
        prior.decode(data, span(3))


def test_a_few_bytes_are_not_millions_of_codes(prior: NestedPrior) -> None:
    for data in (b"\x84", b"\x04" + bytes(12), b"\x84" + b"\xff" * 12):
        with pytest.raises(CorruptStream):
            prior.decode(data, span(1 << 20))


def test_the_fingerprint_is_of_all_tensors(fixed: NestedPrior) -> None:
    tensors = scrambled(initial_tensors(audio_schema(BOOKS, 5)))
    assert NestedPrior(tensors).fingerprint == fixed.fingerprint
    swapped = {**tensors, "order": tensors["order"][:, ::-1].copy()}
    other = {**tensors, "final": tensors["final"] + 1}
    assert len({NestedPrior(t).fingerprint for t in (tensors, swapped, other)}) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda order: order[:, :-1],
        lambda order: np.zeros_like(order),
        lambda order: order + 1,
        lambda order: order[:-1],
    ],
)
def test_tensors_belong_together(change: Callable[[Ids], Ids]) -> None:
    tensors = scrambled(initial_tensors(audio_schema(BOOKS, 5)))
    with pytest.raises(ValueError, match=r"each of them once|does not fit|do not fit"):
        NestedPrior({**tensors, "order": change(tensors["order"])})


def test_warm_compiles(prior: NestedPrior) -> None:
    prior.warm()
