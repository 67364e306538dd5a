"""Sound, compressed and decompressed in pieces: files of hours, and live pipes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from omnicodec.service.cli.batch import Done
from omnicodec.service.cli.console import UsageError, note
from omnicodec.service.cli.files import Outputs
from omnicodec.service.cli.naming import STDIN, base_name, shown_name
from omnicodec.service.cli.pipes import Pipe

if TYPE_CHECKING:
    from omnicodec.codecs import Audio, Codec
    from omnicodec.codecs.codec import Settings
    from omnicodec.codecs.media.audio_reader import AudioReader
    from omnicodec.codecs.media.pcm import PCM

_LIVE_CHUNK = 1.0  # seconds
_PIECES_A_CHUNK = 4  # that live sound is read in
_FILE_PIECE = 10.0  # seconds


def parse_pcm(text: str) -> PCM | None:
    """Return what --pcm says of an input; raises `UsageError`."""
    from omnicodec.codecs import InvalidInput
    from omnicodec.codecs.media.pcm import PCM

    try:
        return PCM.parse(text) if text else None
    except InvalidInput as e:
        raise UsageError(f"--pcm: {e}") from e


def check_pcm_format(text: str) -> None:
    """Raise `UsageError` unless --pcm names a format of samples."""
    from omnicodec.codecs.media.pcm import SAMPLE_FORMATS

    if text and text not in SAMPLE_FORMATS:
        known = ", ".join(SAMPLE_FORMATS)
        raise UsageError(f"--pcm: unknown sample format {text!r}; known: {known}")


def compress_sound(
    file: str,
    source: BinaryIO | Pipe,
    outputs: Outputs,
    path: Path | None,
    codec: str,
    *,
    settings: Settings,
    chunk: float | None,
    pcm: PCM | None,
    device: str = "auto",
    to_stream: Callable[..., Iterator[bytes]] | None = None,
) -> Done:
    """Compress a sound file or a live pipe; signals end a pipe in good order, then raise.

    `to_stream` does what `compress_pieces` does in this process, if it is not that.
    """
    from omnicodec.codecs.stream import compress_pieces

    to_stream = to_stream or partial(compress_pieces, device=device)
    from omnicodec.codecs import InvalidInput

    pipe = source if isinstance(source, Pipe) else None
    try:
        with pipe.ended_by_signals() if pipe else nullcontext():
            sizes = _Sizes(source)
            with outputs.open(file, path) as out:
                for data in _streamed(file, source, sizes, codec, settings, chunk, pcm, to_stream):
                    out.write(data)
                    out.flush()
                    sizes.after += len(data)
    except InvalidInput as e:
        if pipe and pipe.stopped:  # in the middle of a header
            raise KeyboardInterrupt from e
        raise
    done = sizes.done(codec, "stdout" if path is None else str(path))
    if pipe and pipe.stopped:
        note(f"{shown_name(file)}{done.line}")
        raise KeyboardInterrupt
    return done


def _streamed(
    file: str,
    source: BinaryIO | Pipe,
    sizes: _Sizes,
    codec: str,
    settings: Settings,
    chunk: float | None,
    pcm: PCM | None,
    to_stream: Callable[..., Iterator[bytes]],
) -> Iterator[bytes]:
    from omnicodec.codecs.media.audio_reader import AudioReader

    with AudioReader(cast("IO[bytes]", source), seconds=_FILE_PIECE, pcm=pcm) as sound:
        if chunk is None and isinstance(source, Pipe) and sound.length is None:
            chunk = _LIVE_CHUNK
        if chunk is not None:
            sound.seconds = min(chunk / _PIECES_A_CHUNK, _FILE_PIECE)
        yield from to_stream(
            sizes.counted(sound),
            codec,
            quality=settings.quality,
            effort=settings.effort,
            chunk_seconds=chunk,
            source_name=stored_name(file),
            source_size=sizes.stated,
        )


class _Sizes:
    """What went in and what came out."""

    def __init__(self, source: BinaryIO | Pipe) -> None:
        self._source = source
        self.stated = 0
        """Bytes of a file; of a pipe nobody knows."""

        if not isinstance(source, Pipe):
            begin = source.tell()
            self.stated = source.seek(0, os.SEEK_END) - begin
            source.seek(begin)
        self.samples = self.after = 0
        self.seconds = 0.0

    def counted(self, sound: AudioReader) -> Iterator[Audio]:
        for piece in sound:
            self.samples += piece.samples.size
            self.seconds += piece.duration
            yield piece

    def done(self, codec: str, place: str) -> Done:
        source = self._source
        before = source.taken if isinstance(source, Pipe) else self.stated
        kbps = 8 * self.after / self.seconds / 1000 if self.seconds else None
        facts: dict[str, object] = {
            "output": place,
            "codec": codec,
            "source_bytes": before,
            "raw_bytes": 2 * self.samples,
            "bytes": self.after,
            "ratio": before / self.after,
            "seconds": self.seconds,
            "kbps": kbps,
        }
        line = f" -> {place}: {before:,} -> {self.after:,} bytes, ratio {before / self.after:.2f}"
        line += f", {self.seconds:,.1f} s"
        return Done(line + (f", {kbps:.2f} kbps" if kbps else ""), facts)


def decompress_sound(
    file: str,
    source: bytes | Pipe,
    outputs: Outputs,
    path: Path | None,
    *,
    partial: bool,
    pcm: str,
    device: str,
    codec: Codec[Any] | None = None,
) -> Done:
    """Decompress a stream of sound while it arrives."""
    from omnicodec.codecs.stream import StreamReader, inspect

    live = isinstance(source, Pipe)
    reader = StreamReader(
        cast("IO[bytes]", source), partial=partial, live=live, device=device, codec=codec
    )
    header = reader.header if isinstance(source, Pipe) else inspect(source)
    length = header.extent[0] or None  # of an open-ended stream that still arrives, none yet
    done = write_sound(file, cast("Iterator[Audio]", iter(reader)), outputs, path, pcm, length)
    if reader.missing:
        share = f"{reader.missing:,} of {reader.positions:,} positions, "
        share += f"{100 * reader.missing / reader.positions:.3g} %"
        note(f"omnicodec: {base_name(file)} is damaged, missing: {share}")
    if not reader.told:
        seconds = done.facts["seconds"]
        note(f"omnicodec: {base_name(file)} is cut off, {seconds:,.1f} s of it are left")
    facts = {k: v for k, v in done.facts.items() if k != "seconds"}
    return Done(done.line, {**facts, "positions": reader.positions, "missing": reader.missing})


def write_sound(
    file: str,
    pieces: Iterator[Audio],
    outputs: Outputs,
    path: Path | None,
    pcm: str,
    length: int | None,
) -> Done:
    """Write sound while it comes, one piece at least; `length` is its samples, if that is known."""
    from omnicodec.codecs import CorruptStream
    from omnicodec.codecs.media.audio_writer import AudioWriter

    first = next(pieces, None)
    if first is None:
        raise CorruptStream("the stream has no sound")
    with outputs.open(file, path) as out:
        rate, channels = first.sample_rate, len(first.samples)
        with AudioWriter(
            cast("IO[bytes]", out),
            rate,
            channels,
            suffix=outputs.suffix,
            pcm=pcm or None,
            length=length,
        ) as sound:
            for piece in chain([first], pieces):
                sound.write(piece)
    place = "stdout" if path is None else str(path)
    seconds = sound.written / rate
    facts = {"output": place, "bytes": sound.nbytes, "seconds": seconds}
    return Done(f" -> {place}: {sound.nbytes:,} bytes, {seconds:,.1f} s", facts)


def stored_name(file: str) -> str:
    """Return the file name that the stream keeps; one that is no Unicode loses some letters."""
    return "" if file == STDIN else os.fsencode(base_name(file)).decode("utf-8", "replace")
