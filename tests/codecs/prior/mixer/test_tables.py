"""The fixed tables against their definitions, in decimals of many digits."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext

import numpy as np

from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer import tables
from omnicodec.codecs.prior.mixer.hashing import hash2
from omnicodec.codecs.prior.mixer.reference import hash2 as plain_hash2


def test_squash_is_the_logistic_function() -> None:
    squash = tables.squash()
    assert squash.shape == (2 * (fmt.SQUASH_MAX + 1),)
    with localcontext() as context:
        context.prec = 40
        for d in range(-fmt.SQUASH_MAX - 1, fmt.SQUASH_MAX + 1):
            p = fmt.ONE / (1 + (Decimal(-d) / 256).exp())
            rounded = int(p.quantize(Decimal(1), ROUND_HALF_UP))
            assert squash[d + fmt.SQUASH_MAX + 1] == min(max(rounded, 1), fmt.ONE - 1)


def test_squash_is_symmetric_and_rises() -> None:
    squash = tables.squash().astype(np.int64)
    assert (np.diff(squash) >= 0).all()
    assert squash[fmt.SQUASH_MAX + 1] == fmt.ONE // 2
    assert (squash[1:] + squash[1:][::-1] == fmt.ONE).all()


def test_stretch_is_the_inverse() -> None:
    stretch = tables.stretch().astype(np.int64)
    assert (np.diff(stretch) >= 0).all()
    assert abs(stretch).max() <= fmt.LOGIT_MAX
    p = tables.squash()[stretch + fmt.SQUASH_MAX + 1]
    inside = abs(stretch) < fmt.LOGIT_MAX
    # The least log-odds that reaches the middle of the step: one less does not.
    before = tables.squash()[stretch - 1 + fmt.SQUASH_MAX + 1]
    middle = np.arange(4096) * 16 + 8
    assert (p[inside] >= middle[inside]).all()
    assert (before[inside] < middle[inside]).all()
    assert inside.mean() > 0.99


def test_information_is_the_logarithm() -> None:
    information = tables.information()
    assert information[1] == 16 * 4096
    assert information[fmt.ONE] == 0
    assert information[fmt.ONE // 2] == 4096
    exact = -4096 * np.log2(np.arange(1, fmt.ONE + 1) / fmt.ONE)
    assert abs(information[1:] - exact).max() <= 1
    assert (np.diff(information[1:]) <= 0).all()
    assert information[0] == information[1]


def test_bit_histories_are_closed() -> None:
    states = tables.states()
    reached, fresh = {0}, [0]
    while fresh:
        state = fresh.pop()
        for bit in (0, 1):
            following = int(states.next[state, bit])
            assert following != 0  # what has seen something stays so
            if following not in reached:
                reached.add(following)
                fresh.append(following)
    assert len(reached) <= 256
    assert (states.counts.sum(1) == states.total).all()
    assert states.cls.max() < fmt.STATE_CLASSES
    assert [s for s in reached if states.total[s] == 0] == [0]


def test_bit_histories_count() -> None:
    states = tables.states()
    for bit in (0, 1):
        state = 0
        for seen in range(1, 60):
            state = int(states.next[state, bit])
            counts = states.counts[state].tolist()
            assert counts == ([min(seen, 48), 0] if bit == 0 else [0, min(seen, 48)])
    # One bit against many: the many are forgotten faster than one by one.
    state = 0
    for _ in range(40):
        state = int(states.next[state, 0])
    zeros, ones = states.counts[states.next[state, 1]].tolist()
    assert ones == 1
    assert zeros < 25


def test_bits_raise_their_count_and_never_the_others() -> None:
    states = tables.states()
    for state in range(int((states.total > 0).sum()) + 1):
        for bit in (0, 1):
            after = states.counts[states.next[state, bit]].astype(int)
            before = states.counts[state].astype(int)
            assert after[1 - bit] <= before[1 - bit]
            assert after[bit] <= before[bit] + 1


def test_states_of_a_class_are_alike() -> None:
    states = tables.states()
    for cls in range(int(states.cls.max()) + 1):
        counts = states.counts[(states.cls == cls) & (states.total > 0)].astype(int)
        if len(counts):
            surer = counts[:, 1] * 2 > counts.sum(1)
            few = counts.sum(1) <= 3
            assert len(set(map(tuple, counts[few].tolist()))) <= 1
            assert surer.all() or not surer.any() or abs(counts[:, 0] - counts[:, 1]).max() <= 12


def test_hashes_are_32_bits_of_any_integers() -> None:
    values = [0, 1, 77, -1, -(2**31), 2**32 - 1, 2**32, 2**62, 0x9E3779B1]
    hashes = [hash2(a, b) for a in values for b in values]
    assert hashes == [plain_hash2(a, b) for a in values for b in values]
    assert all(0 <= h < 2**32 for h in hashes)
    many = {int(hash2(a, 5)) for a in range(4096)}
    assert len(many) == 4096
    assert max(np.bincount([h >> 24 for h in many], minlength=256)) < 45
