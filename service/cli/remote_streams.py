"""Streams on their way to a server and back: pieces, headers, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from omnicodec.service.cli.batch import Done
from omnicodec.service.cli.console import note
from omnicodec.service.cli.naming import base_name
from omnicodec.service.cli.pipes import Pipe
from omnicodec.service.cli.server import Server

if TYPE_CHECKING:
    from omnicodec.codecs import Audio, CodecSpec

_FILE_CHUNK: Final = 20.0
"""Seconds of sound in a chunk of a stream that is made of a file."""

_PIECE: Final = 1 << 18


def streamed(
    server: Server,
    pieces: Iterable[Audio],
    codec: str,
    *,
    source_name: str,
    source_size: int,
    chunk_seconds: float | None,
    **how: Any,
) -> Iterator[bytes]:
    """Yield the .omc stream of sound in pieces, with the name of its source in the header."""
    from omnicodec.codecs.stream import frames

    chunk = _FILE_CHUNK if chunk_seconds is None else chunk_seconds
    made = server.patient_client.compress_pieces(pieces, codec, chunk_seconds=chunk, **how)
    head = b""
    for data in made:
        head += data
        try:
            frames.read_header(head)
        except frames.CutOff:
            continue
        yield with_source(head, source_name, source_size)
        break
    yield from made


def with_source(stream: bytes, name: str, size: int) -> bytes:
    """Return a stream whose header says what it was made of, as one that is made here says."""
    from omnicodec.codecs.stream import frames
    from omnicodec.codecs.stream.header import header_bytes, parse_header

    if not name and not size:
        return stream
    data, end = frames.read_header(stream)
    version = frames.version_of(stream)
    header = parse_header(data, version=version)
    header.source.name, header.source.size = name, size
    (head,) = frames.write_frames(header_bytes(header), (), version)
    return head + stream[end:]


def compressed(place: str, spec: CodecSpec, before: int, stream: bytes) -> Done:
    """Return what became of a file of so many bytes whose stream was written."""
    from omnicodec.codecs.stream import inspect

    after = len(stream)
    facts: dict[str, object] = {
        "output": place,
        "codec": spec.name,
        "source_bytes": before,
        "bytes": after,
        "ratio": before / after,
    }
    line = f" -> {place}: {before:,} -> {after:,} bytes, ratio {before / after:.2f}"
    extent = dict(zip(spec.extent, inspect(stream).extent, strict=False))
    if spec.modality == "image" and extent.get("height", 0) * extent.get("width", 0):
        facts["bits_per_pixel"] = 8 * after / (extent["height"] * extent["width"])
        line += f", {facts['bits_per_pixel']:.3f} bits per pixel"
    return Done(line, facts)


def tell_missing(file: str, lost: int, total: int) -> None:
    """Say how many positions of a damaged stream no whole chunk gave back, if any."""
    if lost:
        share = f"{lost:,} of {total:,} positions, {100 * lost / total:.3g} %"
        note(f"omnicodec: {base_name(file)} is damaged, missing: {share}")


def read_pieces(pipe: Pipe) -> Iterator[bytes]:
    """Yield what comes from a pipe, as soon as it comes."""
    while piece := pipe.read(_PIECE):
        yield piece


def cut(data: bytes) -> Iterator[bytes]:
    """Return an iterator over pieces of `data`."""
    return (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
