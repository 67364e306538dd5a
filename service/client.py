"""A synchronous client of the gRPC server: the codec interface, over the network."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Self

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from omnicodec.codecs import (
    MODALITIES,
    CodecSpec,
    InvalidInput,
    LimitExceeded,
    Media,
    OmnicodecError,
    Tokens,
    Unavailable,
    UnknownCodec,
)
from omnicodec.codecs.errors import ERROR_CODES
from omnicodec.codecs.files import read_all
from omnicodec.codecs.stream import inspect
from omnicodec.service import convert
from omnicodec.service.operation import Operation
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

Item = Media | bytes | str | os.PathLike[str]
"""What is encoded: media, which travel raw, or a file, as its bytes or its path."""

_ERRORS: Final = {codes.grpc_status: kind for kind, codes in ERROR_CODES.items()} | {
    "DEADLINE_EXCEEDED": Unavailable,
    "UNIMPLEMENTED": Unavailable,  # a server, but not of this service
}

_INVALID: Final = ("OPERATION_NOT_FOUND", "OPERATION_NOT_ENDED")
"""Reasons of errors whose status stands for other errors otherwise."""

_FIELD_BYTES: Final = 6  # of a tag and a length

_RECONNECT_MS: Final = 2000
"""The longest wait between two tries to reach a server; gRPC's own is two minutes."""


