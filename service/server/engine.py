"""The methods of CodecService, as work for jobs; nothing here knows of gRPC."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from omnicodec.codecs import (
    MODALITIES,
    Codec,
    LimitExceeded,
    Media,
    Tokens,
    Work,
    available,
)
from omnicodec.codecs.registry import describe_named, opened
from omnicodec.codecs.stream import (
    StreamContents,
    decode_contents,
    encode_sound,
    inspect,
    read_tokens,
    write_tokens,
)
from omnicodec.codecs.stream.omc import Sound, reads_apart
from omnicodec.service import convert, opener
from omnicodec.service.opener import NeedsMore
from omnicodec.service.server.admission import Memory, Reservation
from omnicodec.service.server.calls import current
from omnicodec.service.server.costs import ItemLimits
from omnicodec.service.server.jobs import (
    BatchTooLarge,
    Compute,
    Job,
    Stage,
    naming,
)
from omnicodec.service.server.metrics import Metrics, Step
from omnicodec.service.server.options import ServerOptions
from omnicodec.service.server.warm import WarmCodecs
from omnicodec.service.server.workers import Workers
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2

R = TypeVar("R", pb.EncodeRequest, pb.CompressRequest)

_MOST_BYTES: Final = (1 << 31) - (1 << 20)  # protobuf has messages up to 2 GiB

_Encoded = tuple[Tokens, Sound | None, int]
"""Tokens, those of a video's sound, and the bytes of the media."""


