"""The integers of `text/patch`: those of the training network, whole and byte by byte."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from omnicodec.models.exact import BACKENDS, use_backend
from omnicodec.models.text.coder import PatchCoder
from omnicodec.models.text.patch import END, Batch, PatchConfig, PatchNet

CONFIG = PatchConfig(
    codebooks=3, bits=4, longest=5, before=4, embedding=6, encoder=32, trunk=24, place=10,
    decoder=30,
)  # fmt: skip


def make() -> tuple[PatchNet, PatchCoder]:
    torch.manual_seed(3)
    network = PatchNet(CONFIG).eval()
    with torch.no_grad():
        # Larger than at the start of training, so that saturation and all symbols occur.
        for name, parameter in network.named_parameters():
            parameter *= 1 if name.endswith("_bytes") else 3
            if name.endswith("bias"):
                parameter += torch.randn_like(parameter)
        network.decode_out.bias[END] += 8
        network.middle += torch.randn_like(network.middle)
    tensors = {name: tensor.numpy() for name, tensor in network.tensors().items()}
    return network, PatchCoder(CONFIG, tensors)


NETWORK, CODER = make()
BITS = arrays.arrays(np.bool_, st.tuples(st.integers(0, 6), st.just(CONFIG.code_bits)))


def random_bits(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (count, CONFIG.code_bits)).astype(bool)


def write(bits: np.ndarray, context: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decode one patch after another; return padded data, starts and lengths."""
    data = np.frombuffer(context, np.uint8)
    lengths = []
    for row in bits:
        data = np.concatenate([data, CODER.decode(row[None], data)])
        lengths.append(data.size - len(context) - sum(lengths))
    sizes = np.array(lengths, np.int32)
    starts = len(context) + np.cumsum(sizes, dtype=np.int64) - sizes
    return np.concatenate([data, np.zeros(CONFIG.longest, np.uint8)]), starts, sizes


# What is compiled or probed once shall not count as the time of a test.
CODER.find(*write(random_bits(2, 0), b"abcd"))


@given(BITS, st.binary(min_size=4, max_size=6))
def test_what_is_decoded_is_what_encoding_expects(bits: np.ndarray, context: bytes) -> None:
    data, starts, lengths = write(bits, context)
    assert ((lengths >= 1) & (lengths <= CONFIG.longest)).all()
    assert (CODER.wrong(data, starts, lengths, bits) == 0).all()
    whole = CODER.decode(bits, np.frombuffer(context, np.uint8))
    assert whole.tobytes() == data[len(context) : data.size - CONFIG.longest].tobytes()


def test_lengths_and_bytes_vary() -> None:
    data, _, lengths = write(random_bits(300, 1), b"abcd")
    assert set(lengths.tolist()) == set(range(1, CONFIG.longest + 1))
    assert len(set(data.tolist())) > 30


def test_integers_are_those_of_training() -> None:
    data, starts, lengths = write(random_bits(40, 2), b"abcd")
    patch = data[starts[:, None] + np.arange(CONFIG.longest)].astype(np.int64)
    patch[np.arange(CONFIG.longest) >= lengths[:, None]] = END
    before = data[starts[:, None] - 1 - np.arange(CONFIG.before)].astype(np.int64)
    with torch.no_grad():
        scores = NETWORK.scores(torch.from_numpy(patch), torch.from_numpy(before))
        bits = NETWORK.bits(scores) > 0
    mine = CODER.scores(data, starts, lengths)
    assert np.abs((scores - NETWORK.middle).numpy() * 256 - mine).max() <= 1
    clear = np.abs(mine) > 1  # the middle is rounded to a step when it is folded in
    assert ((mine > 0) == bits.numpy())[clear].all()

    counts = np.minimum(lengths + 1, CONFIG.longest)
    owner = np.repeat(np.arange(40), counts)
    place = np.concatenate([np.arange(n) for n in counts])
    window = data[(starts[owner] + place)[:, None] - 1 - np.arange(CONFIG.before)]
    rows = Batch(
        *map(torch.from_numpy, (patch, before, owner, place, window.astype(np.int64))),
        torch.from_numpy(patch[owner, place]),
    )
    given_bits = torch.from_numpy(np.where(random_bits(40, 2), 1.0, -1.0)).float()
    with torch.no_grad():
        logits = NETWORK.logits(given_bits, rows)
    logits[rows.place == 0, END] = -1000
    assert torch.equal(logits.argmax(1), rows.target)  # decoding chose the same bytes


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_agree(backend) -> None:
    data, starts, lengths = write(random_bits(30, 3), b"abcd")
    expected = CODER.find(data, starts, lengths)
    with use_backend(backend):
        found = CODER.find(data, starts, lengths)
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=40), st.integers(0, 9))
def test_found_codes_bring_patches_back(text: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = np.concatenate(
        [np.zeros(CONFIG.before, np.uint8), np.frombuffer(text, np.uint8), np.zeros(5, np.uint8)]
    )
    starts = CONFIG.before + np.arange(len(text), dtype=np.int64)
    lengths = np.minimum(rng.integers(1, 6, len(text)), len(text) - np.arange(len(text)))
    bits, found = CODER.find(data, starts, lengths.astype(np.int32))
    for at in np.flatnonzero(found):
        piece = data[starts[at] : starts[at] + lengths[at]]
        assert np.array_equal(CODER.decode(bits[at][None], data[: starts[at]]), piece)


def test_search_finds_more_than_the_encoder_alone() -> None:
    """Patches that the decoder can write, under an encoder that nobody trained."""
    data, starts, lengths = write(random_bits(3000, 4), b"abcd")
    plain = CODER.wrong(data, starts, lengths, CODER.scores(data, starts, lengths) > 0) == 0
    bits, found = CODER.find(data, starts, lengths)
    assert found[plain].all()
    assert found.sum() > plain.sum()
    assert (CODER.wrong(data, starts, lengths, bits)[found] == 0).all()
