"""Some frames of a video, decompressed without the rest of its stream."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from omnicodec.service.cli.batch import Done, Slow, Work, apart
from omnicodec.service.cli.console import UsageError, note
from omnicodec.service.cli.files import Outputs, read_rest
from omnicodec.service.cli.naming import base_name, decoded_name
from omnicodec.service.cli.pipes import Pipe

if TYPE_CHECKING:
    from omnicodec.codecs.stream import Excerpt


def decompress_excerpt(
    file: str,
    source: BinaryIO | Pipe,
    outputs: Outputs,
    frames: slice,
    *,
    partial: bool,
    raw: str,
    device: str,
) -> Work:
    """Decompress some frames of an opened stream of video."""
    from omnicodec.codecs.registry import describe_named, load_named
    from omnicodec.codecs.stream import decode_excerpt, read_frames
    from omnicodec.codecs.stream.pick import ChunkPicker

    stream = (
        io.BytesIO(read_rest(source)) if isinstance(source, Pipe) else cast("IO[bytes]", source)
    )
    begin = stream.tell()
    header = ChunkPicker(stream).header
    stream.seek(begin)
    spec = describe_named(header.codec)
    if spec.modality != "video":
        raise UsageError(f"--frames is for video, and this is a stream of {spec.name}")
    name = decoded_name(spec, file, header.source.name)
    path = outputs.path(file, str(Path(name).with_suffix(".yuv")) if raw else name, binary=True)

    def slow() -> tuple[Excerpt, bytes]:
        excerpt = read_frames(stream, frames, partial=partial, device=device)
        if not excerpt.frames:
            count = excerpt.contents.tokens.extent["frames"]
            raise UsageError(f"--frames: none of these are among its {count:,} frames, from 0 on")
        video = decode_excerpt(excerpt, device=device)
        return excerpt, video.to_raw(raw) if raw else video.to_bytes(outputs.suffix)

    excerpt, data = yield Slow(slow, apart(load_named(spec.name, device=device)), 0)
    place = outputs.write(file, path, data)
    contents = excerpt.contents
    lost = 0 if contents.missing is None else int(contents.missing.sum())
    if lost:
        share = f"{lost:,} of {excerpt.positions:,} positions"
        note(f"omnicodec: {base_name(file)} is damaged, missing of these frames: {share}")
    if header.HasField("sound") and (contents.sound is None or contents.sound.missing is not None):
        note(f"omnicodec: {base_name(file)} is damaged, and so is its sound")
    first, last = excerpt.frames[0], excerpt.frames[-1]
    which = f"frame {first:,}" if first == last else f"frames {first:,} to {last:,}"
    facts = {
        "output": place,
        "bytes": len(data),
        "frames": [first, last + 1],
        "positions": excerpt.positions,
        "missing": lost,
    }
    return Done(f" -> {place}: {which}, {len(data):,} bytes", facts)
