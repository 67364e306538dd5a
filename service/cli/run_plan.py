"""`omnicodec tokenize --dry-run`: the plan, and what it would take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import typer

from omnicodec.service.cli.console import plain, print_json
from omnicodec.service.cli.run_screen import clock, short

if TYPE_CHECKING:
    from omnicodec.codecs.vocabulary import Vocabulary
    from omnicodec.service.batch.job import Job


def show_plan(job: Job, vocabulary: Vocabulary, *, workers: int, as_json: bool) -> None:
    """Print the plan of a job and its estimates, as lines or one JSON object."""
    from omnicodec.service.batch.estimate import estimate

    found = estimate(job, vocabulary, workers=workers)
    if as_json:
        print_json({"job": job.to_json(), "vocabulary_size": vocabulary.size, **found.to_json()})
        return
    for source in found.sources:
        items = (
            "items that only reading tells"
            if source["items"] is None
            else (f"{source['items']:,} items")
        )
        line = f"{source['location']}: {source['kind']}, {items}, {size(source['nbytes'])}"
        typer.echo(plain(line))
    shards = "1 shard" if found.shards == 1 else f"{found.shards:,} shards"
    typer.echo(f"{shards} of {job.format}, layout {job.layout}")
    for choice in job.codecs:
        soft = job.soft.get(choice.name)
        values = f", {soft['width']} real values of {soft['bits']} bits a token" if soft else ""
        typer.echo(f"{choice.modality}: {choice.name}, fingerprint {choice.fingerprint}{values}")
    typer.echo(f"vocabulary: {vocabulary.size:,} ids")
    typer.echo(
        f"about {rounded(found.items)} items, {rounded(found.rejects)} of them rejected: "
        f"{short(found.tokens)} tokens in {size(found.nbytes)}, {clock(found.seconds)} on this "
        f"machine (from {found.sampled:,} items)"
    )


def size(nbytes: float) -> str:
    """Return a number of bytes in words: "31.4 kB"."""
    words = short(nbytes)
    return f"{words}B" if " " in words else f"{words} B"


def rounded(number: float) -> str:
    """Return a number with two digits that count: "1,200"."""
    if number < 100:
        return f"{number:.0f}"
    unit = 10 ** (math.floor(math.log10(number)) - 1)
    return f"{unit * round(number / unit):,}"
