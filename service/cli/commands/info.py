"""`omnicodec info`: what a stream says."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from omnicodec.service.cli.batch import naming
from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import plain, print_json
from omnicodec.service.cli.files import read_input
from omnicodec.service.cli.media import named
from omnicodec.service.cli.naming import shown_name
from omnicodec.service.cli.options import Json, StreamCodec

EPILOG = """\
\b
Examples:
  omnicodec info photo.jpg.omc
  omnicodec info photo.jpg.omc --json
  omnicodec info speech.wav.omc -c hf:facebook/encodec_24khz
"""


def info(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE.omc", hidden=True)],
    codec: StreamCodec = "",
    as_json: Json = False,
) -> None:
    """Show what a stream holds and whether it decodes here.

    FILE.omc is what compress wrote, or - for stdin. Only checksums are computed, so this is
    quick; `omnicodec verify` decodes.
    """
    from omnicodec.codecs import describe
    from omnicodec.service.cli.survey import finder, survey

    find = finder(describe(named(codec)) if codec else None)
    with naming(file):
        facts = survey(read_input(file), find, priors=True)
    show(file, facts, as_json)


def show(file: str, facts: dict[str, Any], as_json: bool) -> None:
    """Print the facts about a stream, as lines or one JSON object."""
    if as_json:
        print_json({"file": shown_name(file), **facts})
        return
    sound = facts.pop("sound") or {}
    for key, value in (*facts.items(), *((f"sound {key}", v) for key, v in sound.items())):
        if value is not None:
            typer.echo(plain(f"{key.replace('_', ' '):18} {_shown(value)}"))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return "x".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


COMMANDS = (Command("info", info, "[OPTIONS] FILE.omc", EPILOG),)
