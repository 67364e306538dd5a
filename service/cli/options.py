"""Arguments and options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omnicodec.service.cli.console import State, UsageError

if TYPE_CHECKING:
    from omnicodec.service.targets import Targets


def state_of(context: typer.Context) -> State:
    """Return the global options of this invocation."""
    state: State = context.obj
    return state


def targets_of(psnr: float | None, size: int | None) -> Targets:
    """Return the targets of --target-psnr and --target-size; raises `UsageError`."""
    from omnicodec.codecs import InvalidInput
    from omnicodec.service.targets import Targets

    try:
        return Targets(psnr=psnr, nbytes=size)
    except InvalidInput as e:
        raise UsageError(f"--target-psnr: {e}") from e


def _device(context: typer.Context, value: str) -> str:
    return value or state_of(context).device


def _quality(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= 100:
        raise typer.BadParameter(f"{value} is not in 0..100")
    return value


_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def parse_size(text: str) -> int:
    """Return the bytes of a size such as "4000", "100k" or "2MiB"; raises `BadParameter`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kKMG]?i?)B?", text)
    unit = found[2].replace("K", "k") if found else ""
    unit = unit.replace("ki", "Ki")
    if found is None or unit not in _UNITS or not (size := int(float(found[1]) * _UNITS[unit])):
        raise typer.BadParameter(f"{text!r} is no size such as 4000, 100k or 2M")
    return size


# Arguments are hidden from the list of options: usage lines and descriptions name them. Each
# help text tells its own default, as typer's way to show one differs between versions.

MediaFiles = Annotated[list[str], typer.Argument(metavar="FILE", hidden=True)]

StreamFiles = Annotated[list[str], typer.Argument(metavar="FILE.omc", hidden=True)]

TokenFiles = Annotated[list[str], typer.Argument(metavar="TOKENS.npz", hidden=True)]

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        help="Where the result goes: a file, a folder (existing, or ending in /), or - for "
        "stdout. Default: beside the input.",
    ),
]

Codec = Annotated[
    str,
    typer.Option(
        "--codec",
        "-c",
        metavar="CODEC",
        show_default=False,
        help="One of `omnicodec codecs`, or hf:owner/name. Default: by the file's ending, else its "
        "content.",
    ),
]

TokenCodec = Annotated[
    str,
    typer.Option(
        "--codec",
        "-c",
        metavar="CODEC",
        show_default=False,
        help="One of `omnicodec codecs`, hf:owner/name, or a tokenizer.json; for decode the one "
        "that encode was given. Default: by the file's ending, else its content.",
    ),
]

SetCodecs = Annotated[
    list[str] | None,
    typer.Option(
        "--codec",
        "-c",
        metavar="CODEC",
        show_default=False,
        help="A published codec that made the tokens, hf:owner/name or hf:FOLDER; may be repeated. "
        "Default: none, as the others are found by what OUT says.",
    ),
]

StreamCodec = Annotated[
    str,
    typer.Option(
        "--codec",
        "-c",
        metavar="CODEC",
        show_default=False,
        help="A published codec that made the streams, hf:owner/name or hf:FOLDER. Default: the "
        "one of `omnicodec codecs` that a stream names.",
    ),
]

Quality = Annotated[
    int | None,
    typer.Option(
        "--quality",
        "-q",
        metavar="0..100",
        callback=_quality,
        help="Larger is better, for codecs with qualities. Default: the codec's own.",
    ),
]

Effort = Annotated[
    str | None,
    typer.Option(
        "--effort",
        metavar="EFFORT",
        help="How hard to try, for codecs with efforts. Default: the codec's own.",
    ),
]

Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="METHOD",
        help="How tokens are chosen, for codecs with methods. Default: the codec's own.",
    ),
]

TargetPSNR = Annotated[
    float | None,
    typer.Option(
        "--target-psnr",
        metavar="DB",
        help="End as soon as the result is this good, with codecs that improve it step by step. "
        "Default: when they are done.",
    ),
]

TargetSize = Annotated[
    int | None,
    typer.Option(
        "--target-size",
        metavar="BYTES",
        parser=parse_size,
        help="End as soon as the result is this small, such as 100k or 2M; with --target-psnr, as "
        "soon as it is both. Default: when they are done.",
    ),
]

PCM_INPUT = Annotated[
    str,
    typer.Option(
        "--pcm",
        metavar="FORMAT:RATE:CHANNELS",
        show_default=False,
        help="The input is plain samples, such as s16le:48000:2; formats are u8, s16le, s24le, "
        "s32le, f32le, f64le. Default: a sound file says itself.",
    ),
]

PCM_OUTPUT = Annotated[
    str,
    typer.Option(
        "--pcm",
        metavar="FORMAT",
        show_default=False,
        help="Write sound as plain samples: u8, s16le, s24le, s32le, f32le or f64le. Default: a "
        "WAV, or what the ending of -o says.",
    ),
]

RAW_INPUT = Annotated[
    str,
    typer.Option(
        "--raw",
        metavar="FORMAT:WxH:FPS",
        show_default=False,
        help="The input is raw frames of video, such as yuv420p:640x360:25 or "
        "yuv420p10le:1920x1080:30000/1001; :709 or :601 or :2020, and :pc or :tv, may follow. "
        "Default: a video file says itself.",
    ),
]

RAW_OUTPUT = Annotated[
    str,
    typer.Option(
        "--raw",
        metavar="FORMAT",
        show_default=False,
        help="Write video as raw frames: yuv420p, yuv444p, nv12, rgb24 and others. Default: an "
        "MP4, or what the ending of -o says.",
    ),
]

Frames = Annotated[
    str,
    typer.Option(
        "--frames",
        metavar="A:B",
        show_default=False,
        help="Of video, only the frames from A up to B, without B, and their sound: 100:200, :50, "
        "-25: for the last 25, or 7 for one. They count from 0. Default: all.",
    ),
]

Chunk = Annotated[
    float | None,
    typer.Option(
        "--chunk",
        metavar="SECONDS",
        help="Sound in one chunk of the stream: what a listener waits for, and what damage costs. "
        "Default: 1 for live sound, else the codec's own, which is smallest.",
    ),
]

Force = Annotated[
    bool, typer.Option("--force", "-f", help="Overwrite what exists. Default: refuse.")
]

Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on stdout. Default: lines for people."),
]

Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        callback=_device,
        show_default=False,
        help="Where networks run: auto (a GPU if there is one), cpu, cuda, cuda:1. Default: auto.",
    ),
]