class Engine:
    """Does the work of each method in the threads of `workers`."""

    def __init__(
        self, options: ServerOptions, workers: Workers, metrics: Metrics | None = None
    ) -> None:
        self._options = options
        self._most_bytes = options.max_message_bytes
        self._workers = workers
        self._limits = ItemLimits.of(options)
        self.memory = Memory(options.max_cost)
        self.codecs = WarmCodecs(workers, metrics or Metrics())

    @property
    def _device(self) -> str:
        return self._workers.compute.devices[0]

    def _width(self, codec: Codec[Any]) -> int:
        """Return how many items a codec runs side by side here: on a CPU, one."""
        return self._options.max_batch if codec.width > 1 else 1

    def for_items(self) -> Engine:
        """Return this engine for answers that are sent in pieces, and so larger than a message.

        What bounds them is the limits of an item, and memory.
        """
        engine = copy(self)
        engine._most_bytes = _MOST_BYTES
        return engine

    async def list_codecs(self, request: pb.ListCodecsRequest, job: Job) -> pb.ListCodecsResponse:
        def work() -> pb.ListCodecsResponse:
            names = (*available(), *opened())
            codecs = [convert.spec_to_proto(describe_named(name)) for name in names]
            return pb.ListCodecsResponse(codecs=codecs)

        return await job.run(self._workers.cpu, work)

    async def get_codec(self, request: pb.GetCodecRequest, job: Job) -> pb.Codec:
        def work() -> pb.Codec:
            return convert.spec_to_proto(describe_named(request.name))

        return await job.run(self._workers.cpu, work)

    async def encode(self, request: pb.EncodeRequest, job: Job) -> pb.EncodeResponse:
        codec, open_media, stage = await self._encoder(request, job, to_tokens=True)
        metrics, width = current().metrics, codec.spec.per_position

        def to_proto(tokens: Tokens) -> media_pb2.Tokens:
            self._limits.check_tokens(tokens.grid, width)
            metrics.tokens(tokens.codec, tokens.values.size)
            return convert.tokens_to_proto(tokens)

        save = Stage(self._workers.cpu, to_proto, step=Step.SAVE, codec=lambda _: codec.spec.name)
        stages: list[Stage | Compute] = [open_media, stage, save]
        return pb.EncodeResponse(tokens=await self._run(job, request.items, stages))

    async def compress(self, request: pb.CompressRequest, job: Job) -> pb.CompressResponse:
        codec, open_media, stage = await self._encoder(request, job, to_tokens=False)
        quality = request.quality if request.HasField("quality") else None
        metrics, name = current().metrics, codec.spec.name

        def encode_both(items: list[Media], device: str) -> list[_Encoded]:
            sounds = [encode_sound(media, device=device) for media in items]
            sizes = [media.nbytes for media in items]
            return list(zip(stage.work(items, device), sounds, sizes, strict=True))

        def to_stream(encoded: _Encoded) -> bytes:
            tokens, sound, size = encoded
            stream = write_tokens(tokens, codec, quality=quality, sound=sound)
            metrics.tokens(name, tokens.values.size)
            metrics.compressed(name, size, len(stream))
            return stream

        save = Stage(
            self._workers.cpu, to_stream, lambda _: codec.prior.parallel, Step.SAVE, lambda _: name
        )
        stages: list[Stage | Compute] = [open_media, replace(stage, work=encode_both), save]
        return pb.CompressResponse(streams=await self._run(job, request.items, stages))

    async def decode(self, request: pb.DecodeRequest, job: Job) -> pb.DecodeResponse:
        self._check_count(len(request.tokens))
        suffix = request.format if request.HasField("format") else None
        reservation = self._reservation(job)
        metrics = current().metrics

        def read(message: media_pb2.Tokens) -> Tokens:
            self._limits.check_bytes(message.ByteSize())
            tokens = convert.tokens_from_proto(message)
            codec = self.codecs.load(tokens.codec)
            self._limits.check_tokens(tokens.grid, codec.spec.per_position)
            size = self._check_answer(codec, len(tokens), tokens.extent, suffix)
            self._reserve(reservation, size, tokens.values.nbytes)
            metrics.tokens(tokens.codec, tokens.values.size)
            return tokens

        def decode(items: list[Tokens], device: str) -> list[Media]:
            codec = self.codecs.on(items[0].codec, device)
            return codec.decode(items, width=self._width(codec))

        def shape_class(tokens: Tokens) -> Hashable | None:
            codec = self.codecs.on(tokens.codec, self._device)
            shape = codec.tokens_class(tokens, self._width(codec))
            return None if shape is None else ("decode", tokens.codec, shape)

        stages: list[Stage | Compute] = [
            # Of many codecs they can be in one request, each of which has to be loaded.
            Stage(self._workers.cpu, read),
            Compute(
                self._workers.compute,
                decode,
                lambda tokens: tokens.codec,
                shape_class,
                lambda tokens: self.codecs.on(tokens.codec, self._device).parallel,
            ),
            self._to_media(suffix),
        ]
        return pb.DecodeResponse(items=await self._run(job, request.tokens, stages))

    async def decompress(self, request: pb.DecompressRequest, job: Job) -> pb.DecompressResponse:
        self._check_count(len(request.streams))
        suffix = request.format if request.HasField("format") else None
        reservation = self._reservation(job)
        metrics, device = current().metrics, self._device

        def check(name: str, grid: Sequence[int], extent: Sequence[int]) -> float:
            codec = self.codecs.load(name)
            named = dict(zip(codec.spec.extent, extent, strict=False))
            return self._check_answer(codec, math.prod(grid), named, suffix)

        def read(stream: bytes) -> StreamContents:
            self._limits.check_bytes(len(stream))
            header = inspect(stream)
            size = check(header.codec, header.grid, header.extent)
            if header.HasField("sound"):
                size += check(header.sound.codec, header.sound.grid, header.sound.extent)
            numbers = self.codecs.on(_bare(header.codec), device).spec.per_position
            self._reserve(reservation, size, 4 * numbers * math.prod(header.grid))
            contents = read_tokens(stream, partial=request.partial, device=device)
            # A stream without a length that was cut off has said nothing until now.
            tokens = contents.tokens
            codec = self.codecs.on(tokens.codec, self._device)
            self._check_answer(codec, len(tokens), tokens.extent, suffix)
            metrics.tokens(tokens.codec, tokens.values.size)
            return contents

        def decode(items: list[StreamContents], device: str) -> list[Media]:
            codec = self.codecs.on(items[0].tokens.codec, device)
            if len(items) == 1 and self._alone(items[0]):
                return [decode_contents(items[0], codec=codec, device=device)]
            return codec.decode([item.tokens for item in items], width=self._width(codec))

        def shape_class(item: StreamContents) -> Hashable | None:
            codec = self.codecs.on(item.tokens.codec, self._device)
            shape = codec.tokens_class(item.tokens, self._width(codec))
            if shape is None or self._alone(item):
                return None
            return "decode", item.tokens.codec, shape

        stages: list[Stage | Compute] = [
            Stage(
                self._workers.cpu,
                read,
                lambda stream: reads_apart(stream, device),
            ),
            Compute(
                self._workers.compute,
                decode,
                lambda item: item.tokens.codec,
                shape_class,
                lambda item: self.codecs.on(item.tokens.codec, self._device).parallel,
            ),
            self._to_media(suffix),
        ]
        return pb.DecompressResponse(items=await self._run(job, request.streams, stages))

    async def open_media(
        self, message: media_pb2.Media, codec: Codec[Any], job: Job, *, to_tokens: bool = True
    ) -> Media:
        """Return one item as `codec` would be given it, within all limits."""
        stage = await self._opener([message], codec, job, to_tokens)
        media: Media = await job.run(stage.pool, stage.work, message)
        return media

    async def _encoder(
        self, request: R, job: Job, *, to_tokens: bool
    ) -> tuple[Codec[Any], Stage, Compute]:
        """Return the codec of a request, and the stages that open and encode its media."""
        self._check_count(len(request.items))
        names = ("quality", "effort", "method")
        given: dict[str, Any] = {
            name: getattr(request, name) for name in names if request.HasField(name)
        }
        codec = await self.codecs.ready(request.codec, job)
        name, width = codec.spec.name, self._width(codec)
        settings = codec.settings(**given, width=width)  # says no before files are opened
        current().about(name, len(request.items))

        def encode(items: list[Media], device: str) -> list[Tokens]:
            work = None
            # What may take long ends with its job.
            if len(items) == 1 and (codec.on_device or codec.spec.resumable):
                work = Work()
                job.at_end(work.cancel)
            return self.codecs.on(name, device).encode(items, **given, width=width, work=work)

        def shape_class(media: Media) -> Hashable | None:
            if not isinstance(media, codec.media_type):
                return None
            shape = codec.shape_class(media, settings)
            return None if shape is None else ("encode", to_tokens, name, *given.items(), shape)

        compute = Compute(
            self._workers.compute,
            encode,
            lambda _: name,
            shape_class,
            lambda _: codec.parallel,
            codec.batched,
            name if width > 1 else "",
            self._workers.long if codec.takes_minutes(settings) else None,
        )
        return codec, await self._opener(request.items, codec, job, to_tokens), compute

    async def _opener(
        self, items: Sequence[media_pb2.Media], codec: Codec[Any], job: Job, to_tokens: bool
    ) -> Stage:
        """Check all items, reserve memory for them, and return the stage that opens them."""
        spec, workers, limits = codec.spec, self._workers, self._limits
        reservation, media_type = self._reservation(job), MODALITIES[codec.spec.modality]
        foreign = spec.modality in opener.MODALITIES

        def check() -> bool:
            for index, item in enumerate(items):
                with naming(index, len(items)):
                    cost = limits.check_media(item, spec, to_tokens=to_tokens)
                    reservation.add(cost)
            return foreign and any(item.WhichOneof("kind") == "file" for item in items)

        def open_media(message: media_pb2.Media) -> Media:
            if not foreign or message.WhichOneof("kind") != "file":
                return convert.media_from_proto(message, media_type)
            granted = limits.check_media(message, spec, to_tokens=to_tokens)
            while True:
                most = limits.of_media(granted)
                try:
                    return workers.openers.open(message.file, spec.modality, most, job.check)
                except NeedsMore as e:  # of a file that does not say how long it is, twice as much
                    cost = max(e.cost, min(2 * granted, self.memory.most))
                    reservation.add(cost, instead_of=granted)
                    granted = cost

        files = await job.run(workers.cpu, check)
        pool = workers.opening if files else workers.cpu
        return Stage(pool, open_media, codec=lambda _: spec.name)

    def _reservation(self, job: Job) -> Reservation:
        reservation = Reservation(self.memory)
        job.at_end(reservation.close)
        return reservation

    def _reserve(self, reservation: Reservation, size: float, nbytes: int) -> None:
        """Reserve what it takes to decode tokens of so many bytes to media of about `size`."""
        reservation.add(min(self.memory.most, opener.COST_OF_UNIT * math.ceil(size) + 3 * nbytes))

    @staticmethod
    def _alone(item: StreamContents) -> bool:
        return item.missing is not None or item.sound is not None

    def _to_media(self, suffix: str | None) -> Stage:
        def to_proto(media: Media) -> media_pb2.Media:
            return convert.media_to_proto(media, suffix)

        return Stage(self._workers.cpu, to_proto)

    async def _run(
        self, job: Job, items: Sequence[Any], stages: Sequence[Stage | Compute]
    ) -> list[Any]:
        def size(result: bytes | Message) -> int:
            return len(result) if isinstance(result, bytes) else result.ByteSize()

        most = self._most_bytes
        return await job.run_all(items, stages, size=size, most_bytes=most)

    def _check_count(self, count: int) -> None:
        most = self._options.max_items
        if count > most:
            raise BatchTooLarge(f"{count} items are over the limit of {most} a request", most)

    def _check_answer(
        self, codec: Codec[Any], positions: int, extent: Mapping[str, int], suffix: str | None
    ) -> float:
        """Refuse tokens whose media no message can hold, before anything is made of them.

        Return about how many bytes, pixels or samples these media have.

        A position covers a byte of media at least, and raw media have a byte at least for
        each pixel or sample: a few bytes of stream may stand for gigabytes of text, and a
        picture that is too large would keep the network busy for minutes.
        """
        size = positions * math.prod(codec.spec.covers.values()) if suffix is None else positions
        if suffix is None and "samples" in extent:  # of 4 bytes, for each channel
            size = 4 * extent["samples"] * extent.get("channels", 1)
        most = self._most_bytes
        if size > most:
            raise LimitExceeded(f"the decoded item is over the limit of {most:,} bytes a message")
        self._limits.check_extent(extent)
        return max(size, positions * math.prod(codec.spec.covers.values()))


def _bare(name: str) -> str:
    return name.partition("@")[0]
