"""Tokens to .omc streams and back: header, chunking, entropy coding, salvage."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import Mask
from omnicodec.codecs.errors import (
    CorruptStream,
    FingerprintMismatch,
    InvalidInput,
    OmnicodecError,
    UnknownCodec,
)
from omnicodec.codecs.limits import MAX_POSITIONS
from omnicodec.codecs.prior import Span
from omnicodec.codecs.prior.soft import from_patterns, to_patterns
from omnicodec.codecs.registry import AnyCodec, load_named
from omnicodec.codecs.stream import frames
from omnicodec.codecs.stream.chunks import ChunkReader
from omnicodec.codecs.stream.header import (
    check_layout,
    check_models,
    complete,
    header_bytes,
    make_header,
    parse_header,
    streaming,
)
from omnicodec.codecs.threads import in_order
from omnicodec.codecs.tokens import Tokens
from omnicodec.v1.stream_pb2 import StreamHeader

Sound = tuple[Tokens, AnyCodec]
"""The tokens of a video's sound, and their codec."""


@dataclass(frozen=True)
class StreamContents:
    """What was read from a stream.

    `missing` marks positions that no whole chunk covered; None when nothing is missing.
    `sound` is that of a video, None where there is none, where it was lost or not asked for.
    """

    tokens: Tokens
    header: StreamHeader
    missing: Mask | None = field(default=None)
    sound: StreamContents | None = field(default=None)


def write_tokens(
    tokens: Tokens,
    codec: AnyCodec,
    *,
    quality: int | None = None,
    source_name: str = "",
    source_size: int = 0,
    metadata: Mapping[str, str] | None = None,
    chunk_positions: int | None = None,
    threads: int | None = None,
    sound: Sound | None = None,
) -> bytes:
    """Return the .omc stream of one item's tokens; they must be `codec`'s own.

    `sound` are the tokens of a video's sound and their codec: both go into one stream.

    Chunks are coded on `threads` threads where the prior is worth it (None: one for each
    core); the stream does not depend on that. They hold `chunk_positions` positions, unless
    the prior has a shorter code for much longer ones.
    """
    header, chunks = _parts(tokens, codec, chunk_positions, threads)
    version = frames.VERSION
    if sound is not None:
        heard, heard_chunks = _parts(*sound, None, threads)
        header.sound.CopyFrom(heard)
        chunks = interleaved(chunks, heard_chunks)
        version = frames.WITH_SOUND
    if quality is not None:
        header.quality = quality
    if source_name or source_size:
        header.source.name, header.source.size = source_name, source_size
    header.metadata.update(metadata or {})
    return b"".join(frames.write_frames(header_bytes(header), chunks, version))


def interleaved(
    chunks: Sequence[frames.Chunk], sound: Sequence[frames.Chunk]
) -> list[frames.Chunk]:
    """Return the chunks of a video and its sound, those beside each other that are shown so."""
    marked = [replace(chunk, sound=True) for chunk in sound]
    placed = [(i / len(part), chunk) for part in (chunks, marked) for i, chunk in enumerate(part)]
    return [chunk for _, chunk in sorted(placed, key=lambda pair: pair[0])]


def _parts(
    tokens: Tokens, codec: AnyCodec, chunk_positions: int | None, threads: int | None
) -> tuple[StreamHeader, list[frames.Chunk]]:
    """Return the header and the chunks of a stream of these tokens."""
    codec.check(tokens)
    if chunk_positions is None:
        chunk_positions = codec.chunk_size(tokens.grid)
    if not 0 < chunk_positions <= frames.MAX_CHUNK_POSITIONS:
        raise InvalidInput(f"chunks hold 1 to {frames.MAX_CHUNK_POSITIONS} positions")
    chunks = _encode(tokens, codec, chunk_positions, threads)
    if any(len(chunk.payload) > frames.MAX_PAYLOAD_BYTES for chunk in chunks):
        raise InvalidInput(f"chunks of {chunk_positions:,} positions are too large here")
    largest = max((chunk.positions for chunk in chunks), default=chunk_positions)
    return make_header(codec, tokens.grid, tokens.extent, chunk_positions=largest), chunks


