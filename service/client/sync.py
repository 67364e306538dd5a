"""The synchronous client."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.longrunning import operations_pb2_grpc

from omnicodec.codecs import CodecSpec, Media, Tokens, Unavailable
from omnicodec.codecs.codec import Settings
from omnicodec.service import convert
from omnicodec.service.client.codec import RemoteCodec, remote_codec
from omnicodec.service.client.connection import Connection, PathLike
from omnicodec.service.client.operation import Operation
from omnicodec.service.client.requests import Item, Requests, media_message, raw_media
from omnicodec.service.client.steps import Call, Pause, Steps, StreamCall
from omnicodec.service.client.streams import (
    Exchange,
    decode_config,
    decode_pieces,
    encode_config,
    encode_pieces,
)
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

T = TypeVar("T")


class Client:
    """Talks to the server at `target`, "HOST:PORT"; may be shared between threads.

    All calls share one connection, which is opened when it is first needed and again after it
    was lost. `timeout` is in seconds and bounds each call, waiting for a busy server and new
    tries included; None waits for ever. A server that cannot be reached, or is gone before it
    has answered, is tried `retries` times more, with growing pauses: some 2 seconds
    altogether. With 0, busy servers are not asked again either.
    Batches of any size are split into calls of at most `max_items` items and `max_message_bytes`,
    which should be the server's own limits; an item that is larger goes in pieces.

    With `tls`, or one of the PEM files, the connection is encrypted: `ca` has the authorities
    that may vouch for the server (None: those that the system trusts), `certificate` and `key`
    are the client's own, for a server that asks for them. `token` is a bearer token, by default
    that of the variable OMNICODEC_TOKEN; it goes over TLS, or to this machine, and nowhere else.
    `channel_options` are further options of the gRPC channel, by name.

    Methods raise the errors that the codecs raise in process, and `Unavailable` when the
    server cannot be reached, does not let this client in or does not answer in time.
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
        self._channel = self.requests.connection.channel()
        self._stub = CodecServiceStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in progress end with an error."""
        self._closed.set()
        self._channel.close()

    def codecs(self) -> list[CodecSpec]:
        """Return the specs of all codecs of the server."""
        return self.run(self.requests.codecs())

    def codec(self, name: str) -> RemoteCodec:
        """Return the codec `name[@version]` of the server, which is used like a local one."""
        return remote_codec(self, self.run(self.requests.spec(name)))

    def encode(
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
        return self.run(self.requests.encode(items, codec, settings))

    def decode(self, tokens: Iterable[Tokens]) -> list[Media]:
        """Return the media of each item's tokens; the items may be of different codecs."""
        return self.run(self.requests.decode(tokens))

    def compress(
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
        return self.run(self.requests.compress(items, codec, settings))

    def decompress(self, streams: Iterable[bytes], *, partial: bool = False) -> list[Media]:
        """Return the item of each .omc stream.

        With `partial`, damaged streams give back what their whole chunks hold.
        """
        return self.run(self.requests.decompress(streams, partial=partial))

    def compress_pieces(
        self,
        pieces: Iterable[Media],
        codec: str,
        *,
        quality: int | None = None,
        effort: str | None = None,
        chunk_seconds: float | None = None,
    ) -> Iterator[bytes]:
        """Return an iterator over the bytes of one .omc stream of all pieces together.

        They come as soon as they are final, for codecs that are streaming; `compress_pieces` of
        `omnicodec.codecs` says more. An item that comes in pieces may be larger than a message.
        """
        settings = Settings(quality=quality, effort=effort)
        config = encode_config(codec, settings, stream=True, chunk_seconds=chunk_seconds)
        with closing(self.exchange("EncodeStream")) as exchange:
            exchange.send(config)
            for piece in pieces:
                for request in encode_pieces(media_message(piece)):
                    exchange.send(request)
                for answer in exchange.ready():
                    yield answer.stream
            for answer in exchange.rest():
                yield answer.stream

    def decompress_pieces(
        self, pieces: Iterable[bytes], *, partial: bool = False
    ) -> Iterator[Media]:
        """Return an iterator over pieces of the media of one .omc stream, which comes in pieces.

        Of streams of a codec that is streaming they come as soon as they are final, undamaged.
        Joined along time, or rows of a picture, they are what `decompress` returns.
        """
        with closing(self.exchange("DecodeStream")) as exchange:
            exchange.send(decode_config(partial=partial))
            for piece in pieces:
                for request in decode_pieces(piece, ""):
                    exchange.send(request)
                for answer in exchange.ready():
                    yield raw_media(answer.piece)
            for answer in exchange.rest():
                yield raw_media(answer.piece)

    def start_encode(
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
    ) -> Operation:
        """Begin an encode that may take minutes, and return it at once.

        Its result are tokens, or with `compress` an .omc stream. A codec that is `resumable` by
        its spec ends early when its result has a PSNR of `target_psnr` dB and is no larger than
        `target_bytes`, both as estimated. With `previews` the server draws one that often, in
        seconds. Called again with the same `request_id`, of at most 64 characters, the operation
        of the first call is returned: after a call whose answer was lost. Raises `Unavailable`
        where the server keeps no jobs.
        """
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
        return Operation(self, self.run(steps))

    def operation(self, name: str) -> Operation:
        """Return the operation of this name, such as another process began it.

        Raises `InvalidInput` when there is none.
        """
        return Operation(self, self.run(self.requests.operation(name)))

    def operations(self, where: str = "") -> Iterator[Operation]:
        """Return an iterator over the operations of the server, the newest first.

        `where` is a filter: `done = false AND metadata.state != QUEUED AND metadata.codec =
        image/rate`.
        """
        token = ""
        while True:
            page, token = self.run(self.requests.operations(where, token))
            yield from (Operation(self, message) for message in page)
            if not token:
                return

    def run(self, steps: Steps[T]) -> T:
        """Return the result of steps, carried out in this thread."""
        answer: Any = None
        error: grpc.RpcError | None = None
        while True:
            try:
                step = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as e:
                result: T = e.value
                return result
            answer = error = None
            if isinstance(step, Pause):
                if self._closed.wait(step.seconds):
                    raise Unavailable("this client was closed")
                continue
            try:
                answer = self._call(step)
            except grpc.RpcError as e:
                error = e

    def _call(self, call: Call | StreamCall) -> Any:
        method = self._method(call.method)
        metadata = self.requests.connection.metadata
        if isinstance(call, StreamCall):
            return list(method(call.requests(), timeout=call.timeout, metadata=metadata))
        return method(call.request, timeout=call.timeout, metadata=metadata)

    def _method(self, name: str) -> Any:
        if self._closed.is_set():
            raise Unavailable("this client was closed")
        return getattr(self._stub, name, None) or getattr(self._operations, name)

    def exchange(self, method: str) -> Exchange:
        """Begin a call of a method that streams both ways."""
        return Exchange(self._method(method), self.requests.connection)
