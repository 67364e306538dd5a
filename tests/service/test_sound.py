"""`audio/rvq` over gRPC, and its tokens in vocabularies."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from omnicodec.codecs import (
    Audio,
    Tokens,
    Vocabulary,
    compress,
    compress_pieces,
    load,
)
from omnicodec.service import Client
from omnicodec.service.convert import tokens_to_proto
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

CODEC = load("audio/rvq", device="cpu")


def sounds() -> list[Audio]:
    rng = np.random.default_rng(0)
    shapes = [((1, 5000), 24_000), ((2, 9000), 44_100), ((3, 0), 8000)]
    return [Audio((rng.standard_normal(s) * 0.1).astype(np.float32), rate) for s, rate in shapes]


def test_sound_over_grpc(client: Client) -> None:
    items = sounds()
    tokens = client.encode(items, "audio/rvq", quality=2)
    assert tokens == CODEC.encode(items, quality=2)
    heard = CODEC.decode(tokens)
    assert client.decode(tokens) == heard
    streams = client.compress(items, "audio/rvq", quality=2)
    assert streams == [compress(item, "audio/rvq", quality=2) for item in items]
    assert client.decompress(streams) == heard
    live = [b"".join(compress_pieces([item], "audio/rvq", quality=2)) for item in items]
    assert client.decompress(live) == heard
    cut = client.decompress([live[0][:-4]], partial=True)
    assert cut[0].samples.shape[1] >= 5000


def test_answers_that_no_message_holds_are_refused_first(stub: CodecServiceStub) -> None:
    books, rate = len(CODEC.spec.codebook_sizes), 24_000
    samples = 30 << 20
    grid = CODEC.expected_grid({"samples": samples, "rate": rate, "channels": 1}, 0)
    ids = np.zeros((books, grid[0]), np.int32)
    extent = {"samples": samples, "rate": rate, "channels": 1}
    tokens = Tokens("audio/rvq", CODEC.spec.fingerprint, ids[:, : grid[0]], grid, extent)
    with pytest.raises(grpc.RpcError, match="decoded item is over") as caught:
        stub.Decode(pb.DecodeRequest(tokens=[tokens_to_proto(tokens)]))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("pattern", ["flat", "delay", "parallel"])
def test_sound_in_vocabularies(pattern: str) -> None:
    items = CODEC.encode(sounds(), quality=2)
    vocabulary = Vocabulary.build(["audio/rvq"], pattern)
    ids = vocabulary.pack(items, bos=True, eos=True)
    assert vocabulary.unpack(ids) == items
    assert ids.ndim == 1 if pattern == "flat" else len(ids) == len(CODEC.spec.codebook_sizes)
