"""`omnicodec encode` and `omnicodec decode`: files to token archives, and back."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import typer

from omnicodec.service.cli.batch import Done, Slow, Work, run_each
from omnicodec.service.cli.command import Command
from omnicodec.service.cli.files import Outputs, read_input
from omnicodec.service.cli.media import check_settings, named, open_media, parse_raw
from omnicodec.service.cli.naming import base_name, decoded_name
from omnicodec.service.cli.options import (
    RAW_INPUT,
    Device,
    Effort,
    Force,
    Json,
    MediaFiles,
    Method,
    Output,
    Quality,
    TargetPSNR,
    TargetSize,
    TokenCodec,
    TokenFiles,
    state_of,
    targets_of,
)
from omnicodec.service.cli.screen import Screen

if TYPE_CHECKING:
    from omnicodec.codecs import Tokens

ENCODE_EPILOG = """\
\b
Examples:
  omnicodec encode photo.jpg -o tokens.npz
  omnicodec encode *.jpg -c image/vq -o tokens/
"""

DECODE_EPILOG = """\
\b
Examples:
  omnicodec decode tokens.npz -o photo.jpg
  omnicodec decode notes.npz -o -
"""


def encode(
    context: typer.Context,
    files: MediaFiles,
    codec: TokenCodec = "",
    quality: Quality = None,
    effort: Effort = None,
    method: Method = None,
    target_psnr: TargetPSNR = None,
    target_size: TargetSize = None,
    raw: RAW_INPUT = "",
    output: Output = None,
    force: Force = False,
    as_json: Json = False,
    device: Device = "",
) -> None:
    """Turn files into tokens, in archives that numpy reads.

    FILE is a picture or a text, or - for stdin. FILE becomes FILE.npz beside it, and stdin
    goes to stdout, unless -o says otherwise. Codecs that take minutes leave OUT.part when they
    are interrupted, and the same command goes on from there.
    """
    from omnicodec.codecs import load
    from omnicodec.codecs.codec import Settings
    from omnicodec.service.cli.long_work import LongWork

    settings = Settings(quality=quality, effort=effort, method=method)
    raw_video = parse_raw(raw)
    chosen = named(codec)
    check_settings(chosen, settings)
    outputs = Outputs(output, files, force=force, as_json=as_json)
    screen = Screen(len(files))
    long = LongWork(screen, targets_of(target_psnr, target_size))

    def work(file: str) -> Work:
        path = outputs.path(file, base_name(file) + ".npz", binary=True)
        data = read_input(file)
        spec, item = open_media(file, data, chosen, settings, compressing=False, raw=raw_video)
        loaded = load(chosen or spec.name, device=device)

        long.check(loaded, path)

        def slow() -> tuple[Tokens, bytes]:
            with long.on(file, loaded, path) as work:
                (tokens,) = loaded.encode(
                    [item], quality=quality, effort=effort, method=method, work=work
                )
            archive = io.BytesIO()
            tokens.save(archive)
            return tokens, archive.getvalue()

        tokens, archive = yield Slow(slow, loaded.parallel, item.nbytes)
        place = outputs.write(file, path, archive)
        long.written(loaded, path)
        return encoded(place, tokens)

    with long.interruptible():
        run_each(state_of(context), files, work, as_json=as_json, screen=screen)


def encoded(place: str, tokens: Tokens) -> Done:
    """Return what became of a file whose tokens were written."""
    grid = "x".join(map(str, tokens.grid))
    return Done(
        f" -> {place}: {len(tokens):,} positions of {tokens.codec}, grid {grid}",
        {
            "output": place,
            "codec": tokens.codec,
            "fingerprint": tokens.fingerprint,
            "positions": len(tokens),
            "grid": list(tokens.grid),
            "extent": dict(tokens.extent),
        },
    )


def decode(
    context: typer.Context,
    files: TokenFiles,
    codec: TokenCodec = "",
    output: Output = None,
    force: Force = False,
    as_json: Json = False,
    device: Device = "",
) -> None:
    """Turn tokens back into the files that they stand for.

    TOKENS.npz is what encode wrote, or - for stdin. The result lies beside it under the same
    name without .npz, pictures with the ending .png. The ending of -o chooses the format.
    The archive names its codec; -c is for what is no name of
    ours: a tokenizer.json, or hf:owner/name.
    """
    from omnicodec.codecs import Tokens, describe, load
    from omnicodec.codecs.registry import describe_named

    outputs = Outputs(output, files, force=force, as_json=as_json)

    def work(file: str) -> Work:
        tokens = Tokens.load(read_input(file))
        chosen = named(codec)
        # What an archive names is not looked for on its word, unlike what -c names.
        spec = describe(chosen) if chosen else describe_named(tokens.codec)
        path = outputs.path(file, decoded_name(spec, file), binary=spec.modality != "text")
        loaded = load(chosen or tokens.codec, device=device)

        def slow() -> bytes:
            (item,) = loaded.decode([tokens])
            data: bytes = item.to_bytes(outputs.suffix)
            return data

        data = yield Slow(slow, loaded.parallel, len(tokens))
        place = outputs.write(file, path, data)
        return Done(f" -> {place}: {len(data):,} bytes", {"output": place, "bytes": len(data)})

    run_each(state_of(context), files, work, as_json=as_json)


COMMANDS = (
    Command("encode", encode, "[OPTIONS] FILE ...", ENCODE_EPILOG),
    Command("decode", decode, "[OPTIONS] TOKENS.npz ...", DECODE_EPILOG),
)
