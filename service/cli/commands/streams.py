"""`omnicodec compress` and `omnicodec decompress`: files to .omc streams, and back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnicodec.service.cli.batch import Done, Slow, Work, apart, run_each
from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import UsageError, note
from omnicodec.service.cli.excerpt import decompress_excerpt
from omnicodec.service.cli.files import Outputs, open_input, read_rest
from omnicodec.service.cli.media import (
    check_raw_format,
    check_settings,
    comes_in_pieces,
    open_media,
    parse_frames,
    parse_raw,
    sound_codec,
)
from omnicodec.service.cli.naming import base_name, decoded_name
from omnicodec.service.cli.options import (
    PCM_INPUT,
    PCM_OUTPUT,
    RAW_INPUT,
    RAW_OUTPUT,
    Chunk,
    Codec,
    Device,
    Effort,
    Force,
    Frames,
    Json,
    MediaFiles,
    Method,
    Output,
    Quality,
    StreamCodec,
    StreamFiles,
    TargetPSNR,
    TargetSize,
    state_of,
    targets_of,
)
from omnicodec.service.cli.pipes import Pipe
from omnicodec.service.cli.screen import Screen
from omnicodec.service.cli.sound import (
    check_pcm_format,
    compress_sound,
    decompress_sound,
    parse_pcm,
    stored_name,
)

if TYPE_CHECKING:
    from omnicodec.codecs import Media
    from omnicodec.codecs.stream import StreamContents

COMPRESS_EPILOG = """\
\b
Examples:
  omnicodec compress photo.jpg
  omnicodec compress notes.txt -c text/bytes -o - | ssh host 'cat > notes.omc'
  omnicodec compress *.png -o small/
  omnicodec compress talk.mp3 -q 2
  arecord -f cd | omnicodec compress - -c audio/rvq -o talk.omc       until Ctrl-C
  arecord -t raw -f cd | omnicodec compress - -c audio/rvq --pcm s16le:44100:2 > talk.omc
"""

DECOMPRESS_EPILOG = """\
\b
Examples:
  omnicodec decompress photo.jpg.omc -o photo.webp
  omnicodec decompress notes.txt.omc -o - | less
  omnicodec decompress clip.mp4.omc --frames 100:200 -o part.mp4
  omnicodec decompress --partial damaged.omc
  omnicodec decompress talk.omc -c hf:facebook/encodec_24khz
  ssh host cat live.omc | omnicodec decompress - | aplay
  omnicodec decompress talk.omc --pcm s16le -o - | aplay -f cd
