"""The methods of CodecService, as work for jobs; nothing here knows of gRPC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from google.protobuf.message import Message

from omnicodec.codecs import (
    MODALITIES,
    Codec,
    LimitExceeded,
    Media,
    OmnicodecError,
    Tokens,
    available,
    describe,
    load,
)
from omnicodec.codecs.stream import (
    StreamContents,
    decode_contents,
    encode_sound,
    inspect,
    read_tokens,
    write_tokens,
)
from omnicodec.codecs.stream.omc import Sound, reads_apart
from omnicodec.service import convert
from omnicodec.service.server.jobs import BatchTooLarge, Job, Stage, Workers
from omnicodec.service.server.options import ServerOptions
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2

R = TypeVar("R", pb.EncodeRequest, pb.CompressRequest)


class Engine:
    """Does the work of each method in the threads of `workers`."""

    def __init__(self, options: ServerOptions, workers: Workers) -> None:
        self._options = options
        self._workers = workers

    def load(self, name: str) -> Codec[Any]:
        """Return a codec on the server's device; takes seconds the first time."""
        return load(name, device=self._options.device)

    async def list_codecs(self, request: pb.ListCodecsRequest, job: Job) -> pb.ListCodecsResponse:
        def work() -> pb.ListCodecsResponse:
            codecs = [convert.spec_to_proto(describe(name)) for name in available()]
            return pb.ListCodecsResponse(codecs=codecs)

        return await job.run(self._workers.cpu, work)

    async def get_codec(self, request: pb.GetCodecRequest, job: Job) -> pb.Codec:
        def work() -> pb.Codec:
            return convert.spec_to_proto(describe(request.name))

        return await job.run(self._workers.cpu, work)

    async def encode(self, request: pb.EncodeRequest, job: Job) -> pb.EncodeResponse:
        _, open_media, encode = await self._encoder(request, job)

        def to_proto(tokens: Tokens) -> media_pb2.Tokens:
            return convert.tokens_to_proto(tokens)

        stages = [open_media, encode, Stage(self._workers.cpu, to_proto)]
        return pb.EncodeResponse(tokens=await self._run(job, request.items, stages))

    async def compress(self, request: pb.CompressRequest, job: Job) -> pb.CompressResponse:
        codec, open_media, encode = await self._encoder(request, job)
        quality = request.quality if request.HasField("quality") else None

        def encode_both(media: Media) -> tuple[Tokens, Sound | None]:
            sound = encode_sound(media, device=self._options.device)
            return encode.work(media), sound

        def to_stream(encoded: tuple[Tokens, Sound | None]) -> bytes:
            tokens, sound = encoded
            return write_tokens(tokens, codec, quality=quality, sound=sound)

        last = Stage(self._workers.cpu, to_stream, lambda _: codec.prior.parallel)
        stages = [open_media, replace(encode, work=encode_both), last]
        return pb.CompressResponse(streams=await self._run(job, request.items, stages))

    async def decode(self, request: pb.DecodeRequest, job: Job) -> pb.DecodeResponse:
        self._check_count(len(request.tokens))
        suffix = request.format if request.HasField("format") else None

        def decode(message: media_pb2.Tokens) -> Media:
            tokens = convert.tokens_from_proto(message)
            codec = self.load(tokens.codec)
            self._check_answer(codec, len(tokens), tokens.extent, suffix)
            media: Media = codec.decode([tokens])[0]
            return media

        def apart(message: media_pb2.Tokens) -> bool:
            return self._decodes_apart(message.codec)

        stages = [Stage(self._workers.compute, decode, apart), self._to_media(suffix)]
        return pb.DecodeResponse(items=await self._run(job, request.tokens, stages))

    async def decompress(self, request: pb.DecompressRequest, job: Job) -> pb.DecompressResponse:
        self._check_count(len(request.streams))
        suffix = request.format if request.HasField("format") else None

        def read(stream: bytes) -> StreamContents:
            header = inspect(stream)
            codec = self.load(header.codec)
            extent = dict(zip(codec.spec.extent, header.extent, strict=False))
            self._check_answer(codec, math.prod(header.grid), extent, suffix)
            if header.HasField("sound"):
                heard = self.load(header.sound.codec)
                extent = dict(zip(heard.spec.extent, header.sound.extent, strict=False))
                self._check_answer(heard, math.prod(header.sound.grid), extent, suffix)
            contents = read_tokens(stream, partial=request.partial, device=self._options.device)
            # A stream without a length that was cut off has said nothing until now.
            tokens = contents.tokens
            self._check_answer(codec, len(tokens), tokens.extent, suffix)
            return contents

        def decode(contents: StreamContents) -> Media:
            return decode_contents(contents, device=self._options.device)

        def apart(stream: bytes) -> bool:
            return reads_apart(stream, self._options.device)

        def decodes_apart(contents: StreamContents) -> bool:
            return self._decodes_apart(contents.tokens.codec)

        stages = [
            Stage(self._workers.cpu, read, apart),
            Stage(self._workers.compute, decode, decodes_apart),
            self._to_media(suffix),
        ]
        return pb.DecompressResponse(items=await self._run(job, request.streams, stages))

    async def _encoder(self, request: R, job: Job) -> tuple[Codec[Any], Stage, Stage]:
        """Return the codec of a request, and the stages that open and encode its media."""
        self._check_count(len(request.items))
        settings = {
            name: getattr(request, name)
            for name in ("quality", "effort", "method")
            if request.HasField(name)
        }

        def prepare() -> Codec[Any]:
            codec = self.load(request.codec)
            codec.encode([], **settings)  # says no before files are opened
            return codec

        codec = await job.run(self._workers.compute, prepare)
        media_type = MODALITIES[codec.spec.modality]

        def open_media(message: media_pb2.Media) -> Media:
            return convert.media_from_proto(message, media_type)

        def encode(media: Media) -> Tokens:
            (tokens,) = codec.encode([media], **settings)
            return tokens

        workers = self._workers
        return (
            codec,
            Stage(workers.cpu, open_media),
            Stage(workers.compute, encode, lambda _: codec.parallel),
        )

    def _decodes_apart(self, name: str) -> bool:
        """Return whether tokens are best decoded beside others; those that cannot be are not."""
        try:
            return self.load(name).parallel
        except OmnicodecError:
            return False

    def _to_media(self, suffix: str | None) -> Stage:
        def to_proto(media: Media) -> media_pb2.Media:
            return convert.media_to_proto(media, suffix)

        return Stage(self._workers.cpu, to_proto)

    async def _run(self, job: Job, items: Sequence[Any], stages: list[Stage]) -> list[Any]:
        def size(result: bytes | Message) -> int:
            return len(result) if isinstance(result, bytes) else result.ByteSize()

        most = self._options.max_message_bytes
        return await job.run_all(items, stages, size=size, most_bytes=most)

    def _check_count(self, count: int) -> None:
        most = self._options.max_items
        if count > most:
            raise BatchTooLarge(f"{count} items are over the limit of {most} a request", most)

    def _check_answer(
        self, codec: Codec[Any], positions: int, extent: Mapping[str, int], suffix: str | None
    ) -> None:
        """Refuse tokens whose media no message can hold, before anything is made of them.

        A position covers a byte of media at least, and raw media have a byte at least for
        each pixel or sample: a few bytes of stream may stand for gigabytes of text, and a
        picture that is too large would keep the network busy for minutes.
        """
        size = positions * math.prod(codec.spec.covers.values()) if suffix is None else positions
        if suffix is None and "samples" in extent:  # of 4 bytes, for each channel
            size = 4 * extent["samples"] * extent.get("channels", 1)
        most = self._options.max_message_bytes
        if size > most:
            raise LimitExceeded(f"the decoded item is over the limit of {most:,} bytes a message")
