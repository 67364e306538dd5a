"""The methods of the server as steps: requests are made, answers are taken apart."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import duration_pb2
from google.protobuf.message import Message

from omnicodec.codecs import (
    MODALITIES,
    CodecSpec,
    InvalidInput,
    Media,
    OmnicodecError,
    Text,
    Tokens,
    UnknownCodec,
)
from omnicodec.codecs.codec import Settings
from omnicodec.codecs.files import read_all
from omnicodec.codecs.stream import inspect
from omnicodec.service import convert, pieces
from omnicodec.service.client import streams
from omnicodec.service.client.batches import in_batches
from omnicodec.service.client.steps import Asking, Steps
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2

Item = Media | bytes | str | os.PathLike[str]
"""What is encoded: media, which travel raw, or a file, as its bytes or its path."""


class Requests(Asking):
    """What a server can be asked."""

    def codecs(self) -> Steps[list[CodecSpec]]:
        answer = yield from self.ask("ListCodecs", pb.ListCodecsRequest())
        return [convert.spec_from_proto(codec) for codec in answer.codecs]

    def spec(self, name: str) -> Steps[CodecSpec]:
        with convert.fitting("names"):
            request = pb.GetCodecRequest(name=name)
        return convert.spec_from_proto((yield from self.ask("GetCodec", request)))

    def encode(self, items: Iterable[Item], codec: str, settings: Settings) -> Steps[list[Tokens]]:
        with convert.fitting("settings"):
            base = pb.EncodeRequest(codec=codec, **_named(settings))
        messages = map(media_message, many(items))

        def alone(item: media_pb2.Media) -> Steps[media_pb2.Tokens]:
            answers = yield from self._encode_pieces(item, codec, settings, stream=False)
            grows = yield from self._grows(answers[0].tokens.codec)
            return pieces.join_tokens([answer.tokens for answer in answers], grows)

        answers = yield from in_batches(self, "Encode", base, "items", messages, "tokens", alone)
        return [convert.tokens_from_proto(tokens) for tokens in answers]

    def decode(self, tokens: Iterable[Tokens]) -> Steps[list[Media]]:
        def to_message(item: Tokens) -> media_pb2.Tokens:
            if not isinstance(item, Tokens):
                raise InvalidInput(f"tokens are Tokens, not {type(item).__name__}")
            return convert.tokens_to_proto(item)

        messages = map(to_message, many(tokens))
        base = pb.DecodeRequest()

        def alone(item: media_pb2.Tokens) -> Steps[media_pb2.Media]:
            grows = yield from self._grows(item.codec)
            return (yield from self._decode_pieces(item, grows))

        answers = yield from in_batches(self, "Decode", base, "tokens", messages, "items", alone)
        return list(map(raw_media, answers))

    def compress(self, items: Iterable[Item], codec: str, settings: Settings) -> Steps[list[bytes]]:
        with convert.fitting("settings"):
            base = pb.CompressRequest(codec=codec, **_named(settings))
        messages = map(media_message, many(items))

        def alone(item: media_pb2.Media) -> Steps[bytes]:
            answers = yield from self._encode_pieces(item, codec, settings, stream=True)
            return b"".join(answer.stream for answer in answers)

        return (yield from in_batches(self, "Compress", base, "items", messages, "streams", alone))

    def decompress(self, streams: Iterable[bytes], *, partial: bool) -> Steps[list[Media]]:
        def check(stream: bytes) -> bytes:
            if not isinstance(stream, bytes):
                raise InvalidInput(f"streams are bytes, not {type(stream).__name__}")
            inspect(stream)
            return stream

        checked = map(check, many(streams))
        base = pb.DecompressRequest(partial=partial)

        def alone(stream: bytes) -> Steps[media_pb2.Media]:
            return (yield from self._decode_pieces(stream, "", partial=partial))

        answers = yield from in_batches(
            self, "Decompress", base, "streams", checked, "items", alone
        )
        return list(map(raw_media, answers))

    def _encode_pieces(
        self, item: media_pb2.Media, codec: str, settings: Settings, *, stream: bool
    ) -> Steps[list[Any]]:
        def requests() -> Iterator[Message]:
            yield streams.encode_config(codec, settings, stream=stream)
            yield from streams.encode_pieces(item)

        return self._some((yield from self.ask_stream("EncodeStream", requests)))

    def _decode_pieces(
        self, item: bytes | media_pb2.Tokens, grows: str, *, partial: bool = False
    ) -> Steps[media_pb2.Media]:
        def requests() -> Iterator[Message]:
            yield streams.decode_config(partial=partial)
            yield from streams.decode_pieces(item, grows)

        answers = self._some((yield from self.ask_stream("DecodeStream", requests)))
        return pieces.join_media([answer.piece for answer in answers])

    def _grows(self, codec: str) -> Steps[str]:
        """Return the first of a codec's `extent`, "" where it has none."""
        spec = yield from self.spec(codec)
        return spec.extent[0] if spec.extent else ""

    def _some(self, answers: list[Any]) -> list[Any]:
        if not answers:
            raise OmnicodecError(f"{self.connection.target} gave no answer to a stream")
        return answers

    def start_encode(
        self,
        item: Item,
        codec: str,
        settings: Settings,
        *,
        target_psnr: float | None,
        target_bytes: int | None,
        compress: bool,
        previews: float | None,
        request_id: str | None,
    ) -> Steps[Any]:
        """Return a google.longrunning.Operation."""
        outputs = pb.StartEncodeRequest.Output
        with convert.fitting("settings"):
            request = pb.StartEncodeRequest(
                codec=codec,
                **_named(settings),
                target_psnr=target_psnr,
                target_bytes=target_bytes,
                output=outputs.OUTPUT_STREAM if compress else outputs.OUTPUT_TOKENS,
                request_id=uuid.uuid4().hex if request_id is None else request_id,
            )
            if previews is not None:
                interval = duration_pb2.Duration()
                interval.FromMilliseconds(round(1000 * previews))
                request.preview_interval.CopyFrom(interval)
        request.item.CopyFrom(media_message(item))
        return (yield from self.ask("StartEncode", request))

    def operation(self, name: str) -> Steps[Any]:
        """Return a google.longrunning.Operation."""
        with convert.fitting("names"):
            request = operations_pb2.GetOperationRequest(name=name)
        return (yield from self.ask("GetOperation", request))

    def operations(self, where: str, page_token: str) -> Steps[tuple[list[Any], str]]:
        """Return a page of google.longrunning.Operations, and the token of the next one."""
        with convert.fitting("filters"):
            request = operations_pb2.ListOperationsRequest(filter=where, page_token=page_token)
        page = yield from self.ask("ListOperations", request)
        return list(page.operations), page.next_page_token


