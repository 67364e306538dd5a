"""Streams give the same bits however they are cut, and what one pass over all would give."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.models.audio.rvq import AudioRVQ
from omnicodec.models.audio.streaming import BLOCK, FrameDecoder, FrameEncoder, Indices, Samples

LENGTH = 24 * (2 * BLOCK + 7) + 5
SAMPLES = np.random.default_rng(0).standard_normal(LENGTH).astype(np.float32)
CUTS = st.lists(st.integers(0, LENGTH), max_size=12).map(sorted)


def encode(network: AudioRVQ, samples: Samples, cuts: list[int], *, eager: bool) -> Indices:
    encoder = FrameEncoder(network, 4)
    edges = pairwise([0, *cuts, len(samples)])
    found = [encoder.push(samples[a:b], eager=eager) for a, b in edges]
    return np.concatenate([*found, encoder.finish()], 1)


def decode(network: AudioRVQ, indices: Indices, cuts: list[int], *, eager: bool) -> Samples:
    decoder = FrameDecoder(network)
    edges = pairwise([0, *cuts, indices.shape[1]])
    found = [decoder.push(indices[:, a:b], eager=eager) for a, b in edges]
    return np.concatenate([*found, decoder.finish()])


@settings(max_examples=25)
@given(CUTS, st.booleans())
def test_cuts_change_no_token_and_no_sample(
    network: AudioRVQ, cuts: list[int], eager: bool
) -> None:
    indices = encode(network, SAMPLES, [], eager=False)
    assert np.array_equal(encode(network, SAMPLES, cuts, eager=eager), indices)
    positions = [cut * indices.shape[1] // LENGTH for cut in cuts]
    whole = decode(network, indices, [], eager=False)
    assert np.array_equal(decode(network, indices, positions, eager=eager), whole)


def test_streams_equal_one_pass(network: AudioRVQ) -> None:
    hop = network.config.hop
    samples = torch.from_numpy(SAMPLES[: LENGTH // hop * hop])
    indices = encode(network, samples.numpy(), [], eager=False)
    one_pass = network.encode(samples[None], 4)[:, 0].numpy()
    assert (indices == one_pass).mean() > 0.99  # floats may round otherwise in another shape
    drawn = decode(network, indices, [], eager=False)
    expected = network.decode(torch.from_numpy(indices)[:, None].long())[0].numpy()
    assert drawn.shape == expected.shape
    assert np.abs(drawn - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("length", [0, 1, 23, 24, 25, 24 * BLOCK - 24, 24 * BLOCK])
def test_any_length(network: AudioRVQ, length: int) -> None:
    indices = encode(network, SAMPLES[:length], [], eager=True)
    assert indices.shape == (4, -(-length // 24) + 1 if length else 0)
    assert decode(network, indices, [], eager=True).size == -(-length // 24) * 24


def test_eager_streams_wait_for_no_more_than_the_lookahead(network: AudioRVQ) -> None:
    encoder, decoder = FrameEncoder(network, 4), FrameDecoder(network)
    hop = network.config.hop
    assert encoder.push(SAMPLES[: 2 * hop - 1], eager=True).shape[1] == 0
    first = encoder.push(SAMPLES[2 * hop - 1 : 3 * hop], eager=True)
    assert first.shape[1] == 2
    assert decoder.push(first[:, :1], eager=True).size == 0
    assert decoder.push(first[:, 1:], eager=True).size == hop
