"""A program that uses `AsyncClient`, run by test_client_aio.py: only one loop may run gRPC.

Arguments are a server's address, and the name of the function that is called.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from omnicodec.codecs import (
    Audio,
    Image,
    InvalidInput,
    Text,
    Unavailable,
    compress,
    describe,
    load,
)
from omnicodec.service import AsyncClient
from omnicodec.service.client import AsyncOperation, State

RNG = np.random.default_rng(3)


async def batches(client: AsyncClient) -> None:
    images = [Image(RNG.integers(0, 256, (20 + i, 30, 3), np.uint8)) for i in range(3)]
    local = load("image/vq")
    tokens = await client.encode(images, "image/vq")
    assert tokens == local.encode(images)
    assert await client.decode(tokens) == local.decode(tokens)
    remote = await client.codec("image/vq")
    assert remote.spec == describe("image/vq")
    assert await remote.encode(images) == tokens
    assert await remote.decode(tokens) == local.decode(tokens)
    streams = await remote.compress(images)
    assert streams == [compress(image, "image/vq") for image in images]
    assert await remote.decompress(streams) == local.decode(tokens)
    assert {spec.name for spec in await client.codecs()} >= {"image/vq", "text/bytes"}


async def at_once(client: AsyncClient) -> None:
    texts = [Text(f"text {i}") for i in range(50)]
    found = await asyncio.gather(*(client.encode([text], "text/bytes") for text in texts))
    assert [tokens for (tokens,) in found] == load("text/bytes").encode(texts)


async def errors(client: AsyncClient) -> None:
    for wrong, error in (
        (client.encode([7], "text/bytes"), InvalidInput),  # type: ignore[list-item]
        (client.encode([b"no picture"], "image/vq"), InvalidInput),
        (client.encode(["/no/such/file"], "text/bytes"), InvalidInput),
    ):
        try:
            await wrong
        except error:
            continue
        raise AssertionError(f"no {error.__name__}")
    async with AsyncClient("127.0.0.1:1", retries=1) as nobody:
        try:
            await nobody.codecs()
        except Unavailable as e:
            assert "cannot be reached" in str(e)
        else:
            raise AssertionError("somebody answered")
    try:
        await nobody.codecs()
    except Unavailable as e:
        assert "closed" in str(e)


async def streams(client: AsyncClient) -> None:
    codec = await client.codec("audio/rvq")
    sound = Audio((RNG.standard_normal((1, 20_000)) * 0.1).astype(np.float32), 24_000)
    cuts = [sound.samples[:, i : i + 7000].copy() for i in range(0, 20_000, 7000)]
    (expected,) = load("audio/rvq").encode([sound], quality=2)
    async with codec.open_encoder(quality=2) as encoder:  # type: ignore[attr-defined]
        parts = [await encoder.push(Audio(piece, 24_000)) for piece in cuts]
        parts.append(await encoder.finish())
    assert np.array_equal(np.concatenate([part.ids for part in parts], 1), expected.ids)
    async with codec.open_decoder() as decoder:  # type: ignore[attr-defined]
        heard = [await decoder.push(part) for part in parts]
        heard.append(await decoder.finish())
    decoded = np.concatenate([piece.samples for piece in heard], 1)
    assert np.array_equal(decoded, load("audio/rvq").decode([expected])[0].samples)

    async def pieces() -> AsyncIterator[Audio]:
        for piece in cuts:
            yield Audio(piece, 24_000)

    stream = b"".join([data async for data in client.compress_pieces(pieces(), "audio/rvq")])

    async def data() -> AsyncIterator[bytes]:
        for at in range(0, len(stream), 1000):
            yield stream[at : at + 1000]

    found: Any = [piece async for piece in client.decompress_pieces(data())]
    assert sum(piece.samples.shape[1] for piece in found) == 20_000
    try:
        async with codec.open_encoder(quality=99) as encoder:  # type: ignore[attr-defined]
            await encoder.push(sound)
            await encoder.finish()
    except InvalidInput:
        pass
    else:
        raise AssertionError("quality 99 was taken")


async def large(client: AsyncClient) -> None:
    text = Text(RNG.integers(0, 256, 3_000_000, np.uint8).tobytes())
    (tokens,) = await client.encode([text], "text/bytes")
    assert await client.decode([tokens]) == [text]


async def operations(client: AsyncClient) -> None:
    operation = await client.start_encode(Text("words"), "text/bytes", compress=True)
    assert await operation.wait(20) is State.SUCCEEDED
    assert await operation.result() == compress(Text("words"), "text/bytes")
    assert isinstance(await client.operation(operation.name), AsyncOperation)
    assert operation.name in [found.name async for found in client.operations()]
    assert await operation.done()
    assert await operation.progress() is None
    await operation.delete()
    try:
        await operation.delete()
    except InvalidInput:
        return
    raise AssertionError("deleted twice")


async def main() -> None:
    address, name = sys.argv[1:]
    options: dict[str, Any] = {"max_message_bytes": 1 << 20} if name == "large" else {}
    async with AsyncClient(address, **options) as client:
        await globals()[name](client)
    print("done")


if __name__ == "__main__":
    asyncio.run(main())
