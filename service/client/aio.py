"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.longrunning import operations_pb2_grpc

from omnicodec.codecs import CodecSpec, Media, Tokens, Unavailable
from omnicodec.codecs.codec import Settings
from omnicodec.service import convert
from omnicodec.service.client.codec import AsyncRemoteCodec, async_remote_codec
from omnicodec.service.client.connection import Connection, PathLike
from omnicodec.service.client.operation import AsyncOperation
from omnicodec.service.client.requests import Item, Requests, media_message, raw_media
from omnicodec.service.client.steps import Call, Pause, Step, Steps, StreamCall
from omnicodec.service.client.streams import (
    AsyncExchange,
    decode_config,
    decode_pieces,
    encode_config,
    encode_pieces,
)
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same arguments, and the same methods as coroutines.

    Calls of several tasks are in flight side by side on one connection. Files are read, and media
    and tokens made into messages and back, in threads, so that the loop is never kept waiting. A
    task that is cancelled cancels its call, which ends the work on the server.

    It belongs to the loop in which it is used first, and only one loop of a process may run gRPC.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float | None = 60.0,
        retries: int = 5,
        token: str | None = None,
        tls: bool | None = None,
        ca: PathLike | None = None,
        certificate: PathLike | None = None,
        key: PathLike | None = None,
        max_message_bytes: int = convert.MAX_MESSAGE_BYTES,
        max_items: int = convert.MAX_ITEMS,
        channel_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.target = target
        self.timeout = timeout
        self.requests = Requests(
            Connection(
                target=target,
                timeout=timeout,
                retries=retries,
                token=token,
                tls=tls,
                ca=ca,
                certificate=certificate,
                key=key,
                max_message_bytes=max_message_bytes,
                max_items=max_items,
                channel_options=channel_options or {},
            )
        )
        self._channel: Any = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls in progress end with an error."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def codecs(self) -> list[CodecSpec]:
        """Return the specs of all codecs of the server."""
        return await self.run(self.requests.codecs())

    async def codec(self, name: str) -> AsyncRemoteCodec:
        """Return the codec `name[@version]` of the server."""
        return async_remote_codec(self, await self.run(self.requests.spec(name)))

    async def encode(
        self,
        items: Iterable[Item],
        codec: str,
        *,
        quality: int | None = None,
        effort: str | None = None,
        method: str | None = None,
    ) -> list[Tokens]:
        """Return the tokens of each item; files are opened by the server."""
        settings = Settings(quality=quality, effort=effort, method=method)
        return await self.run(self.requests.encode(items, codec, settings))

    async def decode(self, tokens: Iterable[Tokens]) -> list[Media]:
        """Return the media of each item's tokens; the items may be of different codecs."""
        return await self.run(self.requests.decode(tokens))

    async def compress(
        self,
        items: Iterable[Item],
        codec: str,
        *,
        quality: int | None = None,
        effort: str | None = None,
        method: str | None = None,
    ) -> list[bytes]:
        """Return the .omc stream of each item; files are opened by the server."""
        settings = Settings(quality=quality, effort=effort, method=method)
        return await self.run(self.requests.compress(items, codec, settings))

    async def decompress(self, streams: Iterable[bytes], *, partial: bool = False) -> list[Media]:
        """Return the item of each .omc stream; with `partial` what is left of damaged ones."""
        return await self.run(self.requests.decompress(streams, partial=partial))

    async def compress_pieces(
        self,
        pieces: AsyncIterable[Media],
        codec: str,
        *,
        quality: int | None = None,
        effort: str | None = None,
        chunk_seconds: float | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield the bytes of one .omc stream of all pieces; see `Client.compress_pieces`."""
        settings = Settings(quality=quality, effort=effort)
        config = encode_config(codec, settings, stream=True, chunk_seconds=chunk_seconds)
        async with aclosing(self.exchange("EncodeStream")) as exchange:
            await exchange.begin(config)
            async for piece in pieces:
                for request in encode_pieces(media_message(piece)):
                    await exchange.send(request)
                for answer in await exchange.ready():
                    yield answer.stream
            async for answer in exchange.rest():
                yield answer.stream

    async def decompress_pieces(
        self, pieces: AsyncIterable[bytes], *, partial: bool = False
    ) -> AsyncIterator[Media]:
        """Yield pieces of the media of one .omc stream; see `Client.decompress_pieces`."""
        async with aclosing(self.exchange("DecodeStream")) as exchange:
            await exchange.begin(decode_config(partial=partial))
            async for piece in pieces:
                for request in decode_pieces(piece, ""):
                    await exchange.send(request)
                for answer in await exchange.ready():
                    yield raw_media(answer.piece)
            async for answer in exchange.rest():
                yield raw_media(answer.piece)

    async def start_encode(
        self,
        item: Item,
        codec: str,
        *,
        quality: int | None = None,
        effort: str | None = None,
        method: str | None = None,
        target_psnr: float | None = None,
        target_bytes: int | None = None,
        compress: bool = False,
        previews: float | None = None,
        request_id: str | None = None,
    ) -> AsyncOperation:
        """Begin an encode that may take minutes; see `Client.start_encode`."""
        steps = self.requests.start_encode(
            item,
            codec,
            Settings(quality=quality, effort=effort, method=method),
            target_psnr=target_psnr,
            target_bytes=target_bytes,
            compress=compress,
            previews=previews,
            request_id=request_id,
        )
        return AsyncOperation(self, await self.run(steps))

    async def operation(self, name: str) -> AsyncOperation:
        """Return the operation of this name; raises `InvalidInput` when there is none."""
        return AsyncOperation(self, await self.run(self.requests.operation(name)))

    async def operations(self, where: str = "") -> AsyncIterator[AsyncOperation]:
        """Yield the operations of the server, the newest first; see `Client.operations`."""
        token = ""
        while True:
            page, token = await self.run(self.requests.operations(where, token))
            for message in page:
                yield AsyncOperation(self, message)
            if not token:
                return

    async def run(self, steps: Steps[T]) -> T:
        """Return the result of steps; what they compute, they do in a thread."""
        answer: Any = None
        error: grpc.RpcError | None = None
        while True:
            step, result = await asyncio.to_thread(_advance, steps, answer, error)
            if step is None:
                done: T = result
                return done
            answer = error = None
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                continue
            try:
                answer = await self._call(step)
            except grpc.RpcError as e:
                error = e

    async def _call(self, call: Call | StreamCall) -> Any:
        method = self._method(call.method)
        metadata = self.requests.connection.metadata
        if isinstance(call, StreamCall):
            answers = method(call.requests(), timeout=call.timeout, metadata=metadata)
            return [answer async for answer in answers]
        return await method(call.request, timeout=call.timeout, metadata=metadata)

    def _method(self, name: str) -> Any:
        if self._closed:
            raise Unavailable("this client was closed")
        if self._channel is None:  # not made before, as that has to happen inside of the loop
            self._channel = self.requests.connection.channel(grpc.aio)
            self._stub = CodecServiceStub(self._channel)
            self._operations = operations_pb2_grpc.OperationsStub(self._channel)
        return getattr(self._stub, name, None) or getattr(self._operations, name)

    def exchange(self, method: str) -> AsyncExchange:
        """Begin a call of a method that streams both ways."""
        return AsyncExchange(self._method(method), self.requests.connection)


def _advance(steps: Steps[T], answer: Any, error: grpc.RpcError | None) -> tuple[Step | None, Any]:
    """Return the next step, or None and the result."""
    try:
        return (steps.send(answer) if error is None else steps.throw(error)), None
    except StopIteration as e:  # which no future may hold
        return None, e.value
