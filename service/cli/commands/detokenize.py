"""`omnicodec detokenize`: a data set back to media, for a look."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import UsageError, note, plain, print_json
from omnicodec.service.cli.counter import Counter
from omnicodec.service.cli.media import open_published
from omnicodec.service.cli.options import Device, Json, SetCodecs

EPILOG = """\
\b
Examples:
  omnicodec detokenize OUT -o look/ --count 20
  omnicodec detokenize OUT -o look/ --items 0:10
  omnicodec detokenize OUT -o look/ --key photos/cat.jpg
"""


def detokenize(
    out: Annotated[str, typer.Argument(metavar="OUT", hidden=True)],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            show_default=False,
            help="The folder that the files go to: a new one, or an empty one.",
        ),
    ],
    items: Annotated[
        str,
        typer.Option(
            "--items",
            metavar="A:B",
            show_default=False,
            help="Only the rows from A up to B, without B: 100:200, :50, -25: for the last 25, or "
            "7 for one. They count from 0; of packed data sets they are sequences. Default: all.",
        ),
    ] = "",
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, metavar="N", help="N of them by chance. Default: all."),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="SEED",
            show_default=False,
            help="Of --count: the same seed chooses the same rows. Default: 0.",
        ),
    ] = 0,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Only items with this key. Default: any."),
    ] = None,
    codecs: SetCodecs = None,
    as_json: Json = False,
    device: Device = "",
) -> None:
    """Turn a data set of tokens back into files, for a look.

    OUT is what tokenize wrote, in any format and layout. Files are named after the items' keys, a
    document of several parts becomes a folder, and index.html shows everything in order.
    """
    rows = _rows(items)
    open_published(codecs, device)
    from omnicodec.service.batch.contents import Contents
    from omnicodec.service.batch.detokenize import choose_rows
    from omnicodec.service.batch.detokenize import detokenize as write

    with Contents.open(Path(out)) as contents:
        chosen = choose_rows(len(contents), items=rows, count=count, seed=seed)
        with Counter("rows", len(chosen)) as counter:
            outcome = write(
                contents, Path(output), chosen, key=key, device=device, watch=counter.show
            )
    for problem in outcome.problems:
        note(f"omnicodec: {problem}")
    if as_json:
        facts = {
            "rows": outcome.rows,
            "documents": outcome.documents,
            "files": outcome.files,
            "cut": outcome.cut,
            "problems": outcome.problems,
        }
        print_json({"output": output, **facts})
    else:
        cut = f", {outcome.cut:,} of them cut by packing" if outcome.cut else ""
        typer.echo(
            plain(
                f"{out} -> {output}: {outcome.files:,} files of {outcome.documents:,} documents"
                f"{cut}"
            )
        )


def _rows(text: str) -> slice | None:
    """Return the rows that --items names, None without; raises `UsageError`."""
    if not text:
        return None
    found = re.fullmatch(r"\s*(-?[0-9]{1,18})?\s*(?:(:)\s*(-?[0-9]{1,18})?)?\s*", text)
    if not found or not any(found.groups()):
        raise UsageError(
            f"--items: {text!r} is not A:B, as in 100:200, :50 or -25:, counted in rows from 0"
        )
    start, stop = (int(part) if part else None for part in (found[1], found[3]))
    if not found[2] and start is not None:
        stop = start + 1 or None  # behind -1 is the end
    return slice(start, stop)


COMMANDS = (Command("detokenize", detokenize, "[OPTIONS] OUT -o DIR", EPILOG),)
