"""Pictures and texts for benchmarks of whole data sets, made here and always the same."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import numpy as np

from omnicodec.codecs import InvalidInput

TEXT_BYTES: Final = 2048


def jpegs(folder: Path, count: int, side: int) -> int:
    """Write so many JPEGs of side x side pixels; return the bytes of all of them.

    They are smooth shapes, edges and a little noise: as many bytes a pixel as photographs have.
    """
    from PIL import Image

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side
    total = 0
    for index in range(count):
        waves = rng.uniform(1, 12, (6, 2)), rng.uniform(0, 6, 6), rng.uniform(5, 40, (6, 3))
        plane = np.full((side, side, 3), rng.uniform(60, 190, 3))
        for (a, b), phase, size in zip(*waves, strict=True):
            wave = np.sin(a * x + b * y + phase)
            plane += size * np.where(size[0] > 22, np.sign(wave), wave)[..., None]
        plane += rng.normal(0, 6, plane.shape)
        path = folder / f"{index:08d}.jpg"
        Image.fromarray(plane.round().clip(0, 255).astype(np.uint8)).save(path, quality=90)
        total += path.stat().st_size
    return total


def texts(count: int) -> list[str]:
    """Return so many texts of 2 KB: the sources of Python's own library, cut and repeated."""
    return list(islice(cycle(_pieces(count)), count))


def _pieces(count: int) -> list[str]:
    found = list(islice(_cut(), count))
    if not found:
        raise InvalidInput("Python's library is not here as sources")
    return found


def _cut() -> Iterator[str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        try:
            text = path.read_text("utf-8")
        except ValueError:  # a test of other encodings
            continue
        for at in range(0, len(text) - TEXT_BYTES, TEXT_BYTES):
            yield text[at : at + TEXT_BYTES]


def parquet(path: Path, column: str, values: list[str] | list[bytes], group: int) -> int:
    """Write a Parquet file of one column; return its size."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({column: values}), path, row_group_size=group)
    return path.stat().st_size
