"""Tokens to .omc streams and back: header, chunking, entropy coding, salvage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from omnicodec.codecs.codec import Mask
from omnicodec.codecs.errors import (
    CorruptStream,
    FingerprintMismatch,
    InvalidInput,
    OmnicodecError,
)
from omnicodec.codecs.limits import MAX_POSITIONS
from omnicodec.codecs.prior import Span
from omnicodec.codecs.registry import AnyCodec, load
from omnicodec.codecs.stream import frames
from omnicodec.codecs.threads import in_order
from omnicodec.codecs.tokens import Tokens
from omnicodec.v1.stream_pb2 import StreamHeader

MAX_GRID_RANK: Final = 4
"""Axes of a grid; the product of many large ones would take long to compute."""


@dataclass(frozen=True)
class StreamContents:
    """What was read from a stream.

    `missing` marks positions that no whole chunk covered; None when nothing is missing.
    """

    tokens: Tokens
    header: StreamHeader
    missing: Mask | None = field(default=None)


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
) -> bytes:
    """Return the .omc stream of one item's tokens; they must be `codec`'s own.

    Chunks are coded on `threads` threads where the prior is worth it (None: one for each
    core); the stream does not depend on that. They hold `chunk_positions` positions, unless
    the prior has a shorter code for much longer ones.
    """
    codec.check(tokens)
    chunk_positions = codec.chunk_positions if chunk_positions is None else chunk_positions
    if not 0 < chunk_positions <= frames.MAX_CHUNK_POSITIONS:
        raise InvalidInput(f"chunks hold 1 to {frames.MAX_CHUNK_POSITIONS} positions")
    chunks = _encode(tokens, codec, chunk_positions, threads)
    header = StreamHeader(
        codec=tokens.codec,
        codec_version=codec.spec.version,
        fingerprint=bytes.fromhex(tokens.fingerprint),
        prior=bytes.fromhex(codec.prior.fingerprint),
        grid=tokens.grid,
        extent=[tokens.extent[name] for name in codec.spec.extent],
        chunk_positions=max((chunk.positions for chunk in chunks), default=chunk_positions),
        quality=quality,
        metadata=metadata or {},
    )
    if source_name or source_size:
        header.source.name = source_name
        header.source.size = source_size

    # Serialized messages are not canonical, which is fine here: nothing hashes a header.
    data = header.SerializeToString(deterministic=True)
    return b"".join(frames.write_frames(data, chunks))


def _encode(
    tokens: Tokens, codec: AnyCodec, chunk_positions: int, threads: int | None
) -> list[frames.Chunk]:
    prior, total = codec.prior, len(tokens)

    def span_at(start: int, size: int) -> Span:
        return Span(tokens.grid, start, min(start + size, total))

    def encode(start: int) -> frames.Chunk:
        span = span_at(start, chunk_positions)
        payload = prior.encode(tokens.ids[:, span.start : span.stop], span)
        return frames.Chunk(start // chunk_positions, len(span), payload)

    starts = range(0, total, chunk_positions)
    parallel = prior.parallel and len(starts) > 1
    chunks = list(in_order(encode, starts, parallel=parallel, threads=threads))
    if len(chunks) < 2:
        return chunks
    large = []
    for index, start in enumerate(range(0, total, frames.MAX_CHUNK_POSITIONS)):
        span = span_at(start, frames.MAX_CHUNK_POSITIONS)
        payload = prior.encode_large(tokens.ids[:, span.start : span.stop], span)
        if payload is None or len(payload) > frames.MAX_PAYLOAD_BYTES:
            return chunks
        large.append(frames.Chunk(index, len(span), payload))
    return min(chunks, large, key=lambda form: sum(len(chunk.payload) for chunk in form))


def inspect(stream: bytes) -> StreamHeader:
    """Return a stream's header; only the header is read and checked."""
    return _parse_header(stream)[0]


