"""EncodeStream and DecodeStream: one item in pieces, live where its codec can.

live:       read a piece -> work on it in threads -> write what became final -> read the next
collected:  read all pieces, within the limits of an item -> work -> write pieces of the answer
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

from google.protobuf.message import Message

from omnicodec.codecs import (
    Codec,
    FingerprintMismatch,
    InvalidInput,
    LimitExceeded,
    Media,
    StreamingCodec,
    Tokens,
    Video,
)
from omnicodec.service import convert
from omnicodec.service.pieces import (
    PIECE_BYTES,
    cut_bytes,
    cut_media,
    cut_tokens,
    join_media,
    join_tokens,
)
from omnicodec.service.server.calls import current
from omnicodec.service.server.engine import Engine
from omnicodec.service.server.jobs import Job
from omnicodec.service.server.live import STEPS, LiveReader, LiveWriter
from omnicodec.service.server.options import ServerOptions
from omnicodec.service.server.service import SERVICE
from omnicodec.service.server.stream_calls import Room, StreamCall, StreamService
from omnicodec.service.server.workers import Workers
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2

EncodeCall = StreamCall[pb.EncodeStreamRequest]
DecodeCall = StreamCall[pb.DecodeStreamRequest]

P = TypeVar("P", bytes, media_pb2.Media, media_pb2.Tokens)


class Streams:
    """The two methods, on an engine."""

    def __init__(self, options: ServerOptions, engine: Engine, workers: Workers) -> None:
        self._options, self._engine, self._workers = options, engine, workers
        self._most = min(PIECE_BYTES, options.max_message_bytes // 2)

    async def encode(self, call: EncodeCall) -> AsyncIterator[pb.EncodeStreamResponse]:
        """Answer with the tokens or the stream of one item in pieces."""
        first = await call.read()
        if first is None or first.WhichOneof("message") != "config":
            raise InvalidInput("the first message of a stream is its config")
        config = first.config
        settings = {
            name: getattr(config, name)
            for name in ("quality", "effort", "method")
            if config.HasField(name)
        }

        codec = await self._engine.codecs.ready(config.codec, call.job)
        codec.encode([], **settings)  # says no before anything is taken
        current().about(codec.spec.name, 1)
        piece = await _piece(call)
        if piece is None:
            raise InvalidInput("the stream ended before its first piece")
        file = piece.WhichOneof("kind") == "file"
        if isinstance(codec, StreamingCodec) and not file and "method" not in settings:
            answers = self._encode_live(call, config, codec, piece)
        else:
            answers = self._encode_whole(call, config, codec, settings, piece)
        async for answer in answers:
            yield answer

    async def decode(self, call: DecodeCall) -> AsyncIterator[pb.DecodeStreamResponse]:
        """Answer with the media of one item in pieces."""
        first = await call.read()
        if first is None or first.WhichOneof("message") != "config":
            raise InvalidInput("the first message of a stream is its config")
        config, message = first.config, await _next(call)
        if message is None:
            raise InvalidInput("the stream ended before its first piece")
        if message.WhichOneof("message") == "tokens":
            answers = self._decode_tokens(call, config, message.tokens)
        else:
            answers = self._decode_stream(call, config, message.stream)
        async for piece in answers:
            yield pb.DecodeStreamResponse(piece=piece)

    async def _encode_live(
        self,
        call: EncodeCall,
        config: pb.EncodeStreamConfig,
        codec: StreamingCodec[Any],
        piece: media_pb2.Media | None,
    ) -> AsyncIterator[pb.EncodeStreamResponse]:
        job, workers = call.job, self._workers
        quality = config.quality if config.HasField("quality") else None
        effort = config.effort if config.HasField("effort") else None
        encoder = codec.open_encoder(quality=quality, effort=effort)
        writer = None
        if config.output == pb.EncodeStreamConfig.OUTPUT_STREAM:
            seconds = config.chunk_seconds if config.HasField("chunk_seconds") else None
            writer = LiveWriter(codec, quality=quality, chunk_seconds=seconds)

        def push(message: media_pb2.Media) -> Tokens:
            return encoder.push(
                _checked(convert.media_from_proto(message, codec.media_type), codec)
            )

        while piece is not None:
            for part in cut_media(piece):  # so that others have their turn in a long piece
                tokens = await job.run(workers.compute, push, part)
                self._count(codec, tokens)
                if writer is None:
                    yield pb.EncodeStreamResponse(tokens=convert.tokens_to_proto(tokens))
                elif data := await job.run(workers.cpu, writer.push, tokens):
                    yield pb.EncodeStreamResponse(stream=data)
            piece = await _piece(call)
        tokens = await job.run(workers.compute, encoder.finish)
        self._count(codec, tokens)
        if writer is None:
            yield pb.EncodeStreamResponse(tokens=convert.tokens_to_proto(tokens))
        else:
            data = await job.run(workers.cpu, writer.finish, tokens)
            yield pb.EncodeStreamResponse(stream=data)

    async def _encode_whole(
        self,
        call: EncodeCall,
        config: pb.EncodeStreamConfig,
        codec: Codec[Any],
        settings: dict[str, Any],
        piece: media_pb2.Media | None,
    ) -> AsyncIterator[pb.EncodeStreamResponse]:
        pieces: list[media_pb2.Media] = []
        nbytes = 0
        while piece is not None:
            nbytes = self._collect(call, pieces, piece, nbytes)
            piece = await _piece(call)
        item = await call.job.run(self._workers.cpu, join_media, pieces)
        del pieces, piece
        request = {"codec": config.codec, "items": [item], **settings}
        del item
        if config.output == pb.EncodeStreamConfig.OUTPUT_STREAM:
            compressed = await self._large.compress(pb.CompressRequest(**request), call.job)
            for data in cut_bytes(compressed.streams[0], self._most):
                yield pb.EncodeStreamResponse(stream=data)
        else:
            encoded = await self._large.encode(pb.EncodeRequest(**request), call.job)
            for tokens in cut_tokens(encoded.tokens[0], _grows(codec), self._most):
                yield pb.EncodeStreamResponse(tokens=tokens)

    async def _decode_tokens(
        self, call: DecodeCall, config: pb.DecodeStreamConfig, tokens: media_pb2.Tokens
    ) -> AsyncIterator[media_pb2.Media]:
        codec = await self._engine.codecs.ready(tokens.codec, call.job)
        current().about(codec.spec.name, 1)
        if tokens.fingerprint != codec.spec.fingerprint:
            raise FingerprintMismatch(
                f"the tokens were made by another model of {codec.spec.name}, "
                f"this is {codec.spec.fingerprint}"
            )
        message: pb.DecodeStreamRequest | None = pb.DecodeStreamRequest(tokens=tokens)
        if isinstance(codec, StreamingCodec) and not config.HasField("format"):
            decoding = _Decoding(codec)
            while message is not None:
                _same_kind(message, "tokens")
                # Of a few steps at a time, so that others have their turn in a long piece.
                grid = convert.grid_of(message.tokens)
                books = message.tokens.codebooks * math.prod(grid[1:])
                for part in cut_tokens(message.tokens, _grows(codec), max(1, 4 * STEPS * books)):
                    given = await call.job.run(self._workers.cpu, convert.tokens_from_proto, part)
                    for media in await self._push(call.job, decoding, given):
                        yield media
                message = await _next(call)
            for media in await self._push(call.job, decoding, None):
                yield media
            return
        pieces: list[media_pb2.Tokens] = []
        nbytes = 0
        while message is not None:
            _same_kind(message, "tokens")
            nbytes = self._collect(call, pieces, message.tokens, nbytes)
            message = await _next(call)
        joined = await call.job.run(self._workers.cpu, join_tokens, pieces, _grows(codec))
        del pieces
        request = pb.DecodeRequest(tokens=[joined])
        if config.HasField("format"):
            request.format = config.format
        answer = await self._large.decode(request, call.job)
        for media in cut_media(answer.items[0], self._most):
            yield media

    async def _decode_stream(
        self, call: DecodeCall, config: pb.DecodeStreamConfig, data: bytes
    ) -> AsyncIterator[media_pb2.Media]:
        pieces: list[bytes] = []
        nbytes = 0
        if not config.HasField("format") and not config.partial:
            reader, header = LiveReader(), None
            message: pb.DecodeStreamRequest | None = pb.DecodeStreamRequest(stream=data)
            while header is None and message is not None:
                _same_kind(message, "stream")
                nbytes = self._collect(call, pieces, message.stream, nbytes)
                header = reader.begin(message.stream)
                if header is None:
                    message = await _next(call)
            if header is not None:
                codec = await self._engine.codecs.ready(header.codec, call.job)
                if isinstance(codec, StreamingCodec) and not header.HasField("sound"):
                    tokens = header.chunk_positions * codec.spec.per_position
                    if tokens > self._options.max_tokens:
                        raise LimitExceeded(
                            f"a chunk of {tokens:,} tokens is over the limit of "
                            f"{self._options.max_tokens:,}"
                        )
                    async for media in self._decode_live(call, codec, reader):
                        yield media
                    return
        else:
            nbytes = self._collect(call, pieces, data, nbytes)
        while (message := await _next(call)) is not None:
            _same_kind(message, "stream")
            nbytes = self._collect(call, pieces, message.stream, nbytes)
        request = pb.DecompressRequest(streams=[b"".join(pieces)], partial=config.partial)
        del pieces
        if config.HasField("format"):
            request.format = config.format
        answer = await self._large.decompress(request, call.job)
        for media in cut_media(answer.items[0], self._most):
            yield media

    async def _decode_live(
        self, call: DecodeCall, codec: StreamingCodec[Any], reader: LiveReader
    ) -> AsyncIterator[media_pb2.Media]:
        """Decode the stream whose header the reader has."""
        current().about(codec.spec.name, 1)
        job, workers = call.job, self._workers
        decoding = _Decoding(codec)
        for media in await self._push(job, decoding, reader.open(codec)):
            yield media
        data: bytes | None = b""
        while data is not None:
            source = reader.push(data)
            while (tokens := await job.run(workers.cpu, _take, source)) is not None:
                for media in await self._push(job, decoding, tokens):
                    yield media
            call.keep(reader.nbytes)
            message = await _next(call)
            if message is not None:
                _same_kind(message, "stream")
            data = None if message is None else message.stream
        source = reader.finish()
        while (tokens := await job.run(workers.cpu, _take, source)) is not None:
            for media in await self._push(job, decoding, tokens):
                yield media
        for media in await self._push(job, decoding, None):
            yield media

    async def _push(
        self, job: Job, decoding: _Decoding, tokens: Tokens | None
    ) -> Iterator[media_pb2.Media]:
        """Return what became final with these tokens, or with the last ones, in pieces."""
        if tokens is not None:
            self._count(decoding.codec, tokens)
        media = await job.run(self._workers.compute, decoding.push, tokens)
        if media is None:
            return iter(())
        message = await job.run(self._workers.cpu, convert.media_to_proto, media)
        return cut_media(message, self._most)

    def _collect(self, call: StreamCall[Any], pieces: list[P], piece: P, nbytes: int) -> int:
        """Add a piece to others of `nbytes`; raises `LimitExceeded` for more than an item has."""
        nbytes += piece.ByteSize() if isinstance(piece, Message) else len(piece)
        if nbytes > self._options.max_item_bytes:
            raise LimitExceeded(
                f"the item is over the limit of {self._options.max_item_bytes:,} bytes"
            )
        call.keep(nbytes)
        pieces.append(piece)
        return nbytes

    def _count(self, codec: Codec[Any], tokens: Tokens) -> None:
        current().metrics.tokens(codec.spec.name, tokens.values.size)

    @property
    def _large(self) -> Engine:
        """The engine, for items that are larger than a message."""
        return self._engine.for_items()


class _Decoding:
    """A decoder, and whether it has answered yet: the first answer tells rate and channels."""

    def __init__(self, codec: StreamingCodec[Any]) -> None:
        self.codec = codec
        self._decoder = codec.open_decoder()
        self._begun = False

    def push(self, tokens: Tokens | None) -> Media | None:
        """Return what became final, if anything; with None the decoder is finished."""
        media: Media = self._decoder.finish() if tokens is None else self._decoder.push(tokens)
        if not media.nbytes and self._begun:
            return None
        self._begun = True
        return media


async def _piece(call: EncodeCall) -> media_pb2.Media | None:
    message = await call.read()
    if message is None:
        return None
    if message.WhichOneof("message") != "piece":
        raise InvalidInput("after its first message a stream has pieces only")
    return message.piece


async def _next(call: DecodeCall) -> pb.DecodeStreamRequest | None:
    message = await call.read()
    if message is not None and message.WhichOneof("message") not in ("tokens", "stream"):
        raise InvalidInput("after its first message a stream has tokens or bytes of a stream only")
    return message


def _same_kind(message: pb.DecodeStreamRequest, kind: str) -> None:
    if message.WhichOneof("message") != kind:
        raise InvalidInput("the pieces of an item are all of one kind")


def _checked(media: Media, codec: Codec[Any]) -> Media:
    """Return a piece that the encoder can take; raises `InvalidInput` for another modality."""
    if not isinstance(media, codec.media_type):
        raise InvalidInput(
            f"{codec.spec.name} encodes {codec.media_type.__name__}, not {type(media).__name__}"
        )
    if isinstance(media, Video) and media.audio is not None:
        raise InvalidInput("a video in pieces cannot have sound")
    return media


def _grows(codec: Codec[Any]) -> str:
    """Return the integer of the extent that grows along a stream; "" where there is none."""
    return codec.spec.extent[0] if codec.spec.extent else ""


def _take(source: Iterator[Tokens]) -> Tokens | None:
    return next(source, None)


def stream_service(
    options: ServerOptions, engine: Engine, workers: Workers, room: Room
) -> StreamService:
    """Return the part of CodecService that takes streams, for which there is `room`."""
    methods = Streams(options, engine, workers)
    return StreamService(
        SERVICE.full_name,
        {
            "EncodeStream": (pb.EncodeStreamRequest, methods.encode),
            "DecodeStream": (pb.DecodeStreamRequest, methods.decode),
        },
        workers,
        room,
        idle_seconds=options.stream_idle_seconds,
        most_items=1,
    )
