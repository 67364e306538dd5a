"""Streams in pieces: the same tokens and samples as the whole, live, damaged and cut off."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import (
    Audio,
    CorruptStream,
    InvalidInput,
    LimitExceeded,
    Media,
    OmnicodecError,
    StreamingCodec,
    Text,
    compress,
    compress_pieces,
    decompress,
    decompress_pieces,
    load,
)
from omnicodec.codecs.stream import StreamReader, frames, inspect, read_tokens, write_tokens
from omnicodec.codecs.stream.pieces import MAX_GAP
from omnicodec.v1.stream_pb2 import StreamEnd

CODEC = load("audio/rvq", device="cpu")
assert isinstance(CODEC, StreamingCodec)


def sound(length: int, rate: int = 24_000, channels: int = 1) -> Audio:
    rng = np.random.default_rng(length)
    swell = np.sin(np.arange(length) / rate * 9)
    return Audio((0.1 * swell * rng.standard_normal((channels, length))).astype(np.float32), rate)


def cut(clip: Audio, places: list[int]) -> Iterator[Audio]:
    """Yield the clip in pieces."""
    edges = [0, *places, clip.samples.shape[1]]
    for start, stop in pairwise(edges):
        yield Audio(np.ascontiguousarray(clip.samples[:, start:stop]), clip.sample_rate)


def live(clip: Audio, chunk_seconds: float = 0.1, quality: int | None = 1) -> bytes:
    step = clip.sample_rate // 7 or 1
    places = list(range(step, clip.samples.shape[1], step))
    pieces = cut(clip, places)
    return b"".join(
        compress_pieces(pieces, "audio/rvq", quality=quality, chunk_seconds=chunk_seconds)
    )


def joined(pieces: Iterator[Media]) -> Audio:
    taken = [piece for piece in pieces if isinstance(piece, Audio)]
    return Audio(np.concatenate([p.samples for p in taken], 1), taken[0].sample_rate)


CLIP = sound(20_000, 44_100, 2)
STREAM = live(CLIP)
WHOLE = decompress(STREAM)


def ends(stream: bytes) -> list[int]:
    """Return where the header and each chunk end."""
    places = [frames.read_header(stream)[1]]
    while places[-1] < len(stream):
        places.append(frames.read_chunk(stream, places[-1])[1])
    return places


@settings(max_examples=6)
@given(
    st.sampled_from([(24_000, 1), (44_100, 2), (8000, 3)]),
    st.lists(st.integers(0, 9000), max_size=5).map(sorted),
    st.sampled_from([None, 0.001, 0.07, 0.5, 100.0]),
)
def test_pieces_and_chunks_change_nothing(
    kind: tuple[int, int], places: list[int], chunk: float | None
) -> None:
    clip = sound(9000, *kind)
    whole = compress(clip, "audio/rvq", quality=2)
    stream = b"".join(
        compress_pieces(cut(clip, places), "audio/rvq", quality=2, chunk_seconds=chunk)
    )
    assert read_tokens(stream).tokens == read_tokens(whole).tokens
    expected = decompress(whole)
    assert decompress(stream) == expected
    assert joined(decompress_pieces(stream)) == expected
    assert joined(decompress_pieces(io.BytesIO(whole), live=True)) == expected


@pytest.mark.parametrize(("length", "rate", "channels"), [(0, 8000, 2), (1, 48_000, 1), (5, 1, 1)])
def test_short_clips(length: int, rate: int, channels: int) -> None:
    clip = sound(length, rate, channels)
    stream = live(clip)
    assert read_tokens(stream).tokens == CODEC.encode([clip], quality=1)[0]
    back = joined(decompress_pieces(stream))
    assert back == decompress(stream)
    assert (back.samples.shape, back.sample_rate) == (clip.samples.shape, rate)


def test_no_pieces_at_all() -> None:
    stream = b"".join(compress_pieces([], "audio/rvq"))
    assert joined(decompress_pieces(stream)).samples.shape == (1, 0)


def test_the_header_is_completed_from_the_end() -> None:
    header = inspect(STREAM)
    (tokens,) = CODEC.encode([CLIP], quality=1)
    assert tuple(header.grid) == tokens.grid
    assert tuple(header.extent) == (20_000, 44_100, 2)
    assert header.quality == 1
    raw = inspect(STREAM[: ends(STREAM)[0]])
    assert (raw.grid[0], raw.extent[0]) == (0, 0)
    reader = StreamReader(STREAM)
    assert (reader.told, reader.header.grid[0]) == (False, 0)
    list(reader)
    assert (reader.told, reader.positions, reader.missing) == (True, len(tokens), 0)


def test_sound_comes_out_while_it_still_goes_in() -> None:
    """A second behind the first, through a real pipe, chunk after chunk."""
    out, into = os.pipe()
    heard: list[float] = []
    more = threading.Semaphore(0)

    def listen() -> None:
        with open(out, "rb") as pipe:
            for piece in decompress_pieces(pipe, live=True):
                assert isinstance(piece, Audio)
                heard.append(sum(heard[-1:]) + piece.duration)
                more.release()

    listener = threading.Thread(target=listen)
    listener.start()
    said = 0.0

    def speak() -> Iterator[Audio]:
        nonlocal said
        for _ in range(8):
            yield sound(6000)
            said += 0.25

    with open(into, "wb", buffering=0) as pipe:
        for data in compress_pieces(speak(), "audio/rvq", quality=1, chunk_seconds=0.25):
            pipe.write(data)
            while said > 0.5 and sum(heard[-1:]) < said - 0.5:
                assert more.acquire(timeout=20), f"{heard} of {said} seconds were heard"
    listener.join(20)
    assert heard[-1] == pytest.approx(2.0)


@pytest.mark.parametrize("whole", [False, True])
def test_every_cut_is_an_error_and_keeps_whole_chunks(whole: bool) -> None:
    places = ends(STREAM)
    for place in (places if whole else [place + 3 for place in places])[:-1]:
        stream = STREAM[:place]
        chunks = sum(end <= place for end in places) - 1
        for read in (decompress, lambda s: joined(decompress_pieces(s))):
            with pytest.raises(CorruptStream, match="cut off"):
                read(stream)
        back = decompress(stream, partial=True)
        reader = StreamReader(stream, partial=True)
        assert joined(iter(reader)) == back
        assert not reader.told
        positions = sum(frames.read_chunk(STREAM, at)[0].positions for at in places[:chunks])
        assert reader.positions == positions
        assert isinstance(back, Audio)
        assert isinstance(WHOLE, Audio)
        length = back.samples.shape[1]
        assert length >= CODEC.spec.covers["seconds"] * 44_100 * (positions / 2 - 2)
        # The last samples are those of a clip that ends here.
        sure = max(0, length - round(3 * CODEC.spec.covers["seconds"] * 44_100))
        assert np.array_equal(back.samples[:, :sure], WHOLE.samples[:, :sure])


def test_what_came_before_a_cut_was_heard() -> None:
    reader = decompress_pieces(STREAM[: ends(STREAM)[3]])
    first = next(reader)
    assert first.nbytes == 0  # of a header alone
    heard = [first]
    with pytest.raises(CorruptStream, match="chunk 3 is not there"):
        heard.extend(reader)
    assert sum(piece.nbytes for piece in heard) > 0


@pytest.mark.parametrize("lost", [0, 2])
def test_damage_is_filled_in(lost: int) -> None:
    places = ends(STREAM)
    stream = bytearray(STREAM)
    stream[(places[lost] + places[lost + 1]) // 2] ^= 4
    with pytest.raises(CorruptStream, match="damaged"):
        decompress(bytes(stream))
    reader = StreamReader(bytes(stream), partial=True)
    back = joined(iter(reader))
    assert back == decompress(bytes(stream), partial=True)
    assert reader.missing == inspect(STREAM).chunk_positions
    assert back.samples.shape == CLIP.samples.shape


def test_both_kinds_are_read_in_pieces_with_damage() -> None:
    (tokens,) = CODEC.encode([CLIP], quality=1)
    stream = bytearray(write_tokens(tokens, CODEC, chunk_positions=15))  # not whole steps
    stream[-20] ^= 1
    stream[len(stream) // 2] ^= 1
    reader = StreamReader(bytes(stream), partial=True)
    assert joined(iter(reader)) == decompress(bytes(stream), partial=True)
    assert reader.missing > 0
    with pytest.raises(CorruptStream):
        list(StreamReader(bytes(stream)))


@settings(max_examples=30)
@given(st.data())
def test_any_changed_byte_is_an_error(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(STREAM) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = STREAM[:place] + bytes([STREAM[place] ^ flip]) + STREAM[place + 1 :]
    for read in (read_tokens, lambda s: list(decompress_pieces(s))):
        with pytest.raises(OmnicodecError):
            read(changed)
    with pytest.raises(CorruptStream, match="followed by"):
        read_tokens(STREAM + bytes([flip]))


def with_end(stream: bytes, index: int | None = None, **fields: list[int]) -> bytes:
    """Return the stream with another, well-sealed end."""
    at = ends(stream)[-2]
    chunk, _ = frames.read_chunk(stream, at)
    end = StreamEnd.FromString(chunk.payload)
    for name, value in fields.items():
        end.ClearField(name)
        end.MergeFrom(StreamEnd(**{name: value}))
    closing = frames.Chunk(chunk.index if index is None else index, 0, end.SerializeToString())
    head = b"".join(frames.write_frames(b"", []))
    return stream[:at] + b"".join(frames.write_frames(b"", [closing]))[len(head) :]


def test_ends_that_lie_are_refused() -> None:
    assert with_end(STREAM) == STREAM
    header = inspect(STREAM)
    steps, samples = header.grid[0], header.extent[0]
    for stream in (
        with_end(STREAM, index=2),
        with_end(STREAM, grid=[steps + 1, 2]),
        with_end(STREAM, grid=[steps, 3]),
        with_end(STREAM, grid=[]),
        with_end(STREAM, extent=[samples + 5000, 44_100, 2]),
        with_end(STREAM, extent=[-1, 44_100, 2]),
        with_end(STREAM, extent=[samples, 44_100, 1]),
        with_end(STREAM, extent=[1 << 62, 44_100, 2]),
        STREAM + STREAM[ends(STREAM)[-2] :],
        STREAM[: ends(STREAM)[0]] + STREAM[ends(STREAM)[1] :],
    ):
        for read in (read_tokens, lambda s: list(decompress_pieces(s))):
            with pytest.raises((CorruptStream, LimitExceeded)):
                read(stream)


def test_headers_that_lie_are_refused() -> None:
    at = ends(STREAM)[0]
    for name, value in (("grid", [5, 2]), ("grid", [0, 0]), ("extent", [7, 44_100, 2]),
                        ("extent", [0, 44_100]), ("chunk_positions", (1 << 20) + 1)):  # fmt: skip
        header = inspect(STREAM[:at])
        header.ClearField(name)
        header.MergeFrom(type(header)(**{name: value}))
        head = b"".join(frames.write_frames(header.SerializeToString(), [], frames.OPEN_ENDED))
        for read in (read_tokens, StreamReader, lambda s: decompress(s, partial=True)):
            with pytest.raises(CorruptStream):
                read(head + STREAM[at:])


def test_a_short_stream_does_not_claim_hours() -> None:
    at = ends(STREAM)[0]
    chunk, _ = frames.read_chunk(STREAM, at)
    far = frames.Chunk(MAX_GAP, chunk.positions, chunk.payload)
    head = b"".join(frames.write_frames(b"", []))
    stream = STREAM[:at] + b"".join(frames.write_frames(b"", [far]))[len(head) :]
    with pytest.raises(LimitExceeded):
        list(StreamReader(stream, partial=True))
    with pytest.raises(LimitExceeded):
        decompress(stream, partial=True)


def test_longer_than_a_clip_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit protects what holds a clip whole; pieces go on."""
    for module in ("media.audio", "audio.rvq"):
        monkeypatch.setattr(f"omnicodec.codecs.{module}.MAX_SAMPLES", 15_000)
    pieces = [Audio(CLIP.samples[:, i : i + 5000].copy(), 44_100) for i in range(0, 20_000, 5000)]
    stream = b"".join(compress_pieces(pieces, "audio/rvq", quality=1, chunk_seconds=0.1))
    assert stream == STREAM
    assert sum(piece.nbytes for piece in decompress_pieces(stream)) == 2 * 40_000
    with pytest.raises(LimitExceeded):
        decompress(stream)


def test_wrong_arguments_are_refused_at_once() -> None:
    with pytest.raises(InvalidInput, match="does not work in pieces"):
        compress_pieces([], "text/bytes")
    with pytest.raises(InvalidInput, match="does not work in pieces"):
        StreamReader(compress(Text("words"), "text/bytes"))
    with pytest.raises(InvalidInput, match="no quality"):
        compress_pieces([], "audio/rvq", quality=99)
    for seconds in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InvalidInput, match="cannot last"):
            compress_pieces([], "audio/rvq", chunk_seconds=seconds)


def test_pieces_of_another_rate_are_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot go on"):
        list(compress_pieces([sound(100), sound(100, 8000)], "audio/rvq"))