class Client:
    """Talks to the server at `target`, "HOST:PORT"; may be shared between threads.

    `timeout` is in seconds and bounds each call, waiting for a busy server included; None
    waits for ever. Batches of any size are split into calls of at most `max_items` items
    and `max_message_bytes`, which should be the server's own limits.

    Methods raise the errors that the codecs raise in process, and `Unavailable` when the
    server cannot be reached or does not answer in time.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float | None = 60.0,
        max_message_bytes: int = convert.MAX_MESSAGE_BYTES,
        max_items: int = convert.MAX_ITEMS,
    ) -> None:
        self.target = target
        self.timeout = timeout
        self._max_message_bytes = max_message_bytes
        self._max_items = max_items
        options = [
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
        ]
        self._channel = grpc.insecure_channel(target, options=options)
        self._stub = CodecServiceStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)

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
        self._channel.close()

    def codecs(self) -> list[CodecSpec]:
        """Return the specs of all codecs of the server."""
        answer = self._call("ListCodecs", pb.ListCodecsRequest())
        return [convert.spec_from_proto(codec) for codec in answer.codecs]

    def codec(self, name: str) -> CodecSpec:
        """Return the spec of the codec `name[@version]`."""
        with convert.fitting("names"):
            request = pb.GetCodecRequest(name=name)
        return convert.spec_from_proto(self._call("GetCodec", request))

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
        with convert.fitting("settings"):
            base = pb.EncodeRequest(codec=codec, quality=quality, effort=effort, method=method)
        answers = self._batched("Encode", base, "items", map(_to_message, _many(items)), "tokens")
        return [convert.tokens_from_proto(tokens) for tokens in answers]

    def decode(self, tokens: Iterable[Tokens]) -> list[Media]:
        """Return the media of each item's tokens; the items may be of different codecs."""
        kinds: list[type[Media]] = []

        def to_message(item: Tokens) -> media_pb2.Tokens:
            if not isinstance(item, Tokens):
                raise InvalidInput(f"tokens are Tokens, not {type(item).__name__}")
            kinds.append(_media_type(item.codec))
            return convert.tokens_to_proto(item)

        answers = self._batched(
            "Decode", pb.DecodeRequest(), "tokens", map(to_message, _many(tokens)), "items"
        )
        return list(map(convert.media_from_proto, answers, kinds))

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
        with convert.fitting("settings"):
            base = pb.CompressRequest(codec=codec, quality=quality, effort=effort, method=method)
        messages = map(_to_message, _many(items))
        return self._batched("Compress", base, "items", messages, "streams")

    def decompress(self, streams: Iterable[bytes], *, partial: bool = False) -> list[Media]:
        """Return the item of each .omc stream.

        With `partial`, damaged streams give back what their whole chunks hold.
        """
        kinds: list[type[Media]] = []

        def check(stream: bytes) -> bytes:
            if not isinstance(stream, bytes):
                raise InvalidInput(f"streams are bytes, not {type(stream).__name__}")
            kinds.append(_media_type(inspect(stream).codec))
            return stream

        base = pb.DecompressRequest(partial=partial)
        answers = self._batched("Decompress", base, "streams", map(check, _many(streams)), "items")
        return list(map(convert.media_from_proto, answers, kinds))

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
        outputs = pb.StartEncodeRequest.Output
        with convert.fitting("settings"):
            request = pb.StartEncodeRequest(
                codec=codec,
                quality=quality,
                effort=effort,
                method=method,
                target_psnr=target_psnr,
                target_bytes=target_bytes,
                output=outputs.OUTPUT_STREAM if compress else outputs.OUTPUT_TOKENS,
                request_id=uuid.uuid4().hex if request_id is None else request_id,
            )
            if previews is not None:
                interval = duration_pb2.Duration()
                interval.FromMilliseconds(round(1000 * previews))
                request.preview_interval.CopyFrom(interval)
        request.item.CopyFrom(_to_message(item))
        return Operation(self, self.ask("StartEncode", request))

    def operation(self, name: str) -> Operation:
        """Return the operation of this name, such as another process began it.

        Raises `InvalidInput` when there is none.
        """
        with convert.fitting("names"):
            request = operations_pb2.GetOperationRequest(name=name)
        return Operation(self, self.ask("GetOperation", request))

    def operations(self, where: str = "") -> Iterator[Operation]:
        """Return an iterator over the operations of the server, the newest first.

        `where` is a filter: `done = false AND metadata.state != QUEUED AND metadata.codec =
        image/rate`.
        """
        with convert.fitting("filters"):
            request = operations_pb2.ListOperationsRequest(filter=where)
        while True:
            page = self.ask("ListOperations", request)
            yield from (Operation(self, message) for message in page.operations)
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def ask(self, method: str, request: Message, *, longer: float = 0.0) -> Any:
        """Return the answer of a method of the server; `longer` than `timeout` it may take."""
        if request.ByteSize() > self._max_message_bytes:
            raise LimitExceeded(
                f"a request of {request.ByteSize():,} bytes is over the limit of "
                f"{self._max_message_bytes:,} bytes a message"
            )
        return self._call(method, request, longer)

    def error_of(self, code: int, message: str) -> OmnicodecError:
        """Return the error that a google.rpc.Code of an operation stands for."""
        status = next((s.name for s in grpc.StatusCode if s.value[0] == code), "")
        return _ERRORS.get(status, OmnicodecError)(message)

    def _batched(
        self, method: str, base: Message, field: str, items: Iterable[Any], answer: str
    ) -> list[Any]:
        """Return the answers to all items, in order, from as many calls as it takes.

        Each request is `base` with some of the items in its `field`. There is one call at
        least, so that a wrong codec is noticed also without items.
        """
        room = self._max_message_bytes - base.ByteSize()
        answers: list[Any] = []
        most = self._max_items

        def send(batch: list[Any]) -> None:
            nonlocal most
            while True:
                request = type(base)()
                request.CopyFrom(base)
                getattr(request, field).extend(batch[:most])
                try:
                    found = getattr(self._call(method, request), answer)
                except _BatchTooLarge as e:
                    if not 0 < e.fits < len(batch[:most]):
                        raise
                    most = e.fits
                    continue
                if len(found) != len(batch[:most]):
                    raise OmnicodecError(
                        f"{self.target} answered {len(found)} of {len(batch[:most])} items"
                    )
                answers.extend(found)
                batch = batch[most:]
                if not batch:
                    return

        batch: list[Any] = []
        used = 0
        calls = 0
        for item in items:
            size = _FIELD_BYTES + (len(item) if isinstance(item, bytes) else item.ByteSize())
            if size > room:
                raise LimitExceeded(
                    f"an item of {size:,} bytes is over the limit of "
                    f"{self._max_message_bytes:,} bytes a message"
                )
            if batch and (len(batch) >= most or used + size > room):
                send(batch)
                calls += 1
                batch, used = [], 0
            batch.append(item)
            used += size
        if batch or not calls:
            send(batch)
        return answers

    def _call(self, method: str, request: Message, longer: float = 0.0) -> Any:
        """Return the answer to one request, asked again for as long as the server is busy."""
        stub = self._stub if hasattr(self._stub, method) else self._operations
        call: Callable[..., Any] = getattr(stub, method)
        ends = None if self.timeout is None else time.monotonic() + self.timeout + longer
        while True:
            left = None if ends is None else max(ends - time.monotonic(), 0.001)
            try:
                return call(request, timeout=left)
            except grpc.RpcError as e:
                wait = _retry_seconds(e)
                # Without chance in it, all who were turned away would come back at once.
                wait = wait and wait * random.uniform(0.5, 1.5)
                if wait is None or (ends is not None and time.monotonic() + wait >= ends):
                    raise self._error(e) from e
                time.sleep(wait)

    def _error(self, error: grpc.RpcError) -> OmnicodecError:
        """Return what the server raised, by the table that the server used as well."""
        status, message = error.code().name, error.details() or ""
        if status == "DEADLINE_EXCEEDED":
            return Unavailable(f"no answer from {self.target} within {self.timeout:g} s")
        kind = _ERRORS.get(status, OmnicodecError)
        if kind is Unavailable or _retry_seconds(error) is not None:
            return Unavailable(f"{self.target}: {message}")
        info = _detail(error, error_details_pb2.ErrorInfo())
        if info is not None and info.reason == "BATCH_TOO_LARGE":
            fits = info.metadata.get("fits", "")
            return _BatchTooLarge(message, int(fits) if fits.isdecimal() else 0)
        if info is not None and info.reason in _INVALID:
            return InvalidInput(message)
        return kind(message)


