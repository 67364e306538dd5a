"""`omnicodec evaluate`: rate, quality and speed of a codec on your own media."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import UsageError, is_terminal, note
from omnicodec.service.cli.files import check_new
from omnicodec.service.cli.media import named, require
from omnicodec.service.cli.options import Device, Effort, Force, Json

EPILOG = """\
\b
Examples:
  omnicodec evaluate -c image/vq photos/
  omnicodec evaluate -c image/vq photos/ --against jpeg,webp,avif --html report.html
  omnicodec evaluate -c image/rate -c image/vq photos/ -q all --against avif --rates 0.1,1
  omnicodec evaluate -c audio/rvq speech/ -q 6 -q 2 --against opus,mp3 --html report.html
  omnicodec evaluate -c text/bytes notes.txt --json
"""


def evaluate(
    data: Annotated[str, typer.Argument(metavar="DATA", hidden=True)],
    codec: Annotated[
        list[str],
        typer.Option(
            "--codec",
            "-c",
            metavar="CODEC",
            show_default=False,
            help="One of `omnicodec codecs`, or a path to your own. May be given several times: "
            "the report is about the first and compares it with the others.",
        ),
    ],
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="NAME,...",
            show_default=False,
            help="Formats to measure beside it: jpeg,webp,avif,jxl for pictures, opus,mp3,vorbis "
            "for sound, x264,x265,svtav1 for video, gzip,xz,zstd for texts. Default: none.",
        ),
    ] = "",
    quality: Annotated[
        list[str] | None,
        typer.Option(
            "--quality",
            "-q",
            metavar="0..100",
            show_default=False,
            help="May be given several times: the report is about the first and has the others "
            "beside it; all is every quality, the best first, or 9 spread over many. Other codecs "
            "that do not have these are measured at all of theirs. Default: the codec's own.",
        ),
    ] = None,
    effort: Effort = None,
    rates: Annotated[
        str | None,
        typer.Option(
            "--rates",
            metavar="LOW,HIGH",
            help="Take BD-rates between these, in bits per pixel or kbps. Default: all rates.",
        ),
    ] = None,
    html: Annotated[
        str | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a page with curves, tables, pictures, sounds and clips. Default: none.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write all figures as JSON. Default: none."
        ),
    ] = None,
    max_items: Annotated[
        int | None,
        typer.Option("--max-items", min=1, metavar="N", help="Stop after N items. Default: all."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    device: Device = "",
) -> None:
    """Measure codecs' rate, quality and speed on media.

    DATA is a file, a folder of files, or a .tar shard.
    """
    if html == "-":
        raise UsageError("--html needs a file")
    as_json = as_json or output == "-"
    output = None if output == "-" else output
    for path in (html, output):
        if path is not None:
            check_new(Path(path), force)
    from omnicodec.codecs import describe
    from omnicodec.codecs.codec import Settings
    from omnicodec.codecs.files import atomic_write
    from omnicodec.service.evaluate import evaluate as measure
    from omnicodec.service.evaluate import write_html

    chosen, *others = [named(name) for name in codec]
    qualities = _qualities(chosen, quality or [])
    require(describe(chosen), Settings(effort=effort))
    report = measure(
        chosen,
        Path(data),
        beside=others,
        qualities=qualities,
        effort=effort,
        rates=_rates(rates),
        against=[name.strip() for name in against.split(",") if name.strip()],
        device=device,
        max_items=max_items,
        previews=html is not None,
        report=note if is_terminal(sys.stderr) else lambda _: None,
    )
    figures = json.dumps(report.to_dict(), indent=2)
    if output is not None:
        atomic_write(output, figures.encode() + b"\n")
    if html is not None:
        write_html(report, Path(html))
    typer.echo(figures if as_json else report.to_table().rstrip())


def _qualities(codec: str | Path, words: Sequence[str]) -> Sequence[int] | Literal["all"]:
    """Return the qualities of -q, or raise `UsageError` for one that the codec does not have."""
    from omnicodec.codecs import describe
    from omnicodec.codecs.codec import Settings

    if not words:
        return []
    spec = describe(codec)
    if "all" in words and len(words) > 1:
        raise UsageError("-q all is every quality; give no other with it")
    if words == ["all"]:
        if not spec.qualities:
            raise UsageError(f"{spec.name} has no qualities to choose from")
        return "all"
    found = []
    for word in words:
        if not word.isdecimal():
            raise UsageError(f"-q takes a number or all, not {word!r}")
        require(spec, Settings(quality=int(word)))
        found.append(int(word))
    return found


def _rates(words: str | None) -> tuple[float, float] | None:
    """Return the two rates of --rates."""
    if words is None:
        return None
    try:
        low, high = (float(word) for word in words.split(","))
    except ValueError:
        low = high = 0.0
    if not 0 < low < high < math.inf:
        raise UsageError(f"--rates takes two rates such as 0.1,1, not {words!r}")
    return low, high


COMMANDS = (Command("evaluate", evaluate, "[OPTIONS] -c CODEC... DATA", EPILOG),)
