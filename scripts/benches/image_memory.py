"""Memory and time that compressing and decompressing a large photograph takes, file to file."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from benches._peak import peak

from omnicodec.codecs import Image, Unavailable
from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.table import markdown, number

_PHOTOS: Final = ("astronaut", "coffee", "chelsea", "rocket")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--codec", default="image/rate", help="default: %(default)s")
    parser.add_argument("--quality", type=int, help="default: the codec's own")
    parser.add_argument("--width", type=int, default=6000, help="default: %(default)s")
    parser.add_argument("--height", type=int, default=4000, help="default: %(default)s")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    figures = memory(options.codec, options.quality, options.width, options.height)
    header = [f"{options.codec}, {options.width}x{options.height}", *HEADER]
    return f"{markdown(header, rows(figures))}\n{Environment.here('cpu')}\n", figures


HEADER: Final = ("peak MB", "seconds", "MP/s")


def rows(figures: dict[str, Any]) -> list[list[str]]:
    """Return a row of `HEADER` for each way of `memory`."""
    return [
        [name, number(step["peak_mb"], 0), number(step["seconds"], 1), number(step["mp_s"])]
        for name, step in figures["steps"].items()
    ]


def memory(codec: str, quality: int | None, width: int, height: int) -> dict[str, Any]:
    """Return the peak resident memory of the command line, on a photograph (JPEG) and back.

    `steps` holds for "compress" and "decompress" (to PNG) the peak in 10^6 bytes, which
    includes the interpreter and its libraries, and the seconds and million pixels a second
    with reading and writing of files and the start of the program.
    """
    chosen = [] if quality is None else ["-q", str(quality)]
    with tempfile.TemporaryDirectory() as name:
        photo, stream, back = (Path(name, n) for n in ("photo.jpg", "photo.omc", "back.png"))
        photograph(width, height).save(photo)
        steps = {
            "compress": peak(["compress", photo, "-c", codec, *chosen, "-o", stream]),
            "decompress": peak(["decompress", stream, "-o", back]),
        }
        size = stream.stat().st_size
    for step in steps.values():
        step["mp_s"] = width * height / 1e6 / step["seconds"]
    return {"codec": codec, "quality": quality, "width": width, "height": height,
            "stream_bytes": size, "steps": steps}  # fmt: skip


def photograph(width: int, height: int) -> Image:
    """Return a large picture of photographs that come with scikit-image, none twice alike.

    Each cell has one of them, turned, enlarged and lit differently.
    """
    try:
        from skimage import data
    except ImportError as e:
        raise Unavailable("the photographs come with scikit-image: pip install it") from e
    from PIL import Image as Pillow

    rng = np.random.default_rng(0)
    cell = 800
    page = Pillow.new("RGB", (width, height))
    photos = [Pillow.fromarray(getattr(data, name)()[..., :3]) for name in _PHOTOS]
    for index, y in enumerate(range(0, height, cell)):
        for x in range(0, width, cell):
            photo = photos[(x // cell + 2 * index) % len(photos)]
            side = rng.uniform(0.6, 1) * min(photo.size)
            left, top = rng.uniform(0, np.array(photo.size) - side)
            part = photo.resize(
                (cell, cell), Pillow.Resampling.BICUBIC, (left, top, left + side, top + side)
            )
            part = part.transpose(Pillow.Transpose(int(rng.integers(0, 7))))
            light = rng.uniform(0.7, 1.2)
            page.paste(part.point(lambda v, light=light: min(255, v * light)), (x, y))
    return Image(np.asarray(page, np.uint8))