class _BatchTooLarge(LimitExceeded):
    """The server says that only the first `fits` items of a batch fit one call."""

    def __init__(self, message: str, fits: int) -> None:
        super().__init__(message)
        self.fits = fits


def _retry_seconds(error: grpc.RpcError) -> float | None:
    """Return how long to wait, when the server says that waiting helps."""
    info = _detail(error, error_details_pb2.RetryInfo())
    if info is None:
        return None
    seconds: float = info.retry_delay.ToTimedelta().total_seconds()
    return min(max(seconds, 0.01), 30.0)


def _detail(error: grpc.RpcError, detail: Any) -> Any:
    """Return the first detail of a status that is of the same type as `detail`, or None."""
    try:
        status = rpc_status.from_call(error)
    except (ValueError, AttributeError):  # another server's details, or none at all
        return None
    for packed in status.details if status is not None else ():
        if packed.Unpack(detail):
            return detail
    return None


def _to_message(item: Item) -> media_pb2.Media:
    if isinstance(item, Media):
        return convert.media_to_proto(item)
    if isinstance(item, bytes | bytearray | memoryview | str | os.PathLike):
        return media_pb2.Media(file=read_all(item))
    raise InvalidInput(f"items are media, bytes or paths, not {type(item).__name__}")


def _many(items: Iterable[Any]) -> Iterable[Any]:
    """Return `items`, unless it is a single one, which iterates into something else."""
    if isinstance(items, bytes | bytearray | memoryview | str | os.PathLike | Media | Tokens):
        raise InvalidInput(f"give a list of items, not a single {type(items).__name__}")
    return items


def _media_type(codec: str) -> type[Media]:
    """Return the media class of a codec that need not be known here, only its modality."""
    try:
        return MODALITIES[codec.partition("/")[0]]
    except KeyError:
        raise UnknownCodec(f"unknown codec {codec!r}") from None
