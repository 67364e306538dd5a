"""`omnicodec info` and `omnicodec verify`: what a stream says, and whether it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnicodec.service.cli.batch import Done, Slow, Work, naming, run_each
from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import note, plain, print_json
from omnicodec.service.cli.files import read_input
from omnicodec.service.cli.naming import shown_name
from omnicodec.service.cli.options import Device, Json, StreamFiles, state_of

if TYPE_CHECKING:
    from omnicodec.codecs import Tokens

INFO_EPILOG = """\
\b
Examples:
  omnicodec info photo.jpg.omc
  omnicodec info photo.jpg.omc --json
"""

VERIFY_EPILOG = """\
\b
Examples:
  omnicodec verify photo.jpg.omc
  omnicodec verify backup/*.omc
"""


def info(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE.omc", hidden=True)],
    as_json: Json = False,
) -> None:
    """Show what a stream holds and whether it decodes here.

    FILE.omc is what compress wrote, or - for stdin. Only checksums are computed, so this is
    quick; `omnicodec verify` decodes.
    """
    from omnicodec.service.cli.survey import survey

    with naming(file):
        facts = survey(read_input(file))
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


def verify(
    context: typer.Context, files: StreamFiles, as_json: Json = False, device: Device = ""
) -> None:
    """Check that streams are whole, by decoding all their tokens.

    FILE.omc is what compress wrote, or - for stdin. Nothing is written, and the exit code is
    0 only when every stream is whole.
    """
    from omnicodec.codecs.stream.omc import positions, read_tokens, reads_apart

    def work(file: str) -> Work:
        stream = read_input(file)

        def slow() -> Tokens:
            return read_tokens(stream, device=device).tokens

        tokens = yield Slow(slow, reads_apart(stream, device), positions(stream))
        facts = {"ok": True, "codec": tokens.codec, "positions": len(tokens)}
        return Done(f": ok, {len(tokens):,} positions of {tokens.codec}", facts)

    run_each(state_of(context), files, work, as_json=as_json, say=note if as_json else _print)


def _print(line: str) -> None:
    typer.echo(plain(line))


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


COMMANDS = (
    Command("info", info, "[--json] FILE.omc", INFO_EPILOG),
    Command("verify", verify, "[OPTIONS] FILE.omc ...", VERIFY_EPILOG),
)