def media_message(item: Item) -> media_pb2.Media:
    """Return the message of an item; raises `InvalidInput` for what is none."""
    if isinstance(item, Media):
        return convert.media_to_proto(item)
    if isinstance(item, bytes | bytearray | memoryview | str | os.PathLike):
        return media_pb2.Media(file=read_all(item))
    raise InvalidInput(f"items are media, bytes or paths, not {type(item).__name__}")


def media_type(spec: CodecSpec) -> type[Media]:
    """Return the media class of a codec that need not be known here, only its modality."""
    try:
        return MODALITIES[spec.modality]
    except KeyError:
        raise UnknownCodec(
            f"{spec.name} is a codec of {spec.modality!r}, which is not known here"
        ) from None


def raw_media(message: media_pb2.Media) -> Media:
    """Return the item of a message, or a piece of one, that is no file."""
    if message.WhichOneof("kind") == "file":
        raise InvalidInput("the server sent a file where raw media were asked for")
    return convert.media_from_proto(message, Text)  # which is for files only


def many(items: Iterable[Any]) -> Iterable[Any]:
    """Return `items`, unless it is a single one, which iterates into something else."""
    if isinstance(items, bytes | bytearray | memoryview | str | os.PathLike | Media | Tokens):
        raise InvalidInput(f"give a list of items, not a single {type(items).__name__}")
    return items


def _named(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in ("quality", "effort", "method")}
