"""`omnicodec codecs`: what there is to choose from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import print_json
from omnicodec.service.cli.options import Json

if TYPE_CHECKING:
    from omnicodec.codecs import CodecSpec

EPILOG = """\
\b
Examples:
  omnicodec codecs
  omnicodec codecs --json
  omnicodec codecs hf:facebook/encodec_24khz
"""

Names = Annotated[list[str] | None, typer.Argument(metavar="CODEC", hidden=True)]

_HEAD = (
    "NAME", "MODALITY", "TOKEN COVERS", "CODEBOOKS", "BITS", "LOSSLESS", "WEIGHTS", "LICENCE",
    "METHODS",
)  # fmt: skip


def list_codecs(context: typer.Context, codecs: Names = None, as_json: Json = False) -> None:
    """List the codecs: what a token covers, sizes, licences.

    CODEC is one that is to be shown alone, such as hf:owner/name, which is downloaded.
    """
    from omnicodec.codecs import available, describe

    show([describe(name) for name in codecs or available()], as_json)


def show(specs: Sequence[CodecSpec], as_json: bool) -> None:
    """Print a table of codecs, or one JSON object."""
    if as_json:
        print_json({"codecs": [_facts(spec) for spec in specs]})
        return
    rows = [_HEAD, *map(_row, specs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(cells).rstrip())


def bits_per_position(spec: CodecSpec) -> float:
    """Return the bits that one position takes without a prior; of real values, at their best."""
    return 32.0 * spec.soft_width + sum(math.log2(size) for size in spec.codebook_sizes)


def _sizes(spec: CodecSpec) -> str:
    """Return sizes of codebooks, equal neighbours together: "1280 3x1024"; or "16 real values"."""
    if spec.soft_width:
        return f"{spec.soft_width} real value" + "s" * (spec.soft_width > 1)
    runs = [(size, len(list(group))) for size, group in groupby(spec.codebook_sizes)]
    return " ".join(f"{count}x{size}" if count > 1 else str(size) for size, count in runs)


def _row(spec: CodecSpec) -> tuple[str, ...]:
    return (
        spec.name,
        spec.modality,
        _covers(spec.covers),
        _sizes(spec),
        f"{bits_per_position(spec):g}",
        "yes" if spec.lossless else "no",
        f"{spec.weight_bytes / 1e6:.1f} MB" if spec.weight_bytes else "none",
        spec.licence,
        " ".join(spec.methods),
    )


def _covers(covers: Mapping[str, float]) -> str:
    """Return what a position covers in words, such as "16x16 pixels" or "1 byte"."""
    rest = dict(covers)
    words = []
    if {"height", "width"} <= rest.keys():
        words.append(f"{rest.pop('width'):g}x{rest.pop('height'):g} pixels")
    if "seconds" in rest:
        words.append(f"{1000 * rest.pop('seconds'):.3g} ms")
    words += [f"{n:g} {what[:-1] if n == 1 else what}" for what, n in rest.items()]
    return ", ".join(words)


def _facts(spec: CodecSpec) -> dict[str, Any]:
    from omnicodec.codecs.registry import DEFAULTS

    return {
        "name": spec.name,
        "version": spec.version,
        "modality": spec.modality,
        "summary": spec.summary,
        "fingerprint": spec.fingerprint,
        "covers": dict(spec.covers),
        "codebook_sizes": list(spec.codebook_sizes),
        "soft_width": spec.soft_width,
        "bits_per_position": bits_per_position(spec),
        "lossless": spec.lossless,
        "streaming": spec.streaming,
        "resumable": spec.resumable,
        "qualities": list(spec.qualities),
        "efforts": list(spec.efforts),
        "methods": list(spec.methods),
        "weight_bytes": spec.weight_bytes,
        "licence": spec.licence,
        "citation": spec.citation,
        "default": DEFAULTS.get(spec.modality) == spec.name,
    }


COMMANDS = (Command("codecs", list_codecs, "[--json] [CODEC ...]", EPILOG),)
