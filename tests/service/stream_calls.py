"""Calls of EncodeStream and DecodeStream, as tests make them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from omnicodec.codecs import Audio, Tokens
from omnicodec.service.convert import media_from_proto, tokens_from_proto
from omnicodec.service.pieces import cut_media, join_media, join_tokens
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2

SOUND = Audio(np.random.default_rng(3).normal(0, 0.1, (2, 12_345)).astype(np.float32), 16_000)
STREAM = pb.EncodeStreamConfig.OUTPUT_STREAM


def text(data: bytes) -> pb.EncodeStreamRequest:
    return pb.EncodeStreamRequest(piece=media_pb2.Media(text=data))


def encode_requests(
    item: media_pb2.Media, most: int, **config: Any
) -> Iterator[pb.EncodeStreamRequest]:
    yield pb.EncodeStreamRequest(config=pb.EncodeStreamConfig(**config))
    for piece in cut_media(item, most):
        yield pb.EncodeStreamRequest(piece=piece)


def decode_requests(pieces: Iterable[Any], **config: Any) -> Iterator[pb.DecodeStreamRequest]:
    yield pb.DecodeStreamRequest(config=pb.DecodeStreamConfig(**config))
    for piece in pieces:
        if isinstance(piece, bytes):
            yield pb.DecodeStreamRequest(stream=piece)
        else:
            yield pb.DecodeStreamRequest(tokens=piece)


def encoded(answers: Iterable[pb.EncodeStreamResponse], grows: str) -> Tokens:
    return tokens_from_proto(join_tokens([answer.tokens for answer in answers], grows))


def decoded(answers: Iterable[pb.DecodeStreamResponse], kind: type[Any]) -> Any:
    return media_from_proto(join_media([answer.piece for answer in answers]), kind)


def failure(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


class Sender:
    """Requests that a test sends when it wants to; `close` is the end of the client's side."""

    def __init__(self, *requests: Any) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        for request in requests:
            self.send(request)

    def send(self, request: Any) -> None:
        self._queue.put(request)

    def close(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._queue.get, None)
