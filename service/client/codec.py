"""A server's codec, used like one in this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from omnicodec.codecs import (
    CodecSpec,
    FingerprintMismatch,
    InvalidInput,
    Media,
    Tokens,
    Work,
)
from omnicodec.codecs.codec import Mask, Settings
from omnicodec.service.client.coders import (
    AsyncRemoteDecoder,
    AsyncRemoteEncoder,
    RemoteDecoder,
    RemoteEncoder,
    pinned,
)
from omnicodec.service.client.requests import Item, many, media_type

if TYPE_CHECKING:
    from omnicodec.service.client.aio import AsyncClient
    from omnicodec.service.client.sync import Client


class _Remote:
    """What is known of a codec of a server.

    `spec` is what the server said when it was asked; a server that has another version since
    then answers with `UnknownCodec`, one with another model with `FingerprintMismatch`.
    """

    def __init__(self, spec: CodecSpec) -> None:
        self.spec = spec
        self.media_type: type[Media] = media_type(spec)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    @property
    def _name(self) -> str:
        return pinned(self.spec)

    def _check_work(self, work: Work | None) -> None:
        if work is not None and self.spec.resumable:
            raise InvalidInput(
                "work is watched in this process; a server tells of it by start_encode"
            )

    def _checked(self, tokens: list[Tokens]) -> list[Tokens]:
        for found in tokens:
            if found.fingerprint != self.spec.fingerprint:
                raise FingerprintMismatch(
                    f"the server's {self.spec.name} is another model since it was asked: "
                    f"{found.fingerprint}, not {self.spec.fingerprint}"
                )
        return tokens

    def _own(
        self, tokens: Iterable[Tokens], missing: Sequence[Mask | None] | None
    ) -> Iterable[Tokens]:
        """Return the tokens, each of which is checked when its turn comes."""
        if missing is not None and any(mask is not None for mask in missing):
            raise InvalidInput("servers take no masks; decompress with partial=True fills in")

        def checked() -> Iterable[Tokens]:
            for item in many(tokens):
                if isinstance(item, Tokens) and item.codec != self.spec.name:
                    raise InvalidInput(f"tokens of {item.codec} were given to {self.spec.name}")
                yield item

        return checked()


class RemoteCodec(_Remote):
    """A codec that runs on a server: `Client.codec(name)`.

    Methods are those of `Codec`, and of the functions `compress` and `decompress` for lists of
    items. Beside media they take files, as paths or bytes. They raise what those raise, and
    `Unavailable`.
    """

    def __init__(self, client: Client, spec: CodecSpec) -> None:
        super().__init__(spec)
        self._client = client

    def encode(
        self,
        items: Iterable[Item],
        *,
        quality: int | None = None,
        effort: str | None = None,
        method: str | None = None,
        work: Work | None = None,
    ) -> list[Tokens]:
        """Return the tokens of each item.

        Resumable codecs take no `work` here: `Client.start_encode` is for what takes minutes.
        """
        self._check_work(work)
        found = self._client.encode(
            items, self._name, quality=quality, effort=effort, method=method
        )
        return self._checked(found)

    def decode(
        self, tokens: Iterable[Tokens], *, missing: Sequence[Mask | None] | None = None
    ) -> list[Any]:
        """Return the media of each item's tokens; servers take no masks in `missing`."""
        return self._client.decode(self._own(tokens, missing))

    def compress(
        self,
        items: Iterable[Item],
        *,
        quality: int | None = None,
        effort: str | None = None,
        method: str | None = None,
    ) -> list[bytes]:
        """Return the .omc stream of each item."""
        return self._client.compress(
            items, self._name, quality=quality, effort=effort, method=method
        )

    def decompress(self, streams: Iterable[bytes], *, partial: bool = False) -> list[Any]:
        """Return the item of each .omc stream; with `partial` what is left of damaged ones."""
        return self._client.decompress(streams, partial=partial)


class AsyncRemoteCodec(_Remote):
    """A codec that runs on a server: `await AsyncClient.codec(name)`; see `RemoteCodec`."""

    def __init__(self, client: AsyncClient, spec: CodecSpec) -> None:
        super().__init__(spec)
        self._client = client

    async def encode(
        self,
        items: Iterable[Item],
        *,
        quality: int | None = None,
        effort: str | None = None,
        method: str | None = None,
        work: Work | None = None,
    ) -> list[Tokens]:
        """Return the tokens of each item; resumable codecs take no `work`."""
        self._check_work(work)
        found = await self._client.encode(
            items, self._name, quality=quality, effort=effort, method=method
        )
        return self._checked(found)

    async def decode(
        self, tokens: Iterable[Tokens], *, missing: Sequence[Mask | None] | None = None
    ) -> list[Any]:
        """Return the media of each item's tokens; servers take no masks in `missing`."""
        return await self._client.decode(self._own(tokens, missing))

    async def compress(
        self,
        items: Iterable[Item],
        *,
        quality: int | None = None,
        effort: str | None = None,
        method: str | None = None,
    ) -> list[bytes]:
        """Return the .omc stream of each item."""
        return await self._client.compress(
            items, self._name, quality=quality, effort=effort, method=method
        )

    async def decompress(self, streams: Iterable[bytes], *, partial: bool = False) -> list[Any]:
        """Return the item of each .omc stream; with `partial` what is left of damaged ones."""
        return await self._client.decompress(streams, partial=partial)


class RemoteStreamingCodec(RemoteCodec):
    """A codec of a server that also works piece by piece, as `StreamingCodec` does."""

    def open_encoder(
        self, *, quality: int | None = None, effort: str | None = None
    ) -> RemoteEncoder:
        """Return the encoder of a new stream; what is wrong with it, `push` and `finish` say."""
        settings = Settings(quality=quality, effort=effort)
        return RemoteEncoder(self._client.exchange("EncodeStream"), self.spec, settings)

    def open_decoder(self) -> RemoteDecoder:
        """Return the decoder of a new stream."""
        return RemoteDecoder(self._client.exchange("DecodeStream"), self.spec)


class AsyncRemoteStreamingCodec(AsyncRemoteCodec):
    """A codec of a server that also works piece by piece."""

    def open_encoder(
        self, *, quality: int | None = None, effort: str | None = None
    ) -> AsyncRemoteEncoder:
        """Return the encoder of a new stream, whose methods are coroutines."""
        settings = Settings(quality=quality, effort=effort)
        return AsyncRemoteEncoder(self._client.exchange("EncodeStream"), self.spec, settings)

    def open_decoder(self) -> AsyncRemoteDecoder:
        """Return the decoder of a new stream, whose methods are coroutines."""
        return AsyncRemoteDecoder(self._client.exchange("DecodeStream"), self.spec)


def remote_codec(client: Client, spec: CodecSpec) -> RemoteCodec:
    """Return the codec of a client; one that also works piece by piece where it is streaming."""
    return (RemoteStreamingCodec if spec.streaming else RemoteCodec)(client, spec)


def async_remote_codec(client: AsyncClient, spec: CodecSpec) -> AsyncRemoteCodec:
    """Return the codec of a client; one that also works piece by piece where it is streaming."""
    return (AsyncRemoteStreamingCodec if spec.streaming else AsyncRemoteCodec)(client, spec)
