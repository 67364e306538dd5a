"""Video with sound in one stream: both come back, each alone, damaged, and from hostile hands."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import google_crc32c
import numpy as np
import pytest

from omnicodec.codecs import (
    Audio,
    CorruptStream,
    FingerprintMismatch,
    InvalidInput,
    Text,
    Video,
    compress,
    compress_many,
    decompress,
    decompress_many,
    load,
)
from omnicodec.codecs.stream import StreamReader, frames, inspect, read_tokens
from omnicodec.codecs.stream.chunks import ChunkReader
from omnicodec.v1.stream_pb2 import StreamHeader

NAME = "video/plain"

CODEC = load("audio/rvq", device="cpu")  # here, so that it is known behind each test as well
load("text/bytes")


@pytest.fixture(autouse=True)
def plain(film_codec: str) -> None:
    assert film_codec == NAME


def film(samples: int = 6000, rate: int = 8000, channels: int = 1) -> Video:
    rng = np.random.default_rng(samples)
    grey = rng.integers(0, 256, (10, 4, 6, 1), np.uint8).repeat(3, 3)
    swell = np.sin(np.arange(samples) / rate * 9)
    sound = (0.1 * swell * rng.standard_normal((channels, samples))).astype(np.float32)
    return Video(grey, Fraction(30000, 1001), Audio(sound, rate))


FILM = film()
SILENT = replace(FILM, audio=None)


@cache
def stream_of_film() -> bytes:
    return compress(FILM, NAME)


def ends(stream: bytes) -> list[tuple[int, bool]]:
    """Return where each chunk ends, and whether it is sound; the header is first."""
    places = [(frames.read_header(stream)[1], False)]
    while places[-1][0] < len(stream):
        chunk, at = frames.read_chunk(stream, places[-1][0])
        places.append((at, chunk.sound))
    return places


def without(stream: bytes, lose: Callable[[int, bool], bool]) -> bytes:
    """Return a stream with the chunks damaged that are to be lost, by number and kind."""
    broken, places = bytearray(stream), ends(stream)
    count = {True: 0, False: 0}
    for end, sound in places[1:]:
        if lose(count[sound], sound):
            broken[end - 1] ^= 1
        count[sound] += 1
    return bytes(broken)


def test_frames_and_sound_come_back_from_one_stream() -> None:
    stream = stream_of_film()
    back = decompress(stream)
    assert isinstance(back, Video)
    assert np.array_equal(back.frames, FILM.frames)
    assert back.fps == FILM.fps
    assert FILM.audio is not None
    assert back.audio == decompress(compress(FILM.audio, "audio/rvq"))


def test_a_film_without_sound_is_a_stream_as_it_always_was() -> None:
    stream = compress(SILENT, NAME)
    assert stream[4] == frames.VERSION
    assert decompress(stream) == SILENT
    assert read_tokens(stream).sound is None


@pytest.mark.parametrize(("samples", "rate", "channels"), [
    (0, 8000, 1), (0, 44_100, 3), (1, 48_000, 2), (7, 1, 1), (999, 11_111, 6),
])  # fmt: skip
def test_empty_and_odd_sound(samples: int, rate: int, channels: int) -> None:
    item = film(samples, rate, channels)
    back = decompress(compress(item, NAME))
    assert isinstance(back, Video)
    assert np.array_equal(back.frames, item.frames)
    assert back.audio is not None
    assert (back.audio.samples.shape, back.audio.sample_rate) == ((channels, samples), rate)


def test_sound_that_no_codec_takes_is_refused_before_any_work() -> None:
    item = replace(FILM, audio=Audio(np.zeros((5000, 1), np.float32), 8000))
    with pytest.raises(InvalidInput, match="channels"):
        compress(item, NAME)


def test_a_film_of_no_frames_keeps_its_sound() -> None:
    item = replace(FILM, frames=np.zeros((0, 4, 6, 3), np.uint8))
    back = decompress(compress(item, NAME))
    assert isinstance(back, Video)
    assert back.frames.shape == (0, 4, 6, 3)
    assert back.audio is not None
    assert back.audio.samples.shape == (1, 6000)


def test_many_at_once() -> None:
    items = [FILM, SILENT, film(100)]
    streams = list(compress_many(items, NAME, threads=2))
    assert streams == [compress(item, NAME) for item in items]
    assert list(decompress_many(streams)) == [decompress(stream) for stream in streams]


def test_who_wants_frames_only_needs_no_codec_of_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of_film()
    audio = type(CODEC)

    def fail(*_: Any) -> Any:
        raise AssertionError("sound was decoded")

    monkeypatch.setattr(audio, "_decode", fail)
    monkeypatch.setattr(type(CODEC.prior), "decode", fail)
    contents = read_tokens(stream, sound=False)
    assert contents.sound is None
    assert load(NAME).decode([contents.tokens])[0] == SILENT


def test_who_wants_sound_only_reads_it_in_pieces() -> None:
    stream = stream_of_film()
    reader = StreamReader(io.BytesIO(stream), sound=True)
    pieces = [piece.samples for piece in reader if isinstance(piece, Audio)]
    back = decompress(stream)
    assert isinstance(back, Video)
    assert back.audio is not None
    assert np.array_equal(np.concatenate(pieces, 1), back.audio.samples)
    with pytest.raises(InvalidInput, match="no sound"):
        StreamReader(compress(SILENT, NAME), sound=True)


def test_chunks_of_both_stand_side_by_side() -> None:
    kinds = [sound for _, sound in ends(stream_of_film())[1:]]
    assert kinds.count(True) == 1  # of less than 20 seconds
    assert kinds.count(False) == 5
    long = [sound for _, sound in ends(compress(film(21_000, 1000), NAME))[1:]]
    first, last = long.index(True), len(long) - 1 - long[::-1].index(True)
    assert last - first > 1  # with frames between


# Damage.


def test_what_was_lost_of_one_does_not_touch_the_other() -> None:
    stream = stream_of_film()
    whole = decompress(stream)
    assert isinstance(whole, Video)

    broken = without(stream, lambda index, sound: sound and index == 0)
    with pytest.raises(CorruptStream):
        decompress(broken)
    back = decompress(broken, partial=True)
    assert isinstance(back, Video)
    assert np.array_equal(back.frames, FILM.frames)
    lost = frames.read_chunk(stream, ends(stream)[0][0])[0].positions
    assert lost == 48

    broken = without(stream, lambda index, sound: not sound and index == 1)
    with pytest.raises(CorruptStream):
        decompress(broken)
    back = decompress(broken, partial=True)
    assert isinstance(back, Video)
    assert back.audio == whole.audio
    same = (back.frames == FILM.frames).all(3).reshape(-1)
    assert same[:48].all()
    assert not same[48:96].all()
    assert same[96:].all()


def test_sound_that_is_all_lost_is_left_out_and_frames_that_are_all_lost_are_black() -> None:
    stream = stream_of_film()
    back = decompress(without(stream, lambda _, sound: sound), partial=True)
    assert back == SILENT
    back = decompress(without(stream, lambda _, sound: not sound), partial=True)
    assert isinstance(back, Video)
    assert not back.frames.any()
    whole = decompress(stream)
    assert isinstance(whole, Video)
    assert back.audio == whole.audio


def test_every_cut_and_every_changed_byte_is_an_error() -> None:
    stream = compress(film(400), NAME)
    rng = np.random.default_rng(0)
    for place in rng.choice(len(stream), 60, replace=False):
        broken = bytearray(stream)
        broken[place] ^= 1 << int(rng.integers(8))
        with pytest.raises((CorruptStream, FingerprintMismatch)):
            decompress(bytes(broken))
        with pytest.raises(CorruptStream):
            decompress(stream[:place])
    with pytest.raises(CorruptStream):
        decompress(stream + stream[-40:])


def test_lost_and_added_bytes_mix_nothing_up() -> None:
    """Chunks say themselves what they are of, wherever they come to lie."""
    stream = stream_of_film()
    places = ends(stream)
    for gap in (places[1][0] - 20, places[-2][0] - 20):
        for broken in (stream[:gap] + stream[gap + 7 :], stream[:gap] + b"\xc5S" + stream[gap:]):
            with pytest.raises(CorruptStream):
                decompress(broken)
            back = decompress(broken, partial=True)
            assert isinstance(back, Video)
            same = (back.frames == FILM.frames).all(3).reshape(-1)
            assert (~same).sum() <= 48  # one chunk
            assert back.audio is not None


# Hostile headers.


def rebuilt(
    stream: bytes, change: Callable[[StreamHeader], None], version: int = frames.WITH_SOUND
) -> bytes:
    """Return the stream with another header, which holds together."""
    data, at = frames.read_header(stream)
    header = StreamHeader.FromString(data)
    change(header)
    head = next(frames.write_frames(header.SerializeToString(), [], version))
    return head + stream[at:]


def nested(header: StreamHeader) -> None:
    inner = StreamHeader.FromString(header.sound.SerializeToString())
    header.sound.sound.CopyFrom(inner)


def of_text(header: StreamHeader) -> None:
    header.sound.CopyFrom(inspect(compress(Text("words"), "text/bytes")))


def of_video(header: StreamHeader) -> None:
    inner = StreamHeader.FromString(header.SerializeToString())
    inner.ClearField("sound")
    header.sound.CopyFrom(inner)


def of_a_text(header: StreamHeader) -> None:
    header.codec = "text/bytes"


def silent(header: StreamHeader) -> None:
    header.ClearField("sound")


@pytest.mark.parametrize("change", [nested, of_text, of_video, of_a_text, silent])
@pytest.mark.parametrize("partial", [False, True])
def test_sound_that_cannot_be_is_refused(
    change: Callable[[StreamHeader], None], partial: bool
) -> None:
    with pytest.raises(CorruptStream):
        decompress(rebuilt(stream_of_film(), change), partial=partial)


def test_a_header_with_sound_in_a_version_without_is_refused() -> None:
    stream = rebuilt(stream_of_film(), lambda _: None, frames.VERSION)
    with pytest.raises(CorruptStream, match="version"):
        decompress(stream)


@pytest.mark.parametrize(
    "grid", [(1 << 40, 1), (40, 1), (38, 1), (0, 1), (39,), (39, 2), (39, 1, 1)]
)
def test_lying_lengths_of_sound_allocate_nothing(grid: tuple[int, ...]) -> None:
    def lie(header: StreamHeader) -> None:
        header.sound.grid[:] = grid

    stream = rebuilt(stream_of_film(), lie)
    with pytest.raises(CorruptStream):
        decompress(stream)
    assert decompress(stream, partial=True) == SILENT


def test_sound_of_another_model_is_said_so_and_left_out_where_that_is_wanted() -> None:
    def change(header: StreamHeader) -> None:
        header.sound.fingerprint = bytes(8)

    stream = rebuilt(stream_of_film(), change)
    with pytest.raises(FingerprintMismatch, match="audio/rvq"):
        decompress(stream)
    assert decompress(stream, partial=True) == SILENT


def test_chunks_of_sound_in_a_stream_without_are_refused() -> None:
    with_sound, stream = stream_of_film(), compress(SILENT, NAME)
    begin, at = next(
        (frames.read_chunk(with_sound, place)[1], place)
        for place, _ in ends(with_sound)[:-1]
        if frames.read_chunk(with_sound, place)[0].sound
    )
    head = frames.read_header(stream)[1]
    with pytest.raises(CorruptStream, match="chunk of sound"):
        decompress(stream[:head] + with_sound[at:begin] + stream[head:])
    with pytest.raises(CorruptStream):
        decompress(stream + with_sound[at:begin])


def test_a_chunk_that_changes_sides_is_refused() -> None:
    stream = bytearray(stream_of_film())
    at = frames.read_header(bytes(stream))[1]
    end = frames.read_chunk(stream, at)[1]
    stream[at : at + 2] = frames.SOUND_SYNC
    stream[end - 4 : end] = google_crc32c.value(bytes(stream[at : end - 4])).to_bytes(4, "little")
    with pytest.raises(CorruptStream):
        decompress(bytes(stream))
    chunks = list(ChunkReader(io.BytesIO(bytes(stream)), partial=True, sound=True))
    assert all(chunk.positions != 48 for chunk in chunks)
