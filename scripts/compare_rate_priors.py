"""Compare what codes the latents of `image/rate`: integer networks, histograms, the mixer.

All are given the same latents of pictures at several qualities. Histograms, one for each
channel and quality, and the mixer are fitted on the training pictures; the networks are those
of the installed weights. Writes docs/results/rate_prior.json.
Usage: python scripts/compare_rate_priors.py TRAIN TEST, such as data/train/images data/eval/kodak
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import Image, load
from omnicodec.codecs.files import atomic_write
from omnicodec.codecs.prior import Prior, Span
from omnicodec.codecs.prior.mixer import Neighbour, Schema, kernel
from omnicodec.codecs.prior.mixer.prior import NO_BYTES, NO_EXTRA, NO_INTEGERS
from omnicodec.codecs.prior.mixer.schema import FEATURE, FOUND, GRID
from omnicodec.codecs.prior.mixer.state import model, open_state
from omnicodec.models.image.rate_contexts import FIRST
from omnicodec.service.train.files import read_files
from omnicodec.service.train.mixer import MixerSettings, fit_mixer
from omnicodec.service.train.mixer.items import grid_item

OUT = Path(__file__).resolve().parent.parent / "docs" / "results" / "rate_prior.json"

QUALITIES = (10, 25, 40, 55, 70)
BITS = 4
"""Of a symbol of the mixer: an id, or 15 for 15 and more, whose rest is an Exp-Golomb code."""

CHUNK = 2048


@dataclass(frozen=True)
class Coded:
    """Ids `(C, h * w)` of a picture at a quality."""

    ids: NDArray[np.int32]
    grid: tuple[int, int]
    quality: int

    @property
    def pixels(self) -> int:
        return 256 * self.grid[0] * self.grid[1]


def networks(prior: Prior, items: Sequence[Coded]) -> list[float]:
    """Return the bits of each item by the prior, with everything that chunks cost."""
    found = []
    for item in items:
        positions = item.ids.shape[1]
        spans = [
            Span(item.grid, start, min(start + CHUNK, positions))
            for start in range(0, positions, CHUNK)
        ]
        sizes = [len(prior.encode(item.ids[:, s.start : s.stop], s)) for s in spans]
        found.append(8.0 * sum(sizes))
    return found


def histograms(train: Sequence[Coded], items: Sequence[Coded]) -> list[float]:
    """Return the bits of each item by one histogram for each channel and quality."""
    channels = len(items[0].ids)
    counts: dict[int, NDArray[np.float64]] = {}
    for item in train:
        table = counts.setdefault(item.quality, np.full((channels, 4096), 0.02))
        for c in range(channels):
            table[c] += np.bincount(item.ids[c], minlength=4096)
    found = []
    for item in items:
        table = counts[item.quality]
        p = np.take_along_axis(table, item.ids.astype(np.int64), 1) / table.sum(1, keepdims=True)
        found.append(-float(np.log2(p).sum()))
    return found


def mixer_schema(channels: int) -> Schema:
    """Return contexts of what lies around a latent, here and in the channels before it."""
    neighbours: list[Neighbour] = []

    def near(**where: int) -> int:
        neighbour = Neighbour(**where)
        if neighbour not in neighbours:
            neighbours.append(neighbour)
        return 3 + neighbours.index(neighbour)

    west, north = {"left": 1}, {"up": 1}
    corners = ({"left": 1, "up": 1}, {"left": -1, "up": 1})
    beside = (near(**west), near(**north))
    before = tuple(near(book=k) for k in range(1, 17))
    terms = (
        beside,
        before[:4],
        before,
        (*beside, *(near(**corner) for corner in corners)),
        (*beside, *(near(**side, book=k) for side in (west, north) for k in (1, 2, -1, -2))),
        tuple(near(**side, book=-k) for side in (west, north) for k in range(3, 9)),
    )
    two, four, wide, ring, area, later = range(3 + len(neighbours), 9 + len(neighbours))
    book = 0
    return Schema(
        features=GRID,
        bits=(BITS,) * channels,
        neighbours=tuple(neighbours),
        sums=terms,
        contexts=(
            (book,), (book, two), (book, four), (book, wide), (book, ring), (book, area),
            (wide, area), (four, ring, later), (wide, area, later), (book, area, four),
            (book, *beside), (book, *before[:2]),
        ),
        parents=(-1, 0, 0, 0, 0, 0, -1, -1, 6, 5, 1, 2),
        selectors=(
            (FOUND, 0, 0), (FEATURE, book, 8), (FEATURE, wide, 7), (FEATURE, area, 7),
            (FEATURE, ring, 6),
        ),
        refinements=((wide,), (area,)),
        match=32,
        rate=2,
    )  # fmt: skip


def mixer(
    train: Sequence[Coded],
    held_out: Sequence[Coded],
    items: Sequence[Coded],
    log: Callable[..., None],
) -> tuple[list[float], float]:
    """Return the bits of each item by the mixer, and the seconds that all took."""
    schema = mixer_schema(len(items[0].ids))

    def symbols(item: Coded) -> Any:
        return grid_item(np.minimum(item.ids, 15), item.grid)

    settings = MixerSettings(counted=18, shipped=18, recount=False)
    tensors = fit_mixer(schema, [*map(symbols, train)], [*map(symbols, held_out)], settings, log)
    read_only = model(schema, tensors)
    found, began = [], time.process_time()
    for item in items:
        data, layout = symbols(item)
        state = open_state(schema, tensors, data.size)
        surprisal = np.zeros(data.size, np.int32)
        kernel.run(
            read_only, state, data, 0, data.size, layout, kernel.MEASURE, NO_BYTES,
            NO_INTEGERS, surprisal, NO_INTEGERS, NO_EXTRA,
        )  # fmt: skip
        rest = item.ids[item.ids >= 15] - 14
        found.append(surprisal.sum() / 4096 + float((2 * np.floor(np.log2(rest)) + 1).sum()))
    return found, time.process_time() - began


def compare(
    prior: Prior,
    train: Sequence[Coded],
    held_out: Sequence[Coded],
    items: Sequence[Coded],
    log: Callable[..., None],
) -> dict[str, Any]:
    """Return bits per pixel by quality, and seconds of one core per megapixel."""
    networks(prior, items[:1])  # what is compiled once is not measured
    began = time.process_time()
    ours = networks(prior, items)
    seconds = time.process_time() - began
    mixed, mixer_seconds = mixer(train, held_out, items, log)
    static = histograms([*train, *held_out], items)
    megapixels = sum(item.pixels for item in items) / 1e6
    rows = []
    for quality in sorted({item.quality for item in items}):
        chosen = [k for k, item in enumerate(items) if item.quality == quality]
        pixels = sum(items[k].pixels for k in chosen)
        row = {
            name: round(sum(bits[k] for k in chosen) / pixels, 4)
            for name, bits in (("networks", ours), ("mixer", mixed), ("histograms", static))
        }
        rows.append({"quality": quality, "pictures": len(chosen), **row})
    return {
        "bits_per_pixel": rows,
        "encode_seconds_per_megapixel": round(seconds / megapixels, 3),
        "mixer_seconds_per_megapixel": round(mixer_seconds / megapixels, 3),
    }


def read(source: Path, most: int, qualities: Sequence[int]) -> list[Coded]:
    """Return pictures of a folder or shards, as coded at qualities in turns."""
    codec = load("image/rate", device="cpu")
    files = [data for _, data in read_files(source)]
    found = []
    for k, data in enumerate(files[:: max(1, len(files) // most)][:most]):
        quality = qualities[k % len(qualities)]
        (tokens,) = codec.encode([Image.open(data)], quality=quality)
        found.append(Coded(tokens.ids, (tokens.grid[0], tokens.grid[1]), quality))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("train", type=Path, help="pictures that histograms and mixer learn from")
    parser.add_argument("test", type=Path, help="pictures to code")
    parser.add_argument("--pictures", type=int, default=60, help="how many to learn from")
    arguments = parser.parse_args()
    train = read(arguments.train, arguments.pictures, QUALITIES)
    items = [each for q in QUALITIES for each in read(arguments.test, 8, [q])]
    prior = load("image/rate", device="cpu").prior
    held = max(5, len(train) // 4)
    results = compare(prior, train[held:], train[:held], items, lambda **k: print(k, flush=True))
    results["command"] = "python scripts/compare_rate_priors.py TRAIN TEST"
    results["channels_of_the_first_group"] = FIRST
    atomic_write(OUT, (json.dumps(results, indent=1) + "\n").encode())
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
