"""`omnicodec train`: a codec's weights, made anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import UsageError, note, print_json
from omnicodec.service.cli.options import Device, Json

EPILOG = """\
\b
Examples:
  omnicodec train image/vq photos/ -o runs/vq --minutes 120 --validate held-out/
  omnicodec train image/vq photos/ -o runs/small --steps 5000 --set network.decoder_blocks=3
  omnicodec train text/bytes texts/ -o runs/bytes
  omnicodec train hf:facebook/encodec_24khz speech/ --prior
"""


def train(
    codec: Annotated[str, typer.Argument(metavar="CODEC", hidden=True)],
    data: Annotated[str, typer.Argument(metavar="DATA", hidden=True)],
    out: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="RUN",
            show_default=False,
            help="Folder of the run: log, checkpoint, and the weights in export/. Default: none, "
            "which only --prior does without.",
        ),
    ] = "",
    steps: Annotated[
        int,
        typer.Option(
            "--steps",
            min=1,
            metavar="N",
            show_default=False,
            help="Steps to train. Default: 100000.",
        ),
    ] = 100_000,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.01,
            metavar="M",
            help="Train for this time, whatever the steps. Default: go by --steps.",
        ),
    ] = None,
    validate: Annotated[
        str | None,
        typer.Option(
            "--validate", metavar="PATH", help="Media to measure progress on. Default: none."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of the recipe, as JSON or a plain word; may be given repeatedly. "
            "Default: the settings that the shipped weights were made with.",
        ),
    ] = None,
    prior: Annotated[
        bool,
        typer.Option(
            "--prior",
            help="Only measure how often each code of a published codec (hf:...) occurs in DATA, "
            "so that its streams are smaller; this is kept in your cache. Default: no.",
        ),
    ] = False,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            show_default=False,
            help="Seed of all that is random. Default: 0.",
        ),
    ] = 0,
    as_json: Json = False,
    device: Device = "",
) -> None:
    """Train a codec on your own data, or go on with a run.

    DATA is a folder of files and .tar shards, or one shard. A run that was interrupted goes
    on from its last checkpoint when the same command is given again.
    """
    from omnicodec.codecs.hub.reference import is_hub_name

    if prior or is_hub_name(codec):
        if not prior or out or minutes or validate or settings:
            raise UsageError("of a published codec, train takes DATA and --prior, and no run")
        from omnicodec.service.train.hub_prior import train_prior

        file = train_prior(codec, Path(data), device=device, report=note)
        if as_json:
            print_json({"codec": codec, "prior": str(file)})
        else:
            note(f"prior of {codec}: {file}")
        return
    if not out:
        raise UsageError("Missing option '--output' / '-o'.")
    parsed = parse_settings(settings or [])
    from omnicodec.service.train import train as run_recipe
    from omnicodec.service.train.run import RunOptions

    options = RunOptions(
        steps=steps,
        minutes=minutes,
        device=device,
        seed=seed,
        validation=Path(validate) if validate else None,
        settings=parsed,
    )
    try:
        weights = run_recipe(codec, Path(data), Path(out), options, note)
    except KeyboardInterrupt:
        note("interrupted; the same command goes on from the last checkpoint")
        raise
    if as_json:
        print_json({"codec": codec, "weights": str(weights)})
    else:
        note(f"weights of {codec}: {weights}")


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return the settings of `--set key=value`; a value that is no JSON is a string."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not key or not equals:
            raise UsageError(f"--set needs KEY=VALUE, not {setting!r}")
        try:
            parsed[key] = json.loads(text)
        except ValueError:
            parsed[key] = text
    return parsed


COMMANDS = (Command("train", train, "[OPTIONS] CODEC DATA -o RUN|--prior", EPILOG),)
