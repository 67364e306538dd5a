"""What tests of several codecs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from omnicodec.codecs import CorruptStream, Tokens
from omnicodec.codecs.prior import Span
from omnicodec.codecs.registry import AnyCodec

HostileChunks = Callable[[AnyCodec, Tokens, Sequence[int]], bytes]


def hostile_chunks(codec: AnyCodec, tokens: Tokens, cuts: Sequence[int]) -> bytes:
    """Try what can be wrong with the chunk of all tokens, which is returned as it should be.

    One that ends early (at each of `cuts`), goes on, or begins with what none has is corrupt; one
    with a flipped bit may be other ids, but no others than there are.
    """
    prior, span = codec.prior, Span(tokens.grid, 0, len(tokens))
    data = prior.encode(tokens.ids, span)
    for bad in (b"", *(data[:cut] for cut in cuts), data + b"\0\0", b"\xff" + data[1:]):
        with pytest.raises(CorruptStream):
            prior.decode(bad, span)
    rng = np.random.default_rng(0)
    sizes = np.array(codec.spec.codebook_sizes)[:, None]
    for _ in range(60):
        spoiled = bytearray(data)
        spoiled[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            ids = prior.decode(bytes(spoiled), span)
        except CorruptStream:
            continue
        assert ids.min() >= 0
        assert (ids < sizes).all()
    return data


@pytest.fixture(name="hostile_chunks")
def _hostile_chunks() -> HostileChunks:
    return hostile_chunks
