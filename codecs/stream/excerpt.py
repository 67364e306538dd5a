"""Some frames of a video, with their sound, from as little of its stream as they need."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace

import numpy as np

from omnicodec.codecs.codec import Mask
from omnicodec.codecs.errors import (
    CorruptStream,
    FingerprintMismatch,
    InvalidInput,
    UnknownCodec,
)
from omnicodec.codecs.files import Source
from omnicodec.codecs.frame_codec import FrameCodec
from omnicodec.codecs.media import Audio, Video
from omnicodec.codecs.media.audio_reader import open_source
from omnicodec.codecs.prior import Span
from omnicodec.codecs.registry import AnyCodec, load_named
from omnicodec.codecs.stream import frames as framing
from omnicodec.codecs.stream.header import check_layout, check_models
from omnicodec.codecs.stream.omc import StreamContents, fill
from omnicodec.codecs.stream.pick import ChunkPicker, seekable
from omnicodec.codecs.stream.sound import decode_contents
from omnicodec.codecs.tokens import Tokens
from omnicodec.v1.stream_pb2 import StreamHeader


@dataclass(frozen=True)
class Excerpt:
    """What was read of a video's stream for some of its frames.

    `contents` are those of the stream with 0 wherever the frames need nothing; its `missing` are
    those of the needed `positions` that no whole chunk covered. Its sound is whole.
    """

    contents: StreamContents
    frames: range
    positions: int


def decompress_frames(
    source: Source,
    start: int | None = None,
    stop: int | None = None,
    *,
    partial: bool = False,
    device: str = "auto",
) -> Video:
    """Return the frames `start:stop` of an .omc stream of video, and the sound heard with them.

    They are those of the whole, `decompress(stream).frames[start:stop]`: counted from 0, from the
    end where they are negative, and cut to what there is. Of a file in `source` only the chunks
    with these frames are read, and its sound; others may be damaged. With `partial`, so may these.

    Raises what `decompress` raises, and `InvalidInput` for a codec that cannot.
    """
    excerpt = read_frames(source, slice(start, stop), partial=partial, device=device)
    return decode_excerpt(excerpt, device=device)


def read_frames(
    source: Source,
    frames: slice,
    *,
    partial: bool = False,
    device: str = "auto",
    threads: int | None = None,
) -> Excerpt:
    """Return the tokens of some frames of a stream; `decompress_frames` has the rest."""
    with contextlib.ExitStack() as stack:
        picker = ChunkPicker(seekable(open_source(source, stack)))
        return _read(picker, frames, partial, device, threads)


def _read(
    picker: ChunkPicker, frames: slice, partial: bool, device: str, threads: int | None
) -> Excerpt:
    header = picker.header
    codec = frame_codec(header, device)
    check_models(header, codec)
    extent = check_layout(header, codec)
    some = range(extent["frames"])[frames]
    some = range(some.start, max(some.start, some.stop))
    grid = tuple(header.grid)
    needed = codec.positions_of(some, grid, extent) if some else ()
    size = header.chunk_positions
    indices = {i for part in needed for i in range(part.start // size, -(-part.stop // size))}
    heard = _sound_codec(header, partial, device)
    sounds = -(-math.prod(header.sound.grid) // header.sound.chunk_positions) if heard else 0
    places = {*((i, False) for i in indices), *((i, True) for i in range(sounds))}
    found = picker.pick(places)

    missing = np.zeros(math.prod(grid), np.bool_)
    for part in needed:
        missing[part.start : part.stop] = True
    contents = _contents(header, codec, found, indices, missing, partial, threads)
    if heard is not None:
        lost = np.ones(math.prod(header.sound.grid), np.bool_)
        every = set(range(sounds))
        sound = _contents(header.sound, heard, found, every, lost, partial, threads)
        if sound.missing is None or not sound.missing.all():
            contents = replace(contents, sound=sound)
    return Excerpt(contents, some, sum(map(len, needed)))


def _contents(
    header: StreamHeader,
    codec: AnyCodec,
    found: dict[tuple[int, bool], framing.Chunk],
    indices: set[int],
    missing: Mask,
    partial: bool,
    threads: int | None,
) -> StreamContents:
    """Return what is in the chunks of a video or of its sound that were asked for."""
    is_sound = codec.spec.modality == "audio"
    chunks = {i: found[i, is_sound] for i in sorted(indices) if (i, is_sound) in found}
    lost = sorted(indices - set(chunks))
    if lost and not partial:
        raise CorruptStream(
            f"chunk {lost[0]} is damaged or not there, and {len(indices)} are needed"
        )
    grid, size = tuple(header.grid), header.chunk_positions
    # Memory of zeros that nobody looks at is never taken.
    ids = np.zeros((len(codec.spec.codebook_sizes), math.prod(grid)), np.int32)

    def span_of(chunk: framing.Chunk) -> Span:
        start = chunk.index * size
        return Span(grid, start, start + chunk.positions)

    fill(ids, missing, chunks.values(), codec, span_of, partial=partial, threads=threads)
    extent = dict(zip(codec.spec.extent, header.extent, strict=True))
    tokens = Tokens(header.codec, header.fingerprint.hex(), ids, grid, extent)
    return StreamContents(tokens, header, missing if missing.any() else None)


def frame_codec(header: StreamHeader, device: str) -> FrameCodec:
    """Return the codec of a stream whose frames can be had apart; raises `InvalidInput`."""
    codec = load_named(header.codec, device=device).with_prior(header.prior.hex())
    if not isinstance(codec, FrameCodec):
        raise InvalidInput(f"{codec.spec.name} has no frames that are decoded apart")
    return codec


def _sound_codec(header: StreamHeader, partial: bool, device: str) -> AnyCodec | None:
    """Return the codec of a video's sound; None where there is none, or with `partial` no use."""
    if not header.HasField("sound"):
        return None
    try:
        codec = load_named(header.sound.codec, device=device)
        codec = codec.with_prior(header.sound.prior.hex())
        check_models(header.sound, codec)
        check_layout(header.sound, codec)
    except (CorruptStream, FingerprintMismatch, UnknownCodec):
        if not partial:
            raise
        return None
    return codec


def decode_excerpt(excerpt: Excerpt, *, device: str = "auto") -> Video:
    """Return the frames that were read, with their sound.

    The last frame of a video has all the sound that is left, so that excerpts add up to it.
    """
    contents, some = excerpt.contents, excerpt.frames
    codec = frame_codec(contents.header, device)
    video = codec.decode_frames(contents.tokens, some, contents.missing)
    if contents.sound is None:
        return video
    heard = decode_contents(contents.sound, device=device)
    if not isinstance(heard, Audio):
        raise CorruptStream(f"{contents.tokens.codec} has no sound")
    begin, end = (round(n * heard.sample_rate / video.fps) for n in (some.start, some.stop))
    if some and some.stop == contents.tokens.extent["frames"]:
        end = heard.samples.shape[1]
    samples = np.ascontiguousarray(heard.samples[:, begin : max(begin, end)])
    return replace(video, audio=Audio(samples, heard.sample_rate))
