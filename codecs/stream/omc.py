"""Tokens to .omc streams and back: header, chunking, entropy coding, salvage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError

from omnicodec.codecs.codec import Mask
from omnicodec.codecs.errors import CorruptStream, FingerprintMismatch, InvalidInput
from omnicodec.codecs.limits import MAX_POSITIONS
from omnicodec.codecs.media import Media
from omnicodec.codecs.prior import Span
from omnicodec.codecs.registry import AnyCodec, load
from omnicodec.codecs.stream import frames
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


def compress(
    media: Media,
    codec: str,
    *,
    quality: int | None = None,
    effort: str | None = None,
    device: str = "auto",
    source_name: str = "",
    source_size: int = 0,
) -> bytes:
    """Return the .omc stream of one item.

    `source_name` and `source_size` describe the file that the item came from, if any.
    Raises what `load` and `Codec.encode` raise.
    """
    loaded = load(codec, device=device)
    (tokens,) = loaded.encode([media], quality=quality, effort=effort)
    return write_tokens(
        tokens, loaded, quality=quality, source_name=source_name, source_size=source_size
    )


def decompress(stream: bytes, *, partial: bool = False, device: str = "auto") -> Media:
    """Return the item of an .omc stream, which names its codec.

    With `partial`, a damaged or cut-off stream gives back what its whole chunks hold, and
    the codec fills in the rest. Raises `CorruptStream` for damage, `FingerprintMismatch`
    for a stream of another model.
    """
    contents = read_tokens(stream, partial=partial, device=device)
    codec = load(contents.tokens.codec, device=device)
    media: Media = codec.decode([contents.tokens], missing=[contents.missing])[0]
    return media


def write_tokens(
    tokens: Tokens,
    codec: AnyCodec,
    *,
    quality: int | None = None,
    source_name: str = "",
    source_size: int = 0,
    metadata: Mapping[str, str] | None = None,
    chunk_positions: int | None = None,
) -> bytes:
    """Return the .omc stream of one item's tokens; they must be `codec`'s own."""
    codec.check(tokens)
    chunk_positions = codec.chunk_positions if chunk_positions is None else chunk_positions
    if not 0 < chunk_positions <= frames.MAX_CHUNK_POSITIONS:
        raise InvalidInput(f"chunks hold 1 to {frames.MAX_CHUNK_POSITIONS} positions")
    header = StreamHeader(
        codec=tokens.codec,
        codec_version=codec.spec.version,
        fingerprint=bytes.fromhex(tokens.fingerprint),
        prior=bytes.fromhex(codec.prior.fingerprint),
        grid=tokens.grid,
        extent=[tokens.extent[name] for name in codec.spec.extent],
        chunk_positions=chunk_positions,
        quality=quality,
        metadata=metadata or {},
    )
    if source_name or source_size:
        header.source.name = source_name
        header.source.size = source_size

    def chunks() -> Iterator[frames.Chunk]:
        for index, start in enumerate(range(0, len(tokens), chunk_positions)):
            span = Span(tokens.grid, start, min(start + chunk_positions, len(tokens)))
            payload = codec.prior.encode(tokens.ids[:, span.start : span.stop], span)
            yield frames.Chunk(index, len(span), payload)

    # Serialized messages are not canonical, which is fine here: nothing hashes a header.
    data = header.SerializeToString(deterministic=True)
    return b"".join(frames.write_frames(data, chunks()))


def inspect(stream: bytes) -> StreamHeader:
    """Return a stream's header; only the header is read and checked."""
    return _parse_header(stream)[0]


def read_tokens(stream: bytes, *, partial: bool = False, device: str = "auto") -> StreamContents:
    """Return the tokens of an .omc stream.

    With `partial`, positions of damaged chunks are marked in `StreamContents.missing`
    instead of raising `CorruptStream`; their ids are 0.
    """
    header, at = _parse_header(stream)
    codec = load(header.codec, device=device)
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
    for index, chunk in found.items():
        start = index * header.chunk_positions
        span = Span(tuple(header.grid), start, start + chunk.positions)
        try:
            ids[:, span.start : span.stop] = codec.prior.decode(chunk.payload, span)
        except CorruptStream:
            if not partial:
                raise
        else:
            missing[span.start : span.stop] = False
    tokens = Tokens(header.codec, header.fingerprint.hex(), ids, grid, extent)
    return StreamContents(tokens, header, missing if missing.any() else None)


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
