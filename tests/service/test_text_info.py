"""`text/info` over gRPC."""

from __future__ import annotations

import numpy as np
import pytest

from omnicodec.codecs import InvalidInput, Text, Tokens, compress, load
from omnicodec.service import Client

TEXTS = [Text("Tokens of equal information. \u00e4\u00f6\u00fc" * 4), Text(b"\xff\0"), Text("")]


def test_the_service_does_as_the_codec(client: Client) -> None:
    codec = load("text/info")
    tokens = codec.encode(TEXTS)
    assert client.codec("text/info").spec == codec.spec
    assert client.encode(TEXTS, "text/info") == tokens
    assert client.decode(tokens) == TEXTS
    streams = [compress(text, "text/info") for text in TEXTS]
    assert client.compress(TEXTS, "text/info") == streams
    assert client.decompress(streams) == TEXTS


def test_made_up_tokens(client: Client) -> None:
    spec = load("text/info").spec

    def tokens(*ids: int) -> Tokens:
        return Tokens(spec.name, spec.fingerprint, np.array([ids], np.int32), (len(ids),))

    assert client.decode([tokens(3, 1, 4, 1, 5)]) == load("text/info").decode(
        [tokens(3, 1, 4, 1, 5)]
    )
    with pytest.raises(InvalidInput, match="token 65536 at position 1 is not in"):
        client.decode([tokens(3, 65536, 4)])
