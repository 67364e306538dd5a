"""Video with sound over gRPC: the streams are those of `compress`, and both come back."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from omnicodec.codecs import Audio, CorruptStream, LimitExceeded, Video, compress, decompress, load
from omnicodec.codecs.stream import frames, inspect
from omnicodec.service import Client
from omnicodec.v1.stream_pb2 import StreamHeader

load("audio/rvq", device="cpu")  # here, so that it is known behind each test as well


def film(samples: int = 3000) -> Video:
    grey = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 1), np.uint8).repeat(3, 3)
    sound = 0.1 * np.sin(np.arange(samples) / 20).astype(np.float32)[None]
    return Video(grey, Fraction(25), Audio(sound, 8000))


def test_films_go_and_come_back_with_their_sound(client: Client, film_codec: str) -> None:
    silent = Video(film().frames, 24)  # type: ignore[arg-type]
    items = [film(), silent]
    streams = client.compress(items, film_codec)
    assert streams == [compress(item, film_codec) for item in items]
    assert client.decompress(streams) == [decompress(stream) for stream in streams]
    broken = bytearray(streams[0])
    broken[bytes(broken).rindex(frames.SOUND_SYNC) + 9] ^= 1
    with pytest.raises(CorruptStream):
        client.decompress([bytes(broken)])
    assert client.decompress([bytes(broken)], partial=True) == [Video(film().frames, Fraction(25))]


def test_sound_that_no_message_holds_is_refused_first(client: Client, film_codec: str) -> None:
    """A few bytes that stand for gigabytes of sound."""
    stream = compress(film(), film_codec)
    data, at = frames.read_header(stream)
    header = StreamHeader.FromString(data)
    rate, samples = 8000, 1 << 28
    codec = load("audio/rvq")
    extent = {"samples": samples, "rate": rate, "channels": 1}
    header.sound.extent[:] = extent.values()
    header.sound.grid[:] = codec.expected_grid(extent, 0)
    head = next(frames.write_frames(header.SerializeToString(), [], frames.WITH_SOUND))
    hostile = head + stream[at:]
    assert inspect(hostile).sound.extent[0] == samples
    with pytest.raises(LimitExceeded, match="seconds are over the limit"):
        client.decompress([hostile], partial=True)
