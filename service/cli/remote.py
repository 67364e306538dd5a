"""The commands that a server can do: the same arguments, outputs and lines as in this process."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from omnicodec.service.cli.batch import Done, Slow, Work, naming, run_each
from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import UsageError
from omnicodec.service.cli.files import Outputs, open_input, read_input, read_rest
from omnicodec.service.cli.media import (
    check_raw_format,
    choose_codec,
    comes_in_pieces,
    parse_raw,
    require,
    sound_codec,
)
from omnicodec.service.cli.naming import base_name, decoded_name
from omnicodec.service.cli.options import state_of, targets_of
from omnicodec.service.cli.pipes import Pipe
from omnicodec.service.cli.remote_streams import (
    compressed,
    cut,
    read_pieces,
    streamed,
    tell_missing,
    with_source,
)
from omnicodec.service.cli.screen import Screen
from omnicodec.service.cli.server import Server
from omnicodec.service.cli.sound import (
    check_pcm_format,
    compress_sound,
    parse_pcm,
    stored_name,
    write_sound,
)

if TYPE_CHECKING:
    from omnicodec.codecs import CodecSpec, Media, Tokens
    from omnicodec.codecs.codec import Settings
    from omnicodec.codecs.media.raw_video import RawVideo


def by_server(command: Command) -> Command:
    """Return a command that a server does where one was named."""
    remote = _REMOTE.get(command.name)
    if remote is None:
        return command

    @wraps(command.run)
    def run(context: typer.Context, **arguments: Any) -> None:
        state = state_of(context)
        if state.server is None:
            command.run(context=context, **arguments)
            return
        if arguments.pop("device", "auto") != "auto":
            raise UsageError("--device is for this process; a server has its own")
        remote(context, state.server, **arguments)

    return command._replace(run=run)


def list_codecs(
    context: typer.Context, server: Server, codecs: list[str] | None, as_json: bool
) -> None:
    """`omnicodec codecs` of a server."""
    from omnicodec.service.cli.commands.codecs import show

    show([server.spec(name) for name in codecs] if codecs else server.client.codecs(), as_json)


def info(context: typer.Context, server: Server, file: str, codec: str, as_json: bool) -> None:
    """`omnicodec info`, by the models of a server."""
    if codec:
        raise UsageError("a server looks for the codec that a stream names; -c is for here")
    from omnicodec.service.cli.commands.info import show
    from omnicodec.service.cli.survey import survey

    with naming(file):
        facts = survey(read_input(file), server.spec)
    show(file, facts, as_json)


def encode(
    context: typer.Context,
    server: Server,
    files: list[str],
    codec: str,
    quality: int | None,
    effort: str | None,
    method: str | None,
    target_psnr: float | None,
    target_size: int | None,
    raw: str,
    output: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """`omnicodec encode` on a server."""
    from omnicodec.codecs import Tokens
    from omnicodec.codecs.codec import Settings
    from omnicodec.service.cli.commands.tokens import encoded
    from omnicodec.service.cli.remote_long import RemoteWork

    settings = Settings(quality=quality, effort=effort, method=method)
    raw_video = parse_raw(raw)
    _check(server, codec, settings)
    outputs = Outputs(output, files, force=force, as_json=as_json)
    screen = Screen(len(files))
    long = RemoteWork(server, screen, targets_of(target_psnr, target_size))

    def work(file: str) -> Work:
        path = outputs.path(file, base_name(file) + ".npz", binary=True)
        data = read_input(file)
        spec, item = _item(server, file, data, codec, settings, raw_video, compressing=False)
        long.check(spec)

        def slow() -> tuple[Tokens, bytes]:
            if spec.resumable:
                found = long.encode(file, path, item, spec, settings, compress=False)
                assert isinstance(found, Tokens)
                tokens = found
            else:
                (tokens,) = server.client.encode([item], codec or spec.name, **_named(settings))
            archive = io.BytesIO()
            tokens.save(archive)
            return tokens, archive.getvalue()

        tokens, archive = yield Slow(slow, True, len(data))
        place = outputs.write(file, path, archive)
        long.written(file)
        return encoded(place, tokens)

    with long.interruptible():
        run_each(state_of(context), files, work, as_json=as_json, screen=screen, threads=_calls())


def decode(
    context: typer.Context,
    server: Server,
    files: list[str],
    codec: str,
    output: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """`omnicodec decode` on a server."""
    from omnicodec.codecs import Tokens

    if codec:
        _check_name(server, codec)
    outputs = Outputs(output, files, force=force, as_json=as_json)

    def work(file: str) -> Work:
        tokens = Tokens.load(read_input(file))
        spec = server.spec(codec or tokens.codec)
        path = outputs.path(file, decoded_name(spec, file), binary=spec.modality != "text")
        remote = server.client.codec(codec or tokens.codec)

        def slow() -> bytes:
            (item,) = remote.decode([tokens])
            data: bytes = item.to_bytes(outputs.suffix)
            return data

        data = yield Slow(slow, True, len(tokens))
        place = outputs.write(file, path, data)
        return Done(f" -> {place}: {len(data):,} bytes", {"output": place, "bytes": len(data)})

    run_each(state_of(context), files, work, as_json=as_json, threads=_calls())


def compress(
    context: typer.Context,
    server: Server,
    files: list[str],
    codec: str,
    quality: int | None,
    effort: str | None,
    method: str | None,
    target_psnr: float | None,
    target_size: int | None,
    pcm: str,
    raw: str,
    chunk: float | None,
    output: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """`omnicodec compress` on a server."""
    from omnicodec.codecs.codec import Settings
    from omnicodec.service.cli.remote_long import RemoteWork

    settings = Settings(quality=quality, effort=effort, method=method)
    _check(server, codec, settings)
    plain, raw_video = parse_pcm(pcm), parse_raw(raw)
    if chunk is not None and not 0 < chunk < float("inf"):
        raise UsageError(f"a chunk cannot last {chunk:g} seconds")
    outputs = Outputs(output, files, force=force, as_json=as_json)
    screen = Screen(len(files))
    long = RemoteWork(server, screen, targets_of(target_psnr, target_size))

    def work(file: str) -> Work:
        path = outputs.path(file, base_name(file) + ".omc", binary=True)
        with open_input(file) as source:
            sound = ""
            if raw_video is None:
                sound = sound_codec(
                    file, source, codec, settings, plain=plain is not None, find=server.spec
                )
            if sound:
                long.check(server.spec(sound))

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
                        to_stream=lambda pieces, codec, **how: streamed(
                            server, pieces, codec, **how
                        ),
                    )

                done: Done = yield Slow(in_pieces, False, 0)
                return done
            if plain or chunk is not None:
                raise UsageError("--pcm and --chunk are for codecs of sound: -c audio/rvq")
            data = read_rest(source)
        spec, item = _item(server, file, data, codec, settings, raw_video, compressing=True)
        long.check(spec)

        def slow() -> bytes:
            if spec.resumable:
                made = long.encode(file, path, item, spec, settings, compress=True)
                assert isinstance(made, bytes)
            else:
                (made,) = server.client.compress([item], codec or spec.name, **_named(settings))
            return with_source(made, stored_name(file), len(data))

        stream = yield Slow(slow, True, len(data))
        place = outputs.write(file, path, stream)
        long.written(file)
        return compressed(place, spec, len(data), stream)

    with long.interruptible():
        run_each(state_of(context), files, work, as_json=as_json, screen=screen, threads=_calls())


def decompress(
    context: typer.Context,
    server: Server,
    files: list[str],
    codec: str,
    output: str | None,
    force: bool,
    partial: bool,
    frames: str,
    pcm: str,
    raw: str,
    as_json: bool,
) -> None:
    """`omnicodec decompress` on a server."""
    from omnicodec.codecs import Video
    from omnicodec.codecs.stream import inspect
    from omnicodec.codecs.stream.frames import CutOff, read_header
    from omnicodec.service.cli.survey import missing

    if codec:
        raise UsageError("a server decompresses with the codec that a stream names; -c is for here")
    if frames:
        raise UsageError("--frames reads a part of a file, and a server gets all of it")
    check_pcm_format(pcm)
    check_raw_format(raw)
    outputs = Outputs(output, files, force=force, as_json=as_json)

    def work(file: str) -> Work:
        with open_input(file) as source:
            stream = b""
            if isinstance(source, Pipe):
                source.look_for(read_header, CutOff)
                header = inspect(source.head)
            else:
                stream = read_rest(source)
                header = inspect(stream)
            spec = server.spec(header.codec)
            name = decoded_name(spec, file, header.source.name)
            if pcm:
                name = str(Path(name).with_suffix(".pcm"))
                if spec.modality != "audio":
                    raise UsageError(f"--pcm is for sound, and this is a stream of {spec.name}")
            if raw:
                name = str(Path(name).with_suffix(".yuv"))
                if spec.modality != "video":
                    raise UsageError(f"--raw is for video, and this is a stream of {spec.name}")
            path = outputs.path(file, name, binary=spec.modality != "text")
            if comes_in_pieces(spec):
                given = read_pieces(source) if isinstance(source, Pipe) else cut(stream)

                def in_pieces() -> Done:
                    sound: Any = server.patient_client.decompress_pieces(given, partial=partial)
                    length = header.extent[0] or None
                    return write_sound(file, sound, outputs, path, pcm=pcm, length=length)

                done: Done = yield Slow(in_pieces, False, 0)
                if stream and partial:
                    tell_missing(file, *missing(stream))
                return done
            if isinstance(source, Pipe):
                stream = read_rest(source)

        def slow() -> bytes:
            (item,) = server.client.decompress([stream], partial=partial)
            return (
                item.to_raw(raw)
                if raw and isinstance(item, Video)
                else item.to_bytes(outputs.suffix)
            )

        data = yield Slow(slow, True, len(stream))
        place = outputs.write(file, path, data)
        lost, total = missing(stream)
        tell_missing(file, lost, total)
        return Done(
            f" -> {place}: {len(data):,} bytes",
            {"output": place, "bytes": len(data), "positions": total, "missing": lost},
        )

    run_each(state_of(context), files, work, as_json=as_json, threads=_calls())


_REMOTE: Final[dict[str, Callable[..., None]]] = {
    "codecs": list_codecs,
    "encode": encode,
    "decode": decode,
    "compress": compress,
    "decompress": decompress,
    "info": info,
}


def _calls() -> int:
    """Return how many calls there are at once.

    More than one thread for each core: they wait for a server. And so they are not those that
    codecs have, which a server in this process needs to answer.
    """
    from omnicodec.codecs.threads import thread_count

    return thread_count() + 6


def _check(server: Server, codec: str, settings: Settings) -> None:
    """Raise `UnknownCodec` or `UsageError` for what would fail alike for every file."""
    if codec:
        _check_name(server, codec)
        require(server.spec(codec), settings)


def _check_name(server: Server, codec: str) -> None:
    from omnicodec.codecs import UnknownCodec
    from omnicodec.codecs.hub.reference import PREFIX

    try:
        server.spec(codec)
    except UnknownCodec as e:
        if Path(codec.removeprefix(PREFIX)).exists():
            raise UsageError(f"{codec!r} lies here, and a server knows its own codecs") from e
        raise


def _item(
    server: Server,
    file: str,
    data: bytes,
    codec: str,
    settings: Settings,
    raw: RawVideo | None,
    *,
    compressing: bool,
) -> tuple[CodecSpec, Media | bytes]:
    """Return the spec of the codec that a file gets, and what is sent: the file, if it is one."""
    from omnicodec.codecs import Video, default_codec

    if raw is not None and not codec:
        codec = default_codec("video", compressing=compressing)
    spec = server.spec(codec or choose_codec(file, data, compressing=compressing))
    require(spec, settings)
    if raw is None:
        return spec, data
    if spec.modality != "video":
        raise UsageError(f"--raw is for codecs of video, and {spec.name} is none")
    return spec, Video.from_raw(data, raw)


def _named(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in ("quality", "effort", "method")}
