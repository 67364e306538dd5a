"""Memory that compressing and decompressing hours of sound takes, file to file."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from benches._peak import peak

from omnicodec.codecs import Audio, InvalidInput
from omnicodec.codecs.media.audio_writer import AudioWriter
from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.table import markdown, number

_PIECE_SECONDS: Final = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--codec", default="audio/rvq", help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=60, help="default: %(default)s")
    parser.add_argument("--rate", type=int, default=48_000, help="in Hz; default: %(default)s")
    parser.add_argument("--channels", type=int, default=2, help="default: %(default)s")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    figures = memory(options.codec, 60 * options.minutes, options.rate, options.channels)
    rows = [
        [name, number(step["peak_mb"], 0), number(step["seconds"], 0), number(step["times"], 1)]
        for name, step in figures["steps"].items()
    ]
    what = f"{options.minutes:g} min, {options.channels} channels, {options.rate} Hz"
    header = [f"{options.codec}, {what}", "peak MB", "seconds", "times real time"]
    return f"{markdown(header, rows)}\n{Environment.here('cpu')}\n", figures


def memory(codec: str, seconds: float, rate: int = 48_000, channels: int = 2) -> dict[str, Any]:
    """Return the peak resident memory of the command line, on a generated WAV and back.

    `steps` holds for "compress" and "decompress" the peak in 10^6 bytes, which includes the
    interpreter and its libraries, the seconds, and how many times real time they were.
    """
    with tempfile.TemporaryDirectory() as name:
        sound, stream, back = (Path(name, n) for n in ("long.wav", "long.omc", "back.wav"))
        _write(sound, seconds, rate, channels)
        steps = {
            way: {**step, "times": seconds / step["seconds"]}
            for way, step in (
                ("compress", peak(["compress", sound, "-c", codec, "-o", stream])),
                ("decompress", peak(["decompress", stream, "-c", codec, "-o", back])),
            )
        }
        sizes = {"source_bytes": sound.stat().st_size, "stream_bytes": stream.stat().st_size}
        if back.stat().st_size != sizes["source_bytes"]:
            raise InvalidInput("what came back has another length")
    return {"codec": codec, "seconds": seconds, "rate": rate, "channels": channels, **sizes,
            "steps": steps}  # fmt: skip


def _write(path: Path, seconds: float, rate: int, channels: int) -> None:
    """Write syllables of a kind, and breath, that do not repeat."""
    rng = np.random.default_rng(0)
    total = round(seconds * rate)
    with AudioWriter(path, rate, channels) as file:
        for start in range(0, total, _PIECE_SECONDS * rate):
            size = min(_PIECE_SECONDS * rate, total - start)
            time_ = np.arange(size) / rate
            pitch = rng.uniform(90, 300, (channels, 1))
            swell = np.square(np.sin(2 * np.pi * rng.uniform(1, 3, (channels, 1)) * time_))
            voice = sum(np.sin(2 * np.pi * k * pitch * time_) / k for k in range(1, 6))
            rows = 0.1 * voice * swell + 0.003 * rng.standard_normal((channels, size))
            file.write(Audio(rows.astype(np.float32), rate))
