"""`omnicodec report`: a data set drawn as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import UsageError, plain, print_json
from omnicodec.service.cli.counter import Counter
from omnicodec.service.cli.files import check_new
from omnicodec.service.cli.media import open_published
from omnicodec.service.cli.options import Device, Force, Json, SetCodecs

EPILOG = """\
\b
Examples:
  omnicodec report OUT
  omnicodec report OUT -o report.html --rows 100000
"""


def report(
    out: Annotated[str, typer.Argument(metavar="OUT", hidden=True)],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            show_default=False,
            help="Where the page goes. Default: report.html.",
        ),
    ] = "report.html",
    rows: Annotated[
        int,
        typer.Option(
            "--rows",
            min=1,
            metavar="N",
            show_default=False,
            help="Count lengths and codebooks over N rows at most, spread evenly. Default: 20000.",
        ),
    ] = 20_000,
    codecs: SetCodecs = None,
    force: Force = False,
    as_json: Json = False,
    device: Device = "",
) -> None:
    """Draw a data set of tokens as one HTML page.

    OUT is what tokenize wrote. The page shows tokens per item and modality, the use of the
    codebooks, packing, rejects by reason, and samples, with originals beside them where their
    sources still are.
    """
    if output == "-":
        raise UsageError("-o needs a file")
    check_new(Path(output), force)
    open_published(codecs, device)
    from omnicodec.service.batch.contents import Contents
    from omnicodec.service.batch.report import write_report

    with Contents.open(Path(out)) as contents:
        total = min(rows, len(contents))
        with Counter("rows", total) as counter:
            made = write_report(
                contents, Path(output), rows=rows, device=device, watch=counter.show
            )
    if as_json:
        print_json(
            {
                "output": output,
                "rows": made.manifest.rows,
                "counted": made.counted,
                "samples": len(made.samples),
                "unread": made.tally.unread,
            }
        )
    else:
        counted = "" if made.counted == made.manifest.rows else f" of {made.manifest.rows:,}"
        typer.echo(
            plain(
                f"{out} -> {output}: {made.counted:,}{counted} rows counted, "
                f"{len(made.samples):,} samples"
            )
        )


COMMANDS = (Command("report", report, "[OPTIONS] OUT", EPILOG),)
