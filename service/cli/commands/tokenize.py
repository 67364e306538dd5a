"""`omnicodec tokenize`: whole data sets as tokens."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import UsageError, note, print_json
from omnicodec.service.cli.media import named
from omnicodec.service.cli.options import Device, Effort, Json, Method, Quality, parse_size
from omnicodec.service.cli.screen import Screen

if TYPE_CHECKING:
    from omnicodec.service.batch.engines.base import Engine
    from omnicodec.service.batch.manifest import Manifest
    from omnicodec.service.batch.run import MaxRejects

EPILOG = """\
\b
Examples:
  omnicodec tokenize photos/ -o tokens/
  omnicodec tokenize captions.jsonl -o tokens/ --format megatron --pack 4096
  omnicodec tokenize 'web/*.tar' -o tokens/ -c image/vq --column json=text
  omnicodec tokenize wiki/*.parquet -o tokens/ -c tokenizer.json --dry-run
  omnicodec tokenize s3://bucket/sound/ -o /mnt/tokens --engine ray --address auto

\b
The same command again goes on where a run ended, whatever ended it. Exit codes:
  0 done, rejects or not; 3 sources cannot be read, OUT cannot be written, or too
  many rejects; 5 OUT was begun with another codec; 7 another run has OUT, or
  workers do not start; 130 interrupted
"""

_REASONS: Final = 5


def _option(*names: str, metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(*names, metavar=metavar, show_default=False, help=text, **more)


def tokenize(
    context: typer.Context,
    sources: Annotated[list[str], typer.Argument(metavar="SRC", hidden=True)],
    out: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="OUT", show_default=False, help="Folder of the data set."
        ),
    ],
    form: Annotated[
        str,
        _option(
            "--format",
            metavar="FORMAT",
            text="What is written: parquet, megatron, torchtitan, mds or wds. Default: parquet.",
        ),
    ] = "parquet",
    codecs: Annotated[
        list[str] | None,
        _option(
            "--codec",
            "-c",
            metavar="CODEC",
            text="Codec of a modality: one of `omnicodec codecs`, hf:owner/name, hf:FOLDER, or for "
            "text a tokenizer.json; may be repeated. Only these modalities, and text, are taken "
            "then. Default: image/vq, audio/rvq, video/inr and text/bpe.",
        ),
    ] = None,
    quality: Quality = None,
    effort: Effort = None,
    method: Method = None,
    layout: Annotated[
        str,
        _option(
            "--layout",
            metavar="LAYOUT",
            text="raw: the tokens of each part as its codec made them; document: each item as one "
            "sequence of the vocabulary. Default: raw where the format has it.",
        ),
    ] = "",
    pack: Annotated[
        int,
        _option(
            "--pack",
            metavar="LENGTH",
            min=0,
            text="Pack documents into sequences of this length. Default: each stays by itself.",
        ),
    ] = 0,
    packing: Annotated[
        str,
        _option(
            "--packing",
            metavar="HOW",
            text="How they are packed: best-fit, which cuts only what is longer than a sequence, "
            "or concatenate. Default: best-fit.",
        ),
    ] = "best-fit",
    pattern: Annotated[
        str,
        _option(
            "--pattern",
            metavar="PATTERN",
            text="How codebooks stand in documents: flat, delay or parallel. Default: flat.",
        ),
    ] = "flat",
    patch: Annotated[
        int,
        _option(
            "--patch",
            metavar="K",
            min=1,
            text="Group K neighbouring tokens into one column. Default: 1.",
        ),
    ] = 1,
    bos: Annotated[
        bool,
        typer.Option(
            "--bos/--no-bos", show_default=False, help="Begin documents with <|bos|>. Default: no."
        ),
    ] = False,
    eos: Annotated[
        bool,
        typer.Option(
            "--eos/--no-eos", show_default=False, help="End documents with <|eos|>. Default: yes."
        ),
    ] = True,
    kind: Annotated[
        str,
        _option(
            "--kind",
            metavar="KIND",
            text="What the sources are: folder, tar, parquet, arrow, jsonl or hf. Default: what "
            "they look like.",
        ),
    ] = "",
    columns: Annotated[
        list[str] | None,
        _option(
            "--column",
            metavar="NAME=MODALITY",
            text="What a column or member holds: a modality, document, file or key; may be "
            "repeated. Default: what its name tells.",
        ),
    ] = None,
    modality: Annotated[
        str,
        _option(
            "--modality",
            metavar="MODALITY",
            text="Modality of files whose names do not tell. Default: they are no items.",
        ),
    ] = "",
    max_pixels: Annotated[
        int | None,
        _option(
            "--max-pixels",
            metavar="N",
            min=1,
            text="Reject pictures and videos with more pixels. Default: 2147483648.",
        ),
    ] = None,
    max_seconds: Annotated[
        float | None,
        _option(
            "--max-seconds",
            metavar="SECONDS",
            min=0.0,
            text="Reject longer sound and video. Default: 86400, a day.",
        ),
    ] = None,
    max_bytes: Annotated[
        int | None,
        _option(
            "--max-bytes",
            metavar="SIZE",
            parser=parse_size,
            text="Reject larger files and texts, such as 20M. Default: 2GiB.",
        ),
    ] = None,
    max_rejects: Annotated[
        str,
        _option(
            "--max-rejects",
            metavar="N|P%",
            text="Stop when more items are rejected; a share is judged from 100 items on, and at "
            "the end. Default: 50%.",
        ),
    ] = "50%",
    shard_items: Annotated[
        int | None,
        _option("--shard-items", metavar="N", min=1, text="Items of a shard. Default: 1024."),
    ] = None,
    shard_size: Annotated[
        int | None,
        _option(
            "--shard-size",
            metavar="SIZE",
            parser=parse_size,
            text="Bytes of sources that make a shard. Default: 256MiB.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        _option(
            "--workers",
            metavar="N",
            min=1,
            text="Processes that work side by side and share the cores. The result is the same for "
            "any number. Default: one a GPU, else one a core.",
        ),
    ] = None,
    engine: Annotated[
        str,
        _option(
            "--engine",
            metavar="ENGINE",
            text="Where they run: local, or ray. Default: local.",
        ),
    ] = "local",
    address: Annotated[
        str,
        _option(
            "--address",
            metavar="ADDRESS",
            text="Ray cluster, such as auto or ray://head:10001; all its nodes see the sources and "
            "OUT under the same names. Default: one of this machine, for this run.",
        ),
    ] = "",
    gpus: Annotated[
        float | None,
        _option(
            "--gpus",
            metavar="N",
            min=0.0,
            text="GPUs of each worker on Ray. Default: 1 where the cluster has some.",
        ),
    ] = None,
    patience: Annotated[
        float,
        _option(
            "--patience",
            metavar="SECONDS",
            min=1.0,
            text="Begin a shard again when its worker gives no sign of life for so long. "
            "Default: 600.",
        ),
    ] = 600.0,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Write nothing, and print the plan and what it would take, judged by a sample. "
            "Default: no.",
        ),
    ] = False,
    as_json: Json = False,
    device: Device = "",
) -> None:
    """Turn a data set into tokens, in what training jobs read.

    SRC is a folder, a glob, WebDataset tars, Parquet, Arrow, JSON lines, a data set that Hugging
    Face's library saved, or a URL of any of these. OUT gets data/ in the chosen format, the
    vocabulary, the manifest, and rejects.jsonl with what could not be read.
    """
    from omnicodec.codecs import InvalidInput
    from omnicodec.service.batch.job import ItemLimits
    from omnicodec.service.batch.prepare import SHARD_BYTES, SHARD_ITEMS, Wishes, prepare

    limit = parse_max_rejects(max_rejects)
    default = ItemLimits()
    wishes = Wishes(
        sources=sources,
        kind=kind,
        columns=parse_columns(columns or ()),
        modality=modality,
        codecs=[named(codec) for codec in codecs or ()],
        quality=quality,
        effort=effort,
        method=method,
        format=form,
        layout=layout,
        length=pack,
        packing=packing,
        pattern=pattern,
        patch=patch,
        bos=bos,
        eos=eos,
        shard_items=shard_items or SHARD_ITEMS,
        shard_bytes=shard_size or SHARD_BYTES,
        device=device,
        limits=ItemLimits(
            pixels=max_pixels or default.pixels,
            seconds=max_seconds or default.seconds,
            nbytes=max_bytes or default.nbytes,
        ),
    )
    try:
        job, vocabulary = prepare(wishes)
    except InvalidInput as e:
        raise UsageError(str(e)) from e
    chosen = choose_engine(
        engine,
        workers=workers,
        device=device if ":" in device else job.device,
        patience=patience,
        address=address,
        gpus=gpus,
    )
    if dry_run:
        from omnicodec.service.cli.run_plan import show_plan

        show_plan(job, vocabulary, workers=workers or 0, as_json=as_json)
        return
    from omnicodec.service.batch.run import tokenize as run
    from omnicodec.service.cli.run_screen import RunScreen

    with terminated_as_interrupted(), Screen(1) as screen:
        try:
            manifest = run(
                job,
                vocabulary,
                Path(out),
                engine=chosen,
                max_rejects=limit,
                watch=RunScreen(screen, out.rstrip("/") or out),
            )
        except KeyboardInterrupt:
            screen.stop()
            note("interrupted; the same command goes on from here")
            raise
    report(out, manifest, as_json)


def report(out: str, manifest: Manifest, as_json: bool) -> None:
    """Say what became of a data set: a line and one of rejects, or one JSON object."""
    names = ("items", "written", "rejects", "reasons", "rows", "tokens", "codecs", "packing")
    if as_json:
        facts = {name: getattr(manifest, name) for name in names}
        print_json({"output": out, "format": manifest.sink, **facts})
        return
    note(
        f"{out}: {manifest.written:,} of {manifest.items:,} items, {manifest.tokens:,} tokens in "
        f"{manifest.rows:,} rows of {manifest.sink}"
    )
    if manifest.rejects:
        reasons = sorted(manifest.reasons.items(), key=lambda pair: -pair[1])
        told = ", ".join(f"{name} {count:,}" for name, count in reasons[:_REASONS])
        note(f"{manifest.rejects:,} rejected ({told}): see {Path(out) / 'rejects.jsonl'}")


def choose_engine(
    name: str,
    *,
    workers: int | None,
    device: str,
    patience: float,
    address: str,
    gpus: float | None,
) -> Engine:
    """Return the engine of --engine; raises `UsageError`."""
    if name == "ray":
        from omnicodec.service.batch.engines.ray import RayEngine

        return RayEngine(
            address or None, workers=workers, gpus=gpus, device=device, patience=patience
        )
    if name != "local":
        raise UsageError(f"unknown engine {name!r}; known: local, ray")
    if address or gpus is not None:
        raise UsageError("--address and --gpus are for --engine ray")
    from omnicodec.service.batch.engines.local import LocalEngine

    return LocalEngine(workers, device=device, patience=patience)


def parse_max_rejects(text: str) -> MaxRejects:
    """Return what --max-rejects says: "100" or "2.5%"; raises `UsageError`."""
    from omnicodec.service.batch.run import MaxRejects

    if text.isdecimal():
        return MaxRejects(count=int(text))
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", text)
    if found is None or float(found[1]) > 100:
        raise UsageError(
            f"--max-rejects is a number such as 100 or a share such as 2%, not {text!r}"
        )
    return MaxRejects(share=float(found[1]) / 100)


def parse_columns(columns: Sequence[str]) -> dict[str, str]:
    """Return what --column says of each; raises `UsageError`."""
    found: dict[str, str] = {}
    for column in columns:
        name, equals, meaning = column.rpartition("=")
        if not name or not equals or not meaning:
            raise UsageError(f"--column needs NAME=MODALITY, not {column!r}")
        found[name] = meaning
    return found


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Have SIGTERM, which schedulers send, end a run as cleanly as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


COMMANDS = (Command("tokenize", tokenize, "[OPTIONS] SRC ... -o OUT", EPILOG),)
