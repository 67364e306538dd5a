"""What a stream says before its chunks, and an open-ended one behind them; and who checks it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from omnicodec.codecs.codec import StreamingCodec
from omnicodec.codecs.errors import (
    CorruptStream,
    FingerprintMismatch,
    InvalidInput,
    UnknownCodec,
)
from omnicodec.codecs.hub.reference import is_hub_name
from omnicodec.codecs.limits import MAX_POSITIONS
from omnicodec.codecs.registry import AnyCodec, describe_named
from omnicodec.codecs.stream import frames
from omnicodec.v1.stream_pb2 import StreamEnd, StreamHeader

MAX_GRID_RANK: Final = 4
"""Axes of a grid; the product of many large ones would take long to compute."""


def make_header(
    codec: AnyCodec,
    grid: Sequence[int],
    extent: Mapping[str, int],
    *,
    chunk_positions: int,
    quality: int | None = None,
    source_name: str = "",
    source_size: int = 0,
    metadata: Mapping[str, str] | None = None,
    sound: StreamHeader | None = None,
) -> StreamHeader:
    """Return a header, of a video that of its `sound` as well."""
    spec = codec.spec
    header = StreamHeader(
        codec=spec.name,
        codec_version=spec.version,
        fingerprint=bytes.fromhex(spec.fingerprint),
        prior=bytes.fromhex(codec.prior.fingerprint),
        grid=grid,
        extent=[extent[name] for name in spec.extent],
        chunk_positions=chunk_positions,
        quality=quality,
        metadata=metadata or {},
        sound=sound,
    )
    if source_name or source_size:
        header.source.name = source_name
        header.source.size = source_size
    return header


def header_bytes(header: StreamHeader) -> bytes:
    """Return the bytes of a header; they are not canonical, and nothing hashes them."""
    data: bytes = header.SerializeToString(deterministic=True)
    return data


def parse_header(data: bytes, *, version: int) -> StreamHeader:
    """Return the header in these bytes; raises `CorruptStream` for one that no stream has."""
    try:
        header = StreamHeader.FromString(data)
    except DecodeError as e:
        raise CorruptStream("the stream's header is damaged") from e
    _check(header, open_ended=version == frames.OPEN_ENDED)
    if header.HasField("sound") != (version == frames.WITH_SOUND):
        raise CorruptStream("the stream's header contradicts its version")
    if header.HasField("sound"):
        sound = header.sound
        _check(sound, open_ended=False)
        if sound.HasField("sound"):
            raise CorruptStream("the stream's header says that its sound has sound")
        if not (_may_be("video", header.codec) and _may_be("audio", sound.codec)):
            raise CorruptStream(
                f"the stream's header says that {sound.codec or 'nothing'} is the sound of "
                f"{header.codec or 'nothing'}"
            )
    return header


def _may_be(modality: str, codec: str) -> bool:
    """Return whether a codec of this name may be of a modality.

    A published one that is not open here may be of any.
    """
    if not is_hub_name(codec):
        return codec.partition("/")[0] == modality
    try:
        return describe_named(codec).modality == modality
    except UnknownCodec:
        return True


def _check(header: StreamHeader, *, open_ended: bool) -> None:
    most = frames.MAX_OPEN_CHUNK_POSITIONS if open_ended else frames.MAX_CHUNK_POSITIONS
    if not 0 < header.chunk_positions <= most:
        raise CorruptStream("the stream's header has an impossible chunk size")
    if not 0 < len(header.grid) <= MAX_GRID_RANK:
        raise CorruptStream("the stream's header has an impossible grid")
    if open_ended and (header.grid[0] or not all(header.grid[1:]) or not header.extent):
        raise CorruptStream("the stream's header has an impossible grid")
    if open_ended and header.extent[0]:
        raise CorruptStream("the stream's header tells a length that nobody knew")


def check_models(header: StreamHeader, codec: AnyCodec) -> None:
    """Raise `FingerprintMismatch` unless codec and prior made the stream."""
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


def check_layout(header: StreamHeader, codec: AnyCodec) -> dict[str, int]:
    """Return the extent; nothing is allocated for a header that contradicts itself."""
    spec = codec.spec
    grid = tuple(header.grid)
    if len(header.extent) != len(spec.extent) or math.prod(grid) > MAX_POSITIONS:
        raise CorruptStream(f"the stream's header does not describe an item of {spec.name}")
    extent = dict(zip(spec.extent, header.extent, strict=True))
    try:
        codec.check_layout(grid, extent)
    except InvalidInput as e:
        raise CorruptStream(f"the stream's header contradicts itself: {e}") from e
    return extent


def streaming(codec: AnyCodec) -> StreamingCodec[Any]:
    """Return the codec of an open-ended stream; raises `CorruptStream` for others."""
    if not isinstance(codec, StreamingCodec):
        raise CorruptStream(f"{codec.spec.name} has no streams without a length")
    return codec


def end_chunk(
    codec: AnyCodec, index: int, grid: Sequence[int], extent: Mapping[str, int]
) -> frames.Chunk:
    """Return what closes an open-ended stream of `index` chunks."""
    end = StreamEnd(grid=grid, extent=[extent[name] for name in codec.spec.extent])
    return frames.Chunk(index, 0, end.SerializeToString(deterministic=True))


def complete(header: StreamHeader, chunk: frames.Chunk) -> None:
    """Set the header's grid and extent to those that the closing chunk tells.

    Raises `CorruptStream` when they are not those of this stream.
    """
    try:
        end = StreamEnd.FromString(chunk.payload)
    except DecodeError as e:
        raise CorruptStream("the end of the stream is damaged") from e
    same_grid = len(end.grid) == len(header.grid) and end.grid[1:] == header.grid[1:]
    same_extent = len(end.extent) == len(header.extent) and end.extent[1:] == header.extent[1:]
    if not same_grid or not same_extent:
        raise CorruptStream("the end of the stream contradicts its header")
    header.grid[0], header.extent[0] = end.grid[0], end.extent[0]
