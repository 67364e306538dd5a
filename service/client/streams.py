"""EncodeStream and DecodeStream: what is sent, what comes back, and calls in progress.

Messages are made and read by functions that both kinds of clients use; `Exchange` carries them for
the one, `AsyncExchange` for the other.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import grpc
import numpy as np
from google.protobuf.message import Message

from omnicodec.codecs import Audio, CodecSpec, InvalidInput, Media, Tokens, Unavailable
from omnicodec.codecs.codec import Settings
from omnicodec.service import convert, pieces
from omnicodec.service.client.connection import Connection
from omnicodec.service.client.errors import error_of
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2

_AHEAD: Final = 4
"""Messages that wait to be sent; who has more waits with them."""

_LOOK_SECONDS: Final = 0.2


def encode_config(
    codec: str, settings: Settings, *, stream: bool, chunk_seconds: float | None = None
) -> pb.EncodeStreamRequest:
    """Return the first message of an EncodeStream that gives tokens, or an .omc stream."""
    outputs = pb.EncodeStreamConfig.Output
    with convert.fitting("settings"):
        config = pb.EncodeStreamConfig(
            codec=codec,
            quality=settings.quality,
            effort=settings.effort,
            method=settings.method,
            output=outputs.OUTPUT_STREAM if stream else outputs.OUTPUT_TOKENS,
            chunk_seconds=chunk_seconds,
        )
    return pb.EncodeStreamRequest(config=config)


def encode_pieces(item: media_pb2.Media) -> Iterator[pb.EncodeStreamRequest]:
    """Yield the messages that carry an item, or a piece of one."""
    for piece in pieces.cut_media(item):
        yield pb.EncodeStreamRequest(piece=piece)


def decode_config(*, partial: bool = False) -> pb.DecodeStreamRequest:
    """Return the first message of a DecodeStream that gives raw media."""
    return pb.DecodeStreamRequest(config=pb.DecodeStreamConfig(partial=partial))


def decode_pieces(item: bytes | media_pb2.Tokens, grows: str) -> Iterator[pb.DecodeStreamRequest]:
    """Yield the messages that carry an .omc stream or tokens, or a piece of them.

    `grows` is the first of the codec's `extent`, which tokens in pieces share out.
    """
    if isinstance(item, bytes):
        for data in pieces.cut_bytes(item):
            yield pb.DecodeStreamRequest(stream=data)
    else:
        for tokens in pieces.cut_tokens(item, grows):
            yield pb.DecodeStreamRequest(tokens=tokens)


def joined_tokens(answers: list[Any], spec: CodecSpec) -> Tokens:
    """Return the tokens in the answers of an EncodeStream, one at least."""
    grows = spec.extent[0] if spec.extent else ""
    found = pieces.join_tokens([answer.tokens for answer in answers], grows)
    return convert.tokens_from_proto(found)


def joined_media(answers: list[Any], kind: type[Media]) -> Media:
    """Return the media in the answers of a DecodeStream, one at least."""
    return convert.media_from_proto(pieces.join_media([answer.piece for answer in answers]), kind)


def no_tokens(spec: CodecSpec, piece: Media, quality: int | None) -> Tokens:
    """Return the tokens of nothing, of the same kind as those that a piece will have."""
    known, columns = {"codebooks": quality or len(spec.codebook_sizes)}, 1
    if isinstance(piece, Audio):
        channels = len(piece.samples)
        known |= {"rate": piece.sample_rate, "channels": channels}
        columns = math.ceil(channels / spec.covers["channels"])
    extent = {name: known.get(name, 0) for name in spec.extent}
    grid = (0, *[columns] * (spec.grid_rank - 1))
    ids = np.zeros((len(spec.codebook_sizes), 0), np.int32)
    return Tokens(spec.name, spec.fingerprint, ids, grid, extent)


def no_media(tokens: Tokens) -> Audio:
    """Return no sound, at the rate and of the channels of tokens that are not decoded yet."""
    extent = tokens.extent
    if not {"rate", "channels"} <= set(extent):
        raise InvalidInput(f"tokens with the extent {dict(extent)} are of no sound in pieces")
    return Audio(np.zeros((extent["channels"], 0), np.float32), extent["rate"])


class Exchange:
    """A call that sends and receives; messages go out as fast as the server takes them.

    Methods raise the errors of codecs. It must be closed, which cancels what is not over.
    """

    def __init__(self, start: Any, connection: Connection) -> None:
        self._connection = connection
        self._out: queue.Queue[Message | None] = queue.Queue(_AHEAD)
        self._in: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._over = threading.Event()
        self._call = start(iter(self._out.get, None), metadata=connection.metadata)
        threading.Thread(target=self._receive, name="omnicodec-stream", daemon=True).start()

    def send(self, message: Message) -> None:
        """Send a message; waits while the server is busy with those before it."""
        self._put(message)

    def ready(self) -> list[Any]:
        """Return the answers that have come."""
        found: list[Any] = []
        while not self._in.empty():
            answer = self._in.get()
            if answer is None:
                self._raise()
                self._in.put(None)
                return found
            found.append(answer)
        return found

    def rest(self) -> Iterator[Any]:
        """Say that nothing more is sent, and yield the answers that are still to come."""
        self._put(None)
        while (answer := self._in.get()) is not None:
            yield answer
        self._in.put(None)
        self._raise()

    def close(self) -> None:
        """End the call, if it is not over."""
        self._call.cancel()
        with self._out.mutex:
            self._out.queue.clear()
            self._out.not_full.notify_all()
        self._out.put(None)  # for the thread that sends

    def _put(self, message: Message | None) -> None:
        while True:
            if self._over.is_set():
                self._raise()
                if message is None:
                    return
                raise Unavailable(f"{self._connection.target}: the stream is over")
            try:
                self._out.put(message, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
            return

    def _receive(self) -> None:
        try:
            for answer in self._call:
                self._in.put(answer)
        except grpc.RpcError:
            pass  # what is wrong, the call knows
        self._over.set()
        self._in.put(None)

    def _raise(self) -> None:
        """Raise what ended the call, if it was no end in good order."""
        if self._over.is_set() and self._call.code() is not grpc.StatusCode.OK:
            raise error_of(self._call, self._connection.target, None) from _as_error(self._call)


class AsyncExchange:
    """`Exchange` for asyncio."""

    def __init__(self, start: Any, connection: Connection) -> None:
        self._connection = connection
        self._call = start(metadata=connection.metadata)
        self._in: asyncio.Queue[Any] = asyncio.Queue()
        self._reader = asyncio.create_task(self._receive())
        self._begun = self._over = False

    async def begin(self, config: Message) -> None:
        """Send the first message, unless it was sent."""
        if not self._begun:
            self._begun = True
            await self.send(config)

    async def send(self, message: Message) -> None:
        """Send a message; waits while the server is busy with those before it."""
        try:
            await self._call.write(message)
        except (grpc.RpcError, asyncio.InvalidStateError):
            await self._raise()
            raise Unavailable(f"{self._connection.target}: the stream is over") from None

    async def ready(self) -> list[Any]:
        """Return the answers that have come."""
        found: list[Any] = []
        while not self._in.empty():
            answer = self._in.get_nowait()
            if answer is None:
                await self._raise()
                self._in.put_nowait(None)
                return found
            found.append(answer)
        return found

    async def rest(self) -> AsyncIterator[Any]:
        """Say that nothing more is sent, and yield the answers that are still to come."""
        if not self._over:
            try:
                await self._call.done_writing()
            except (grpc.RpcError, asyncio.InvalidStateError):
                await self._raise()
        while (answer := await self._in.get()) is not None:
            yield answer
        self._in.put_nowait(None)
        await self._raise()

    async def aclose(self) -> None:
        """End the call, if it is not over."""
        self._call.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _receive(self) -> None:
        try:
            async for answer in self._call:
                self._in.put_nowait(answer)
        except grpc.RpcError:
            pass  # what is wrong, the call knows
        finally:
            self._over = True
            self._in.put_nowait(None)

    async def _raise(self) -> None:
        if await self._call.code() is not grpc.StatusCode.OK:
            error = _Ended(
                await self._call.code(),
                await self._call.details(),
                await self._call.trailing_metadata(),
            )
            raise error_of(error, self._connection.target, None) from error


class _Ended(grpc.RpcError):  # type: ignore[misc]
    """How a call ended."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: Any) -> None:
        super().__init__(details)
        self._code, self._details, self._metadata = code, details, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._metadata


def _as_error(call: Any) -> grpc.RpcError:
    return _Ended(call.code(), call.details(), call.trailing_metadata())