def _encode(
    tokens: Tokens, codec: AnyCodec, chunk_positions: int, threads: int | None
) -> list[frames.Chunk]:
    prior, total = codec.prior, len(tokens)
    rows = tokens.ids if tokens.soft is None else to_patterns(tokens.soft)

    def span_at(start: int, size: int) -> Span:
        return Span(tokens.grid, start, min(start + size, total))

    def encode(start: int) -> frames.Chunk:
        span = span_at(start, chunk_positions)
        payload = prior.encode(rows[:, span.start : span.stop], span)
        return frames.Chunk(start // chunk_positions, len(span), payload)

    starts = range(0, total, chunk_positions)
    parallel = prior.parallel and len(starts) > 1
    chunks = list(in_order(encode, starts, parallel=parallel, threads=threads))
    if len(chunks) < 2:
        return chunks
    large = []
    for index, start in enumerate(range(0, total, frames.MAX_CHUNK_POSITIONS)):
        span = span_at(start, frames.MAX_CHUNK_POSITIONS)
        payload = prior.encode_large(rows[:, span.start : span.stop], span)
        if payload is None or len(payload) > frames.MAX_PAYLOAD_BYTES:
            return chunks
        large.append(frames.Chunk(index, len(span), payload))
    return min(chunks, large, key=lambda form: sum(len(chunk.payload) for chunk in form))


def inspect(stream: bytes) -> StreamHeader:
    """Return a stream's header; the chunks are neither read nor checked.

    The header of an open-ended stream is completed from its end; where that is not there,
    its grid and extent are 0 long.
    """
    data, at = frames.read_header(stream)
    version = frames.version_of(stream)
    header = parse_header(data, version=version)
    if version == frames.OPEN_ENDED:
        last = frames.last_chunk(stream, at)
        if last is not None and not last.positions and not last.sound:
            complete(header, last)
    return header


def read_tokens(
    stream: bytes,
    *,
    codec: AnyCodec | None = None,
    partial: bool = False,
    device: str = "auto",
    threads: int | None = None,
    sound: bool = True,
) -> StreamContents:
    """Return the tokens of an .omc stream, made by `codec` or else by the one that it names.

    With `partial`, positions of damaged chunks are marked in `StreamContents.missing`
    instead of raising `CorruptStream`; their ids or real values are 0. `threads` are as in
    `write_tokens`. The `sound` of a video comes along; with `partial` it is left out where
    nothing of it is whole, or where another model made it.
    """
    chunks = ChunkReader(io.BytesIO(stream), partial=partial)
    contents = _read(chunks, codec, partial, device, threads)
    if not sound or not contents.header.HasField("sound"):
        return contents
    try:
        chunks = ChunkReader(io.BytesIO(stream), partial=partial, sound=True)
        heard = _read(chunks, None, partial, device, threads)
    except (CorruptStream, FingerprintMismatch, UnknownCodec):
        if not partial:
            raise
        return contents
    if heard.missing is not None and heard.missing.all():
        return contents
    return replace(contents, sound=heard)


def _read(
    chunks: ChunkReader,
    codec: AnyCodec | None,
    partial: bool,
    device: str,
    threads: int | None,
) -> StreamContents:
    """Return the tokens of one of the streams in a stream."""
    header = chunks.header
    codec = (codec or load_named(header.codec, device=device)).with_prior(header.prior.hex())
    check_models(header, codec)
    extent = check_layout(header, codec)
    if chunks.open_ended:
        streaming(codec)
    found = {chunk.index: chunk for chunk in chunks}
    if chunks.open_ended:
        if not chunks.told:
            found = _without_end(found, header, codec, extent)
        extent = check_layout(header, codec)
    grid = tuple(header.grid)
    positions = math.prod(grid)
    if partial and len(grid) == 1 and not extent:
        # The length is only the header's word; what no chunk backs is not allocated.
        last = max(found, default=-1)
        positions = min(positions, (last + 1) * header.chunk_positions)
        grid = (positions,)
    spec, soft = codec.spec, None
    rows = np.zeros((spec.per_position, positions), np.int32)
    missing = np.ones(positions, np.bool_)
    fill(rows, missing, found.values(), codec, chunks.span, partial=partial, threads=threads)
    if spec.soft_width:
        soft, wrong = from_patterns(rows, extent["bits"])
        if wrong.any() and not partial:
            raise CorruptStream("the stream holds real values that no codec makes")
        missing |= wrong
        rows = rows[:0]
    tokens = Tokens(header.codec, header.fingerprint.hex(), rows, grid, extent, soft)
    return StreamContents(tokens, header, missing if missing.any() else None)


def fill(
    rows: NDArray[np.int32],
    missing: Mask,
    chunks: Collection[frames.Chunk],
    codec: AnyCodec,
    span_of: Callable[[frames.Chunk], Span],
    *,
    partial: bool,
    threads: int | None,
) -> None:
    """Decode chunks into the rows of a prior, `(K, N)`; what they hold is not `missing` any more.

    Raises `CorruptStream` for one that holds nothing, which with `partial` stays missing.
    """

    def decode(chunk: frames.Chunk) -> tuple[slice, NDArray[np.int32] | None]:
        span = span_of(chunk)
        try:
            return slice(span.start, span.stop), codec.prior.decode(chunk.payload, span)
        except CorruptStream:
            if not partial:
                raise
            return slice(span.start, span.stop), None

    parallel = codec.prior.parallel and len(chunks) > 1
    for place, part in in_order(decode, chunks, parallel=parallel, threads=threads):
        if part is not None:
            rows[:, place] = part[:, : rows.shape[1] - place.start]
            missing[place] = False


def reads_apart(stream: bytes, device: str) -> bool:
    """Return whether a stream is best read beside others; one that cannot be read is not."""
    try:
        return load_named(inspect(stream).codec, device=device).prior.parallel
    except OmnicodecError:
        return False


def positions(stream: bytes) -> int:
    """Return how many positions a stream's header says that there are; 0 if it cannot be read."""
    try:
        return min(math.prod(inspect(stream).grid), MAX_POSITIONS)
    except OmnicodecError:
        return 0


def _without_end(
    found: Mapping[int, frames.Chunk], header: StreamHeader, codec: AnyCodec, extent: dict[str, int]
) -> dict[int, frames.Chunk]:
    """Return the chunks of an open-ended stream that was cut off, and complete its header.

    It is taken to end with the last chunk that there is.
    """
    size, last = header.chunk_positions, max(found, default=0)
    whole = {i: chunk for i, chunk in found.items() if chunk.positions == size or i == last}
    stop = last * size + (found[last].positions if found else 0)
    inner = math.prod(header.grid[1:])
    extent = streaming(codec).extent_of(stop // inner, extent)
    grid = codec.expected_grid(extent, stop)
    header.grid[0], header.extent[0] = grid[0], extent[codec.spec.extent[0]]
    return {i: chunk for i, chunk in whole.items() if i * size < math.prod(grid)}