def read_tokens(
    stream: bytes,
    *,
    codec: AnyCodec | None = None,
    partial: bool = False,
    device: str = "auto",
    threads: int | None = None,
) -> StreamContents:
    """Return the tokens of an .omc stream, made by `codec` or else by the one that it names.

    With `partial`, positions of damaged chunks are marked in `StreamContents.missing`
    instead of raising `CorruptStream`; their ids are 0. `threads` are as in `write_tokens`.
    """
    header, at = _parse_header(stream)
    codec = codec or load(header.codec, device=device)
    _check_models(header, codec)
    grid = tuple(header.grid)
    extent = _check_layout(header, codec, grid)
    positions = math.prod(grid)
    found = _chunks(stream, at, header, positions, partial)
    if partial and len(grid) == 1 and not extent:
        # The length is only the header's word; what no chunk backs is not allocated.
        last = max(found, default=-1)
        positions = min(positions, (last + 1) * header.chunk_positions)
        grid = (positions,)
    ids = np.zeros((len(codec.spec.codebook_sizes), positions), np.int32)
    missing = np.ones(positions, np.bool_)

    def decode(chunk: frames.Chunk) -> tuple[slice, NDArray[np.int32] | None]:
        start = chunk.index * header.chunk_positions
        span = Span(tuple(header.grid), start, start + chunk.positions)
        try:
            return slice(span.start, span.stop), codec.prior.decode(chunk.payload, span)
        except CorruptStream:
            if not partial:
                raise
            return slice(span.start, span.stop), None

    parallel = codec.prior.parallel and len(found) > 1
    for place, part in in_order(decode, found.values(), parallel=parallel, threads=threads):
        if part is not None:
            ids[:, place] = part
            missing[place] = False
    tokens = Tokens(header.codec, header.fingerprint.hex(), ids, grid, extent)
    return StreamContents(tokens, header, missing if missing.any() else None)


def reads_apart(stream: bytes, device: str) -> bool:
    """Return whether a stream is best read beside others; one that cannot be read is not."""
    try:
        return load(inspect(stream).codec, device=device).prior.parallel
    except OmnicodecError:
        return False


def positions(stream: bytes) -> int:
    """Return how many positions a stream's header says that there are; 0 if it cannot be read."""
    try:
        return min(math.prod(inspect(stream).grid), MAX_POSITIONS)
    except OmnicodecError:
        return 0


def _parse_header(stream: bytes) -> tuple[StreamHeader, int]:
    data, at = frames.read_header(stream)
    try:
        header = StreamHeader.FromString(data)
    except DecodeError as e:
        raise CorruptStream("the stream's header is damaged") from e
    if not 0 < header.chunk_positions <= frames.MAX_CHUNK_POSITIONS:
        raise CorruptStream("the stream's header has an impossible chunk size")
    if not 0 < len(header.grid) <= MAX_GRID_RANK:
        raise CorruptStream("the stream's header has an impossible grid")
    return header, at


def _check_models(header: StreamHeader, codec: AnyCodec) -> None:
    ours = (codec.spec.fingerprint, codec.prior.fingerprint)
    for what, theirs, mine in zip(
        ("codec", "prior"), (header.fingerprint.hex(), header.prior.hex()), ours, strict=True
    ):
        if theirs != mine:
            raise FingerprintMismatch(
                f"the stream was made by another {what} of {header.codec}: "
                f"{theirs or 'none'} (version {header.codec_version}), this has {mine} "
                f"(version {codec.spec.version})"
            )


def _check_layout(header: StreamHeader, codec: AnyCodec, grid: tuple[int, ...]) -> dict[str, int]:
    """Return the extent; nothing is allocated for a header that contradicts itself."""
    spec = codec.spec
    if len(header.extent) != len(spec.extent) or math.prod(grid) > MAX_POSITIONS:
        raise CorruptStream(f"the stream's header does not describe an item of {spec.name}")
    extent = dict(zip(spec.extent, header.extent, strict=True))
    try:
        codec.check_layout(grid, extent)
    except InvalidInput as e:
        raise CorruptStream(f"the stream's header contradicts itself: {e}") from e
    return extent


def _chunks(
    stream: bytes, at: int, header: StreamHeader, positions: int, partial: bool
) -> dict[int, frames.Chunk]:
    """Return the chunks by index: all of them, or with `partial` those that are whole."""
    size = header.chunk_positions

    def fits(chunk: frames.Chunk) -> bool:
        expected = min(size, positions - chunk.index * size)
        return chunk.positions == expected

    if partial:
        salvaged = frames.salvage_chunks(stream, at)
        return {chunk.index: chunk for chunk in salvaged if fits(chunk)}
    found = {}
    for index in range(-(-positions // size)):
        if at >= len(stream):
            raise CorruptStream(f"the stream is cut off: chunk {index} is not there")
        chunk, at = frames.read_chunk(stream, at)
        if chunk.index != index or not fits(chunk):
            raise CorruptStream(f"chunk {chunk.index} stands where chunk {index} should be")
        found[index] = chunk
    if at != len(stream):
        raise CorruptStream(f"the stream is followed by {len(stream) - at} bytes of something else")
    return found
