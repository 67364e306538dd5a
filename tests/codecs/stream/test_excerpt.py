"""Some frames of a stream: those of the whole, from few bytes, with damage and lies elsewhere."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    Audio,
    CorruptStream,
    FingerprintMismatch,
    InvalidInput,
    Text,
    Video,
    compress,
    decompress,
    decompress_frames,
    load,
)
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.stream import frames, read_frames
from omnicodec.v1.stream_pb2 import StreamHeader

NAME = "video/plain"
COUNT = 31
FRAME = 24  # positions; a chunk has two frames

load("audio/rvq", device="cpu")  # here, so that it is known behind each test as well


@pytest.fixture(autouse=True)
def plain(film_codec: str) -> None:
    assert film_codec == NAME


def film() -> Video:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (COUNT, 4, 6, 1), np.uint8).repeat(3, 3)
    sound = (0.1 * np.sin(np.arange(9000) / 30)).astype(np.float32)[None]
    return Video(grey, Fraction(30000, 1001), Audio(sound, 8000))


FILM = film()
SILENT = replace(FILM, audio=None)


@cache
def stream_of(video: str) -> bytes:
    return compress({"film": FILM, "silent": SILENT}[video], NAME)


@cache
def whole() -> Video:
    video = decompress(stream_of("film"))
    assert isinstance(video, Video)
    return video


def chunks_of(stream: bytes) -> list[tuple[frames.Chunk, int, int]]:
    """Return each chunk, and where it begins and ends."""
    at = frames.read_header(stream)[1]
    found = []
    while at < len(stream):
        chunk, end = frames.read_chunk(stream, at)
        found.append((chunk, at, end))
        at = end
    return found


class Counted(io.BytesIO):
    """A file that counts the bytes that are read of it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data

    read1 = read


places = st.none() | st.integers(-COUNT - 3, COUNT + 3) | st.sampled_from([-(1 << 70), 1 << 70])


@settings(max_examples=25)
@given(places, places)
def test_frames_and_sound_are_those_of_the_whole(start: int | None, stop: int | None) -> None:
    part, video = decompress_frames(stream_of("film"), start, stop), whole()
    assert np.array_equal(part.frames, video.frames[start:stop])
    assert part.fps == video.fps
    some = range(COUNT)[start:stop]
    assert part.audio is not None
    assert video.audio is not None
    edges = [round(n * 8000 / video.fps) for n in (some.start, max(some.start, some.stop))]
    if some and some.stop == COUNT:
        edges[1] = 9000
    assert np.array_equal(part.audio.samples, video.audio.samples[:, edges[0] : edges[1]])


@settings(max_examples=10)
@given(st.lists(st.integers(0, COUNT), max_size=5).map(sorted))
def test_excerpts_add_up_to_the_whole(cuts: list[int]) -> None:
    edges = [0, *cuts, COUNT]
    pairs = [(a, b) for a, b in pairwise(edges) if a < b]
    parts = [decompress_frames(stream_of("film"), a, b) for a, b in pairs]
    assert np.array_equal(np.concatenate([p.frames for p in parts]), whole().frames)
    heard = [p.audio.samples for p in parts if p.audio is not None]
    audio = whole().audio
    assert audio is not None
    assert np.array_equal(np.concatenate(heard, 1), audio.samples)


def test_any_source(tmp_path: Path) -> None:
    stream, expected = stream_of("silent"), Video(FILM.frames[3:9], FILM.fps)
    path = tmp_path / "film.omc"
    path.write_bytes(stream)
    end, other = os.pipe()
    with open(other, "wb") as file:
        file.write(stream)  # which a pipe has room for
    with path.open("rb") as file, open(end, "rb") as pipe:
        for source in (stream, path, str(path), file, pipe):
            assert decompress_frames(source, 3, 9) == expected
    behind = io.BytesIO(b"something else" + stream)
    behind.seek(14)
    assert decompress_frames(behind, 3, 9) == expected
    with pytest.raises(InvalidInput, match="cannot read"):
        decompress_frames(tmp_path / "none.omc", 3, 9)


