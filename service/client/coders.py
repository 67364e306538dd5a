"""Streams of a server's codec, pushed piece by piece as those of a local one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from omnicodec.codecs import CodecSpec, Decoder, Encoder, InvalidInput, Media, Tokens
from omnicodec.codecs.codec import Settings
from omnicodec.codecs.hub.reference import is_hub_name
from omnicodec.service import convert
from omnicodec.service.client import streams
from omnicodec.service.client.requests import media_type
from omnicodec.service.client.streams import AsyncExchange, Exchange
from omnicodec.v1 import codec_service_pb2 as pb


def pinned(spec: CodecSpec) -> str:
    """Return the name of a codec in the version that a spec is about.

    In the name of a published codec an @ stands before a revision; it is its fingerprint that is
    compared.
    """
    return spec.name if is_hub_name(spec.name) else f"{spec.name}@{spec.version}"


class _Encoding:
    """What is sent for pieces of media, and what the answers are."""

    def __init__(self, spec: CodecSpec, settings: Settings) -> None:
        self._spec, self._quality = spec, settings.quality
        self._config = streams.encode_config(pinned(spec), settings, stream=False)
        self._none: Tokens | None = None
        self._finished = False

    def _requests(self, piece: Any) -> Iterator[pb.EncodeStreamRequest]:
        kind = media_type(self._spec)
        if self._finished:
            raise InvalidInput("the stream was finished")
        if not isinstance(piece, kind):
            raise InvalidInput(
                f"{self._spec.name} encodes {kind.__name__}, not {type(piece).__name__}"
            )
        if self._none is None:
            self._none = streams.no_tokens(self._spec, piece, self._quality)
        return streams.encode_pieces(convert.media_to_proto(piece))

    def _tokens(self, answers: list[Any]) -> Tokens:
        if answers:
            return streams.joined_tokens(answers, self._spec)
        if self._none is None:
            raise InvalidInput("the server gave no tokens for a stream of no pieces")
        return self._none


class _Decoding:
    """What is sent for pieces of tokens, and what the answers are."""

    def __init__(self, spec: CodecSpec) -> None:
        self._spec = spec
        self._config = streams.decode_config()
        self._none: Media | None = None
        self._finished = False

    def _requests(self, tokens: Tokens) -> Iterator[pb.DecodeStreamRequest]:
        if self._finished:
            raise InvalidInput("the stream was finished")
        if tokens.codec != self._spec.name:
            raise InvalidInput(f"tokens of {tokens.codec} were given to {self._spec.name}")
        if self._none is None:
            self._none = streams.no_media(tokens)
        return streams.decode_pieces(convert.tokens_to_proto(tokens), self._spec.extent[0])

    def _media(self, answers: list[Any]) -> Any:
        if answers:
            return streams.joined_media(answers, media_type(self._spec))
        if self._none is None:
            raise InvalidInput("the server gave no media for a stream of no tokens")
        return self._none


class RemoteEncoder(_Encoding, Encoder[Any]):
    """A stream that a server encodes: `RemoteStreamingCodec.open_encoder`.

    The server works while pieces are pushed: `push` returns what has come back so far, which may
    be nothing, and `finish` all the rest. A server ends streams to which nothing is pushed for a
    minute or so. Closed before it is finished, as by `with`, the stream is given up.
    """

    def __init__(self, exchange: Exchange, spec: CodecSpec, settings: Settings) -> None:
        super().__init__(spec, settings)
        self._exchange = exchange
        exchange.send(self._config)

    def push(self, piece: Any) -> Tokens:
        """Send the next piece and return the tokens that have come back."""
        for request in self._requests(piece):
            self._exchange.send(request)
        return self._tokens(self._exchange.ready())

    def finish(self) -> Tokens:
        """Return the tokens that are left; the encoder is spent."""
        _finish(self)
        return self._tokens(list(self._exchange.rest()))

    def close(self) -> None:
        """End the stream, if it is not finished."""
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RemoteDecoder(_Decoding, Decoder[Any]):
    """A stream that a server decodes: `RemoteStreamingCodec.open_decoder`; see `RemoteEncoder`."""

    def __init__(self, exchange: Exchange, spec: CodecSpec) -> None:
        super().__init__(spec)
        self._exchange = exchange
        exchange.send(self._config)

    def push(self, tokens: Tokens) -> Any:
        """Send the next tokens and return the media that have come back."""
        for request in self._requests(tokens):
            self._exchange.send(request)
        return self._media(self._exchange.ready())

    def finish(self) -> Any:
        """Return the media that are left; the decoder is spent."""
        _finish(self)
        return self._media(list(self._exchange.rest()))

    def close(self) -> None:
        """End the stream, if it is not finished."""
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncRemoteEncoder(_Encoding):
    """`RemoteEncoder` for asyncio."""

    def __init__(self, exchange: AsyncExchange, spec: CodecSpec, settings: Settings) -> None:
        super().__init__(spec, settings)
        self._exchange = exchange

    async def push(self, piece: Any) -> Tokens:
        """Send the next piece and return the tokens that have come back."""
        requests = self._requests(piece)
        await self._exchange.begin(self._config)
        for request in requests:
            await self._exchange.send(request)
        return self._tokens(await self._exchange.ready())

    async def finish(self) -> Tokens:
        """Return the tokens that are left; the encoder is spent."""
        _finish(self)
        await self._exchange.begin(self._config)
        return self._tokens([answer async for answer in self._exchange.rest()])

    async def close(self) -> None:
        """End the stream, if it is not finished."""
        await self._exchange.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncRemoteDecoder(_Decoding):
    """`RemoteDecoder` for asyncio."""

    def __init__(self, exchange: AsyncExchange, spec: CodecSpec) -> None:
        super().__init__(spec)
        self._exchange = exchange

    async def push(self, tokens: Tokens) -> Any:
        """Send the next tokens and return the media that have come back."""
        requests = self._requests(tokens)
        await self._exchange.begin(self._config)
        for request in requests:
            await self._exchange.send(request)
        return self._media(await self._exchange.ready())

    async def finish(self) -> Any:
        """Return the media that are left; the decoder is spent."""
        _finish(self)
        await self._exchange.begin(self._config)
        return self._media([answer async for answer in self._exchange.rest()])

    async def close(self) -> None:
        """End the stream, if it is not finished."""
        await self._exchange.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _finish(coder: _Encoding | _Decoding) -> None:
    if coder._finished:
        raise InvalidInput("the stream was finished")
    coder._finished = True