"""


def compress(
    context: typer.Context,
    files: MediaFiles,
    codec: Codec = "",
    quality: Quality = None,
    effort: Effort = None,
    method: Method = None,
    target_psnr: TargetPSNR = None,
    target_size: TargetSize = None,
    pcm: PCM_INPUT = "",
    raw: RAW_INPUT = "",
    chunk: Chunk = None,
    output: Output = None,
    force: Force = False,
    as_json: Json = False,
    device: Device = "",
) -> None:
    """Compress files with a codec.

    FILE is a picture, a text or sound, or - for stdin. FILE becomes FILE.omc beside it, and
    stdin goes to stdout, unless -o says otherwise. Sound may be hours long, or live: what is
    final is written at once, and Ctrl-C closes the stream. Codecs that take minutes leave
    OUT.part when they are interrupted, and the same command goes on from there.
    """
    from omnicodec.codecs import compress as to_stream
    from omnicodec.codecs import load
    from omnicodec.codecs.codec import Settings
    from omnicodec.service.cli.long_work import LongWork

    settings = Settings(quality=quality, effort=effort, method=method)
    check_settings(codec, settings)
    plain = parse_pcm(pcm)
    raw_video = parse_raw(raw)
    if chunk is not None and not 0 < chunk < math.inf:
        raise UsageError(f"a chunk cannot last {chunk:g} seconds")
    outputs = Outputs(output, files, force=force, as_json=as_json)
    screen = Screen(len(files))
    targets = targets_of(target_psnr, target_size)
    long = LongWork(screen, targets)

    def work(file: str) -> Work:
        path = outputs.path(file, base_name(file) + ".omc", binary=True)
        with open_input(file) as source:
            sound = ""
            if raw_video is None:
                sound = sound_codec(file, source, codec, settings, plain=plain is not None)
            if sound and targets:
                raise UsageError(f"{sound} does not work towards a target")
            if sound:

                def in_pieces() -> Done:
                    return compress_sound(
                        file,
                        source,
                        outputs,
                        path,
                        sound,
                        settings=settings,
                        chunk=chunk,
                        pcm=plain,
                        device=device,
                    )

                done: Done = yield Slow(in_pieces, False, 0)
                return done
            if plain or chunk is not None:
                raise UsageError("--pcm and --chunk are for codecs of sound: -c audio/rvq")
            data = read_rest(source)
        spec, item = open_media(file, data, codec, settings, compressing=True, raw=raw_video)

        loaded = load(codec or spec.name, device=device)
        long.check(loaded, path)

        def slow() -> bytes:
            with long.on(file, loaded, path) as work:
                return to_stream(
                    item,
                    loaded,
                    quality=quality,
                    effort=effort,
                    method=method,
                    device=device,
                    source_name=stored_name(file),
                    source_size=len(data),
                    work=work,
                )

        stream = yield Slow(slow, apart(loaded), item.nbytes)
        place = outputs.write(file, path, stream)
        long.written(loaded, path)
        return _compressed(place, spec.name, len(data), len(stream), item)

    with long.interruptible():
        run_each(state_of(context), files, work, as_json=as_json, screen=screen)


def decompress(
    context: typer.Context,
    files: StreamFiles,
    codec: StreamCodec = "",
    output: Output = None,
    force: Force = False,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="Give back what a damaged or cut-off stream still holds. Default: refuse it.",
        ),
    ] = False,
    frames: Frames = "",
    pcm: PCM_OUTPUT = "",
    raw: RAW_OUTPUT = "",
    as_json: Json = False,
    device: Device = "",
) -> None:
    """Decompress .omc streams to what they were made from.

    FILE.omc is what compress wrote, or - for stdin. The result lies beside it under the
    original's name; what is not exactly the original, such as a picture of image/vq, gets
    the ending .png instead of its own. The ending of -o chooses the format. Sound comes
    while its stream arrives, as a WAV without a length on stdout.
    """
    from omnicodec.codecs import Video, load
    from omnicodec.codecs.registry import describe_named, load_named
    from omnicodec.codecs.stream import decode_contents, inspect, read_tokens
    from omnicodec.codecs.stream.frames import CutOff, read_header

    check_pcm_format(pcm)
    check_raw_format(raw)
    some = parse_frames(frames)
    if pcm and some:
        raise UsageError("--pcm is for sound, and --frames for video")
    outputs = Outputs(output, files, force=force, as_json=as_json)

    def work(file: str) -> Work:
        with open_input(file) as source:
            if some is not None:
                excerpt: Done = yield from decompress_excerpt(
                    file, source, outputs, some, partial=partial, raw=raw, device=device
                )
                return excerpt
            if isinstance(source, Pipe):
                source.look_for(read_header, CutOff)
                header = inspect(source.head)
            else:
                stream = read_rest(source)
                header = inspect(stream)
            # What a stream names is not looked for on its word, unlike what -c names.
            loaded = load(codec, device=device) if codec else None
            spec = loaded.spec if loaded else describe_named(header.codec)
            name = decoded_name(spec, file, header.source.name)
            if pcm:
                name = str(Path(name).with_suffix(".pcm"))
            if raw:
                name = str(Path(name).with_suffix(".yuv"))
                if spec.modality != "video":
                    raise UsageError(f"--raw is for video, and this is a stream of {spec.name}")
            path = outputs.path(file, name, binary=spec.modality != "text")
            if comes_in_pieces(spec):

                def in_pieces() -> Done:
                    return decompress_sound(
                        file,
                        source if isinstance(source, Pipe) else stream,
                        outputs,
                        path,
                        partial=partial,
                        pcm=pcm,
                        device=device,
                        codec=loaded,
                    )

                done: Done = yield Slow(in_pieces, False, 0)
                return done
            if pcm:
                raise UsageError(f"--pcm is for sound, and this is a stream of {spec.name}")
            if isinstance(source, Pipe):
                stream = read_rest(source)
        loaded = loaded or load_named(spec.name, device=device)

        def slow() -> tuple[StreamContents, bytes]:
            contents = read_tokens(stream, codec=loaded, partial=partial, device=device)
            item = decode_contents(contents, codec=loaded, device=device)
            if raw and isinstance(item, Video):
                return contents, item.to_raw(raw)
            return contents, item.to_bytes(outputs.suffix)

        contents, data = yield Slow(slow, apart(loaded), math.prod(header.grid))
        place = outputs.write(file, path, data)
        lost, total = _lost(contents)
        if lost:
            share = f"{lost:,} of {total:,} positions, {100 * lost / total:.3g} %"
            note(f"omnicodec: {base_name(file)} is damaged, missing: {share}")
        if header.HasField("sound"):
            heard = _lost_sound(contents)
            if heard:
                note(f"omnicodec: {base_name(file)} is damaged, missing of its sound: {heard}")
        return Done(
            f" -> {place}: {len(data):,} bytes",
            {"output": place, "bytes": len(data), "positions": total, "missing": lost},
        )

    run_each(state_of(context), files, work, as_json=as_json)


def _compressed(place: str, codec: str, before: int, after: int, item: Media) -> Done:
    from omnicodec.codecs import Image, Video

    facts: dict[str, object] = {
        "output": place,
        "codec": codec,
        "source_bytes": before,
        "raw_bytes": item.nbytes,
        "bytes": after,
        "ratio": before / after,
    }
    line = f" -> {place}: {before:,} -> {after:,} bytes, ratio {before / after:.2f}"
    if isinstance(item, Image):
        facts["bits_per_pixel"] = 8 * after / (item.height * item.width)
        line += f", {facts['bits_per_pixel']:.3f} bits per pixel"
    if isinstance(item, Video) and len(item.frames):
        count, seconds = len(item.frames), float(len(item.frames) / item.fps)
        facts |= {"frames": count, "seconds": seconds, "kbps": 8 * after / seconds / 1000}
        line += f", {count:,} frames, {facts['kbps']:.2f} kbps"
    return Done(line, facts)


def _lost(contents: StreamContents) -> tuple[int, int]:
    """Return how many positions no whole chunk gave back, and how many there were."""
    # A text is cut to what was found, so what is missing behind that is only in the header.
    total = math.prod(contents.header.grid)
    found = len(contents.tokens)
    if contents.missing is not None:
        found -= int(contents.missing.sum())
    return total - found, total


def _lost_sound(contents: StreamContents) -> str:
    """Return how much of a video's sound no whole chunk gave back, or "" where nothing is lost."""
    if contents.sound is None:
        return "all of it"
    lost, total = _lost(contents.sound)
    return f"{lost:,} of {total:,} positions" if lost else ""


COMMANDS = (
    Command("compress", compress, "[OPTIONS] FILE ...", COMPRESS_EPILOG),
    Command("decompress", decompress, "[OPTIONS] FILE.omc ...", DECOMPRESS_EPILOG),
)
