"""`text/bpe` over gRPC, where a name never opens a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnicodec.codecs import Text, Tokens, UnknownCodec, compress, load
from omnicodec.service import Client

CODEC = load("text/bpe")


def test_bpe_over_grpc(client: Client) -> None:
    items = [Text("some words"), Text(b"\xff\0"), Text("")]
    for method in CODEC.spec.methods:
        tokens = client.encode(items, "text/bpe", method=method)
        assert tokens == CODEC.encode(items, method=method)
        assert client.decode(tokens) == items
        streams = client.compress(items, "text/bpe", method=method)
        assert streams == [compress(item, "text/bpe", method=method) for item in items]
        assert client.decompress(streams) == items


def test_requests_never_open_files(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    CODEC.save(path)
    (tokens,) = CODEC.encode([Text("words")])
    for name in (str(path), str(tmp_path)):
        with pytest.raises(UnknownCodec):
            client.encode([Text("words")], name)
        with pytest.raises(UnknownCodec):
            client.codec(name)
        with pytest.raises(UnknownCodec):
            client.decode([Tokens(name, tokens.fingerprint, tokens.ids, tokens.grid)])