@pytest.mark.parametrize(("start", "stop"), [(0, 2), (9, 10), (15, 20), (30, 31), (5, 5)])
def test_only_what_is_needed_is_read(start: int, stop: int) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (40, 40, 50, 1), np.uint8).repeat(3, 3)
    video = Video(grey, 25)
    codec: AnyCodec = load(NAME)
    from omnicodec.codecs.stream import write_tokens

    (tokens,) = codec.encode([video])
    stream = write_tokens(tokens, codec, chunk_positions=2 * 40 * 50)
    needed = [c for c, *_ in chunks_of(stream) if start // 2 <= c.index < -(-stop // 2)]
    needed = needed if start < stop else []
    file = Counted(stream)
    part = decompress_frames(file, start, stop)
    assert np.array_equal(part.frames, grey[start:stop])
    payloads = sum(len(c.payload) + 4 for c in needed)
    heads = 20 * frames.MAX_HEAD_BYTES
    assert payloads <= file.taken <= payloads + heads + 256


@pytest.mark.parametrize(("video", "step"), [("silent", 1), ("film", 97)])
def test_damage_elsewhere_does_no_harm(video: str, step: int) -> None:
    stream = stream_of(video)
    places = chunks_of(stream)
    needed = [(at, end) for c, at, end in places if c.sound or c.index == 4]
    head = places[0][1]
    expected = decompress_frames(stream, 8, 10)
    for place in range(head, len(stream), step):
        if any(at <= place < end for at, end in needed):
            continue
        broken = bytearray(stream)
        broken[place] ^= 1 << place % 8
        assert decompress_frames(bytes(broken), 8, 10) == expected


def test_a_file_that_was_cut_off_has_what_stands_before() -> None:
    stream = stream_of("silent")
    for chunk, _, end in chunks_of(stream):
        first = 2 * chunk.index
        part = decompress_frames(stream[:end], first, first + 2)
        assert np.array_equal(part.frames, FILM.frames[first : first + 2])
        with pytest.raises(CorruptStream):
            decompress_frames(stream[: end - 1], first, first + 2)


def test_damage_to_what_is_asked_for() -> None:
    stream = stream_of("silent")
    for chunk, at, end in chunks_of(stream):
        if chunk.sound or chunk.index != 4:
            continue
        for place in range(at, end):
            broken = bytearray(stream)
            broken[place] ^= 0x11
            with pytest.raises(CorruptStream, match="chunk 4"):
                decompress_frames(bytes(broken), 7, 11)
            part = decompress_frames(bytes(broken), 7, 11, partial=True)
            assert np.array_equal(part.frames[[0, 3]], FILM.frames[[7, 10]])
            assert not part.frames[1:3].any()
        excerpt = read_frames(bytes(broken), slice(7, 11), partial=True)
        assert excerpt.positions == 4 * FRAME
        assert excerpt.contents.missing is not None
        assert np.flatnonzero(excerpt.contents.missing).tolist() == [*range(8 * 24, 10 * 24)]


def test_sound_that_is_lost() -> None:
    stream = bytearray(stream_of("film"))
    at = next(at for c, at, _ in chunks_of(bytes(stream)) if c.sound)
    stream[at + 9] ^= 1
    with pytest.raises(CorruptStream):
        decompress_frames(bytes(stream), 0, 4)
    part = decompress_frames(bytes(stream), 0, 4, partial=True)
    assert part == Video(FILM.frames[:4], FILM.fps)


def rebuilt(stream: bytes, change: Callable[[StreamHeader], None]) -> bytes:
    """Return the stream with another header, which holds together."""
    data, at = frames.read_header(stream)
    header = StreamHeader.FromString(data)
    change(header)
    version = frames.version_of(stream)
    return next(frames.write_frames(header.SerializeToString(), [], version)) + stream[at:]


def test_sound_of_another_model() -> None:
    def change(header: StreamHeader) -> None:
        header.sound.fingerprint = bytes(8)

    stream = rebuilt(stream_of("film"), change)
    with pytest.raises(FingerprintMismatch, match="audio/rvq"):
        decompress_frames(stream, 2, 5)
    part = decompress_frames(stream, 2, 5, partial=True)
    assert part == Video(FILM.frames[2:5], FILM.fps)


def test_chunks_that_lie_are_not_believed() -> None:
    stream = stream_of("silent")
    places = chunks_of(stream)
    head = places[0][1]
    expected = Video(FILM.frames[8:10], FILM.fps)
    # The right index, and another number of positions.
    lies = [frames.Chunk(4, n, bytes(n)) for n in (1, 47, 49, 1000)]
    forged = b"".join([*frames.write_frames(b"", lies)][1:])
    assert decompress_frames(stream[:head] + forged + stream[head:], 8, 10) == expected
    # Chunks whose lengths lead past others, to the end and beyond.
    for length in (b"\x00", b"\x7f", b"\xff\xff\x03", b"\xff\xff\xff\x1f", b"\xff\xff\xff\xff\x0f"):
        forged = frames.SYNC + b"\x00\x30" + length
        assert decompress_frames(stream[:head] + forged + stream[head:], 8, 10) == expected
    # A chunk that codes nothing, in the place of the one that is asked for.
    chunk, at, end = places[4]
    (_, forged) = frames.write_frames(b"", [replace(chunk, payload=b"x")])
    broken = stream[:at] + forged + stream[end:]
    with pytest.raises(CorruptStream):
        decompress_frames(broken, 8, 10)
    assert not decompress_frames(broken, 8, 10, partial=True).frames.any()


def test_a_stream_of_nothing_but_beginnings_is_given_up() -> None:
    stream = stream_of("silent")
    head = stream[: chunks_of(stream)[0][1]]
    file = Counted(head + frames.SYNC * (1 << 20))
    with pytest.raises(CorruptStream):
        decompress_frames(file, 8, 10)
    assert file.taken < 1 << 22


def test_any_bytes_are_a_stream_or_an_error() -> None:
    stream = stream_of("film")
    rng = np.random.default_rng(0)
    for _ in range(80):
        broken = bytearray(stream[: rng.integers(len(stream))])
        for place in rng.integers(0, max(1, len(broken)), 3):
            broken[place : place + 1] = rng.bytes(int(rng.integers(3)))
        try:
            part = decompress_frames(bytes(broken), 8, 10)
        except (CorruptStream, FingerprintMismatch):
            continue
        assert np.array_equal(part.frames, FILM.frames[8:10])


def test_what_has_no_frames_to_pick() -> None:
    with pytest.raises(InvalidInput, match="text/bytes"):
        decompress_frames(compress(Text("words"), "text/bytes"), 0, 1)
    from omnicodec.codecs import compress_pieces

    stream = b"".join(compress_pieces([whole().audio or Audio(np.zeros((1, 0)), 1)], "audio/rvq"))
    with pytest.raises(InvalidInput, match="without a length"):
        decompress_frames(stream, 0, 1)
    for nothing in (b"", b"\x89OM", b"RIFF"):
        with pytest.raises(CorruptStream):
            decompress_frames(nothing, 0, 1)


def test_a_video_of_no_frames() -> None:
    stream = compress(Video(np.zeros((0, 4, 6, 3), np.uint8), 25), NAME)
    assert decompress_frames(stream, 0, 4).frames.shape == (0, 4, 6, 3)
