"""Facts about an .omc stream that are read without loading a network."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omnicodec.codecs import CodecSpec, CorruptStream, UnknownCodec
from omnicodec.codecs.hub.prior import find_prior
from omnicodec.codecs.hub.reference import is_hub_name
from omnicodec.codecs.registry import describe_named
from omnicodec.codecs.stream import inspect
from omnicodec.codecs.stream.chunks import ChunkReader

if TYPE_CHECKING:
    from omnicodec.v1.stream_pb2 import StreamHeader


Find = Callable[[str], CodecSpec]
"""Returns the spec of a codec by its name; raises `UnknownCodec`."""


def finder(chosen: CodecSpec | None) -> Find:
    """Return what finds codecs by name: one that was chosen, and those that are known anyway."""

    def find(name: str) -> CodecSpec:
        return chosen if chosen is not None and chosen.name == name else describe_named(name)

    return find


def survey(stream: bytes, find: Find = describe_named, *, priors: bool = False) -> dict[str, Any]:
    """Return what a stream's header says, how many chunks hold, and if it decodes here.

    `find` says what codecs there are. With `priors` they are here, and so are all priors that were
    measured for published ones. Raises `CorruptStream` when the header cannot be read; damage
    behind it is a fact.
    """
    if priors:
        find = _with_priors(stream, find)
    if not inspect(stream).HasField("sound"):
        return {**_facts(stream, len(stream), find), "sound": None}
    heard = _bytes_of_sound(stream)
    facts = _facts(stream, len(stream) - heard, find)
    return {**facts, "bytes": len(stream), "sound": _facts(stream, heard, find, sound=True)}


def missing(stream: bytes) -> tuple[int, int]:
    """Return how many positions no whole chunk has, and how many there should be."""
    header, found = _whole_chunks(stream, False)
    total = math.prod(header.grid)
    return max(0, total - sum(found.values())), total


def _with_priors(stream: bytes, find: Find) -> Find:
    """Return what finds published codecs with the prior that a stream was made with."""
    header = inspect(stream)
    prior = header.prior.hex()

    def found(name: str) -> CodecSpec:
        spec = find(name)
        if name != header.codec or not is_hub_name(name):
            return spec
        known = find_prior(spec.fingerprint, spec.codebook_sizes, prior)
        return spec if known is None else replace(spec, prior=prior)

    return found


def _facts(stream: bytes, size: int, find: Find, *, sound: bool = False) -> dict[str, Any]:
    """Return the facts about a stream, or about the sound in it, of so many bytes."""
    header, found = _whole_chunks(stream, sound)
    spec, obstacle = _match(header, find)
    positions = math.prod(header.grid)
    expected = -(-positions // header.chunk_positions)
    damage = _damage(stream, sound)
    extent: Any = list(header.extent)
    if spec is not None and len(spec.extent) == len(extent):
        extent = dict(zip(spec.extent, extent, strict=True))
    return {
        "codec": header.codec,
        "codec_version": header.codec_version,
        "fingerprint": header.fingerprint.hex(),
        "prior": header.prior.hex(),
        "decodable": obstacle is None,
        "obstacle": obstacle,
        "source_name": header.source.name or None,
        "source_bytes": header.source.size or None,
        "bytes": size,
        "bits_per_position": 8 * size / positions if positions and not damage else None,
        "positions": positions,
        "grid": list(header.grid),
        "extent": extent,
        "quality": header.quality if header.HasField("quality") else None,
        "metadata": dict(header.metadata),
        "chunk_positions": header.chunk_positions,
        "chunks": expected,
        "whole_chunks": len(found),
        "damage": damage,
    }


def _match(header: StreamHeader, find: Find) -> tuple[CodecSpec | None, str | None]:
    """Return the codec, if it is known, and why it cannot decode the stream, if so."""
    try:
        spec = find(header.codec)
    except UnknownCodec as e:
        return None, str(e)
    for what, theirs, ours in (
        ("codec", header.fingerprint.hex(), spec.fingerprint),
        ("prior", header.prior.hex(), spec.prior),
    ):
        if theirs != ours:
            return spec, f"made by another {what}; the one here is {ours}"
    return spec, None


def _bytes_of_sound(stream: bytes) -> int:
    return sum(len(c.payload) for c in ChunkReader(io.BytesIO(stream), partial=True, sound=True))


def _whole_chunks(stream: bytes, sound: bool) -> tuple[StreamHeader, dict[int, int]]:
    """Return the header, completed as far as the chunks tell, and the positions of whole ones."""
    reader = ChunkReader(io.BytesIO(stream), partial=True, sound=sound)
    header = reader.header
    found = {chunk.index: chunk.positions for chunk in reader}
    if not reader.told and found:
        last = max(found)
        stop = last * header.chunk_positions + found[last]
        header.grid[0] = stop // math.prod(header.grid[1:])
    return header, found


def _damage(stream: bytes, sound: bool) -> str | None:
    """Return what is wrong with the first chunk that is not as it should be."""
    try:
        for _ in ChunkReader(io.BytesIO(stream), sound=sound):
            pass
    except CorruptStream as e:
        return str(e)
    return None
