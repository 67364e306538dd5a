"""`omnicodec verify`: whether streams and data sets are whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnicodec.service.cli.batch import Done, Slow, Work, run_each
from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import note, plain
from omnicodec.service.cli.files import read_input
from omnicodec.service.cli.media import named
from omnicodec.service.cli.options import Device, Json, StreamCodec, state_of

if TYPE_CHECKING:
    from omnicodec.codecs import Tokens
    from omnicodec.service.batch.verify import Findings

EPILOG = """\
\b
Examples:
  omnicodec verify photo.jpg.omc
  omnicodec verify backup/*.omc
  omnicodec verify tokens/ --deep
"""


def verify(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE.omc", hidden=True)],
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Of data sets, open and unpack every row as well. Default: no."
        ),
    ] = False,
    codec: StreamCodec = "",
    as_json: Json = False,
    device: Device = "",
) -> None:
    """Check that streams and data sets are whole.

    FILE.omc is what compress wrote, or - for stdin; all its tokens are decoded. OUT is the folder
    of a data set that tokenize made: all its files must be those that its manifest and records
    tell of, with their checksums, and there may be no others. Nothing is written, and the exit code
    is 0 only when everything is whole.
    """
    from omnicodec.codecs import load

    chosen = load(named(codec), device=device) if codec else None

    def work(file: str) -> Work:
        if file != "-" and Path(file).is_dir():
            found = yield Slow(lambda: _look(Path(file), deep), False, 0)
            return Done(f": ok, {_told(found)}", found.to_json())
        from omnicodec.codecs.stream.omc import positions, read_tokens, reads_apart

        stream = read_input(file)

        def slow() -> Tokens:
            return read_tokens(stream, codec=chosen, device=device).tokens

        apart = chosen.prior.parallel if chosen is not None else reads_apart(stream, device)
        tokens = yield Slow(slow, apart, positions(stream))
        facts = {"ok": True, "codec": tokens.codec, "positions": len(tokens)}
        return Done(f": ok, {len(tokens):,} positions of {tokens.codec}", facts)

    run_each(state_of(context), files, work, as_json=as_json, say=note if as_json else _print)


def _look(folder: Path, deep: bool) -> Findings:
    """Return what was found in a data set; raises `CorruptStream` for one that is not whole."""
    from omnicodec.codecs import CorruptStream
    from omnicodec.service.batch.verify import verify as look

    found = look(folder, deep=deep)
    if not found.ok:
        for problem in found.problems[1:]:
            note(f"{folder}: {problem}")
        more = len(found.problems) + found.more_problems - 1
        raise CorruptStream(f"{found.problems[0]}" + (f" (and {more:,} more)" if more else ""))
    return found


def _told(found: Findings) -> str:
    opened = f", all {found.opened:,} rows opened" if found.opened else ""
    return (
        f"{found.items:,} items, {found.rows:,} rows in {found.files:,} files of "
        f"{found.nbytes:,} bytes, {found.rejects:,} rejects{opened}"
    )


def _print(line: str) -> None:
    typer.echo(plain(line))


COMMANDS = (Command("verify", verify, "[OPTIONS] FILE.omc|OUT ...", EPILOG),)
