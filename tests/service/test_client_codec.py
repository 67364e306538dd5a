"""A server's codec in the place of a local one, in batches and piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import (
    Audio,
    FingerprintMismatch,
    Image,
    InvalidInput,
    LimitExceeded,
    Text,
    Tokens,
    UnknownCodec,
    Work,
    compress,
    compress_pieces,
    decompress,
    describe,
    load,
)
from omnicodec.service import Client
from omnicodec.service.client import RemoteCodec
from omnicodec.service.client.codec import RemoteStreamingCodec
from omnicodec.service.server import ServerOptions, running_server

SOUND = load("audio/rvq", device="cpu")
RNG = np.random.default_rng(5)


def sound(samples: int, channels: int = 1, rate: int = 24_000) -> Audio:
    values = RNG.standard_normal((channels, samples)) * 0.1
    return Audio(values.astype(np.float32), rate)


def cut(audio: Audio, sizes: list[int]) -> Iterator[Audio]:
    at = 0
    for size in [*sizes, audio.samples.shape[1]]:
        yield Audio(audio.samples[:, at : at + size].copy(), audio.sample_rate)
        at += size


def round_trip(codec: Any, items: list[Any]) -> list[Any]:
    """What some program does with a codec, wherever that is."""
    tokens = codec.encode(items)
    assert {found.codec for found in tokens} == {codec.spec.name}
    return list(codec.decode(tokens))


def test_it_takes_the_place_of_a_local_one(client: Client) -> None:
    for name, items in (
        ("text/bytes", [Text("a"), Text(b"\xff\0")]),
        ("image/vq", [Image(RNG.integers(0, 256, (20, 30, 3), np.uint8))]),
    ):
        local, remote = load(name), client.codec(name)
        assert remote.spec == local.spec == describe(name)
        assert remote.media_type is local.media_type
        assert remote.encode(items) == local.encode(items)
        assert round_trip(remote, items) == round_trip(local, items)
        streams = remote.compress(items)
        assert streams == [compress(item, name) for item in items]
        assert remote.decompress(streams) == [decompress(stream) for stream in streams]
        assert repr(remote) == f"<RemoteCodec {name}@{local.spec.version}>"
    assert remote.encode([]) == remote.decode([]) == remote.compress([]) == []


def test_it_refuses_what_a_local_one_refuses(client: Client) -> None:
    remote = client.codec("text/bytes")
    (tokens,) = remote.encode([Text("words")])
    image = client.codec("image/vq")
    for call in (
        lambda: image.decode([tokens]),
        lambda: image.encode([Text("words")]),
        lambda: remote.encode([Text("x")], quality=3),
        lambda: remote.encode(Text("x")),
        lambda: remote.decode(tokens),
        lambda: remote.decode([tokens], missing=[np.ones(5, np.bool_)]),
    ):
        with pytest.raises(InvalidInput):
            call()
    assert remote.decode([tokens], missing=[None]) == [Text("words")]
    assert remote.encode([Text("words")], work=Work()) == [tokens]  # which is not looked at
    with pytest.raises(UnknownCodec):
        client.codec("text/nothing")


@pytest.mark.usefixtures("fitted")
def test_long_work_is_not_watched_from_here(client: Client, ramps: Image) -> None:
    with pytest.raises(InvalidInput, match="start_encode"):
        client.codec("image/fitted").encode([ramps], work=Work())


def test_a_server_that_has_another_model_by_now(client: Client) -> None:
    spec = replace(describe("text/bytes"), fingerprint="0" * 16)
    with pytest.raises(FingerprintMismatch, match="another model"):
        RemoteCodec(client, spec).encode([Text("words")])
    spec = replace(describe("text/bytes"), version=99)
    with pytest.raises(UnknownCodec):
        RemoteCodec(client, spec).encode([Text("words")])


@pytest.mark.parametrize("channels", [1, 2])
def test_sound_piece_by_piece(client: Client, channels: int) -> None:
    whole = sound(30_000, channels, 16_000)
    (expected,) = SOUND.encode([whole], quality=2)
    remote = client.codec("audio/rvq")
    assert isinstance(remote, RemoteStreamingCodec)
    with remote.open_encoder(quality=2) as encoder:
        parts = [encoder.push(piece) for piece in cut(whole, [1, 5000, 0, 11_000])]
        parts.append(encoder.finish())
        with pytest.raises(InvalidInput, match="finished"):
            encoder.finish()
        with pytest.raises(InvalidInput, match="finished"):
            encoder.push(whole)
    assert np.array_equal(np.concatenate([part.ids for part in parts], 1), expected.ids)
    assert sum(part.grid[0] for part in parts) == expected.grid[0]
    assert sum(part.extent["samples"] for part in parts) == 30_000
    assert {part.extent["channels"] for part in parts} == {channels}
    with remote.open_decoder() as decoder:
        heard = [decoder.push(part) for part in parts]
        heard.append(decoder.finish())
    joined = np.concatenate([piece.samples for piece in heard], 1)
    assert np.array_equal(joined, SOUND.decode([expected])[0].samples)
    assert {piece.sample_rate for piece in heard} == {16_000}


def test_errors_of_streams_are_raised(client: Client) -> None:
    remote = client.codec("audio/rvq")
    assert isinstance(remote, RemoteStreamingCodec)

    def encode(quality: int) -> None:
        with remote.open_encoder(quality=quality) as encoder:
            encoder.push(sound(100))
            encoder.finish()

    def decode(tokens: Tokens) -> None:
        with remote.open_decoder() as decoder:
            decoder.push(tokens)
            decoder.finish()

    with pytest.raises(InvalidInput, match="quality"):
        encode(99)
    with remote.open_encoder() as encoder, pytest.raises(InvalidInput, match="encodes Audio"):
        encoder.push(Text("x"))
    (tokens,) = SOUND.encode([sound(9000)], quality=2)
    damaged = replace(tokens, ids=np.full_like(tokens.ids, 5000))
    with pytest.raises(InvalidInput):
        decode(damaged)


def test_a_stream_that_is_given_up(client: Client) -> None:
    remote = client.codec("audio/rvq")
    assert isinstance(remote, RemoteStreamingCodec)
    for _ in range(3):
        with remote.open_encoder() as encoder:
            encoder.push(sound(3000))
    assert client.codec("text/bytes").encode([Text("x")])


def test_sound_streams_of_files(client: Client) -> None:
    whole = sound(30_000)
    pieces = list(cut(whole, [1, 9000]))
    expected = b"".join(compress_pieces(pieces, "audio/rvq", quality=2, chunk_seconds=0.5))
    stream = b"".join(client.compress_pieces(pieces, "audio/rvq", quality=2, chunk_seconds=0.5))
    assert stream == expected
    heard = list(client.decompress_pieces(stream[i : i + 777] for i in range(0, len(stream), 777)))
    joined = np.concatenate([piece.samples for piece in heard if isinstance(piece, Audio)], 1)
    assert np.array_equal(joined, decompress(stream).samples)

    def failing() -> Iterator[Audio]:
        yield pieces[0]
        raise RuntimeError("the microphone is gone")

    with pytest.raises(RuntimeError, match="microphone"):
        list(client.compress_pieces(failing(), "audio/rvq"))


def test_items_larger_than_a_message_go_in_pieces() -> None:
    limit = 1 << 20
    options = ServerOptions(listen="127.0.0.1:0", max_message_bytes=limit)
    text = Text(RNG.integers(0, 256, 3_000_000, np.uint8).tobytes())
    image = Image(RNG.integers(0, 256, (700, 700, 3), np.uint8))
    with (
        running_server(options) as server,
        Client(server.address, max_message_bytes=limit) as client,
    ):
        mixed = [Text("small"), text, Text("also small"), text]
        tokens = client.encode(mixed, "text/bytes")
        assert tokens == load("text/bytes").encode(mixed)
        assert client.decode(tokens) == mixed
        (found,) = client.encode([image], "image/vq")
        assert [found] == load("image/vq").encode([image])
        (decoded,) = client.decode([found])  # 12 KB of tokens, and more pixels than fit
        assert [decoded] == load("image/vq").decode([found])
        streams = client.compress([text], "text/bytes")
        assert client.decompress(streams) == [text]
        assert streams == [compress(text, "text/bytes")]


def test_limits_hold_in_pieces_too() -> None:
    options = ServerOptions(listen="127.0.0.1:0", max_message_bytes=1 << 20, max_tokens=1 << 20)
    with (
        running_server(options) as server,
        Client(server.address, max_message_bytes=1 << 20) as client,
        pytest.raises(LimitExceeded),
    ):
        client.encode([Text(bytes(2 << 20))], "text/bytes")


def test_no_tokens_is_what_no_piece_gives() -> None:
    from omnicodec.service.client.streams import no_media, no_tokens

    nothing = no_tokens(SOUND.spec, sound(5, 2, 8000), None)
    assert nothing == Tokens(
        "audio/rvq", SOUND.spec.fingerprint, np.zeros((16, 0), np.int32), (0, 2),
        {"samples": 0, "rate": 8000, "channels": 2},
    )  # fmt: skip
    assert no_media(nothing).samples.shape == (2, 0)
