"""Rows of every layout, made of tokens rather than media, and data sets of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from omnicodec.codecs import Tokens
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.layout import Layout
from omnicodec.service.batch.sinks import open_sink
from omnicodec.service.batch.sinks.base import DocumentRow, PackedRow, RawRow, Row, Sink

FLAT = Vocabulary.build(["text/bytes", "image/vq"])
PARALLEL = Vocabulary.build(["text/bytes", "audio/rvq"], "parallel")
PATCHED = Vocabulary.build(["text/bytes", "image/vq"], patch=3)

Parts = tuple[Tokens, ...]


def tokens(codec: str, grid: Sequence[int], seed: int = 0, **extent: int) -> Tokens:
    """Return random tokens of a codec of these vocabularies."""
    vocabulary = FLAT if codec in [entry.name for entry in FLAT.entries] else PARALLEL
    entry = vocabulary.entries[vocabulary.index(codec)]
    rng = np.random.default_rng(seed)
    shape = (1, int(np.prod(grid)))
    ids = np.concatenate([rng.integers(0, size, shape) for size in entry.codebook_sizes])
    return Tokens(entry.name, entry.fingerprint, ids.astype(np.int32), tuple(grid), extent)


def text(size: int, seed: int = 0) -> Tokens:
    return tokens("text/bytes", (size,), seed)


def picture(height: int, width: int, seed: int = 0) -> Tokens:
    return tokens("image/vq", (height, width), seed, height=16 * height, width=16 * width - 3)


def sound(steps: int, seed: int = 0) -> Tokens:
    entry = PARALLEL.entries[1]
    extent = {name: 320 * steps + i for i, name in enumerate(entry.extent)}
    return tokens("audio/rvq", (steps, 1), seed, **extent)


def latent(height: int, width: int, bits: int, seed: int = 0, numbers: int = 4) -> Tokens:
    """Return real-valued tokens of a grid, with values that no arithmetic leaves as they are."""
    soft = np.random.default_rng(seed).standard_normal((height * width, numbers))
    soft.flat[:3] = (-0.0, np.nan, np.inf)[: soft.size]
    return of_values(soft.astype(f"f{bits // 8}"), (height, width))


def of_values(soft: Any, grid: tuple[int, ...]) -> Tokens:
    extent = {"height": 8 * grid[0], "width": 8 * grid[-1] - 1, "bits": 8 * soft.itemsize}
    ids = np.empty((0, len(soft)), np.int32)
    return Tokens("image/soft", "00000000000000dd", ids, grid, extent, soft)


def soft_layout(bits: int) -> Layout:
    """Return the layout of a data set that has real-valued tokens and others."""
    return Layout(FLAT, "raw", soft={"image/soft": {"width": 4, "bits": bits}})


_seeds = st.integers(0, 1 << 16)
_texts = st.builds(text, st.integers(0, 40), _seeds)
_pictures = st.builds(picture, st.integers(1, 4), st.integers(1, 4), _seeds)
_sounds = st.builds(sound, st.integers(1, 12), _seeds)


def items(vocabulary: Vocabulary, most: int = 20) -> st.SearchStrategy[list[Parts]]:
    """Return a strategy for the parts of items that a vocabulary holds."""
    media = _sounds if vocabulary is PARALLEL else _pictures
    parts = st.lists(_texts | media, max_size=3).map(tuple)
    return st.lists(parts, max_size=most)


def rows_of(layout: Layout, parts: Iterable[Parts], prefix: str = "") -> list[Row]:
    """Return the rows of a shard."""
    rows: list[Row] = []
    for i, item in enumerate(parts):
        rows += layout.rows(f"{prefix}item/{i}.x", f"tar é#{i}", item)
    return rows + list(layout.flush())


def layout_of(vocabulary: Vocabulary, layout: str, **options: Any) -> Layout:
    return Layout(vocabulary, layout, **({"length": 16} | options if layout == "packed" else {}))


def write(sink: Sink, folder: Path, shards: Sequence[Sequence[Row]]) -> list[str]:
    """Write a whole data set as a run does; returns the names of its files."""
    (folder / "data").mkdir(parents=True)
    temporary = folder / "temporary"
    names: list[list[str]] = []
    for index, rows in enumerate(shards):
        temporary.mkdir()
        writer = sink.open_shard(temporary, index)
        for row in rows:
            writer.write(row)
        writer.close()
        names.append(sorted(path.name for path in temporary.iterdir()))
        for name in names[-1]:
            (temporary / name).rename(folder / "data" / name)
        temporary.rmdir()
    temporary.mkdir()
    kept = sink.finish(folder / "data", names, temporary)
    assert not list(temporary.iterdir())
    temporary.rmdir()
    for path in (folder / "data").iterdir():
        if path.name not in kept:
            path.unlink()
    return kept


def made(
    name: str, folder: Path, layout: Layout, shards: Sequence[Sequence[Parts]]
) -> tuple[Sink, list[str], list[Row]]:
    """Write items in a format; returns its sink, its files and all rows."""
    sink = open_sink(name, layout.facts())
    options = {"length": layout.length} if layout.layout == "packed" else {}
    rows = [
        rows_of(layout_of(layout.vocabulary, layout.layout, **options), shard, f"{i}/")
        for i, shard in enumerate(shards)
    ]
    return sink, write(sink, folder, rows), [row for shard in rows for row in shard]


def assert_same(one: Row, other: Row, *, names: bool = True) -> None:
    assert type(one) is type(other)
    if isinstance(one, RawRow):
        assert one.parts == other.parts
        assert all(part.ids.dtype == np.int32 for part in other.parts)
    else:
        for field in ("ids", "positions", "starts") if isinstance(one, PackedRow) else ("ids",):
            wanted, found = getattr(one, field), getattr(other, field)
            np.testing.assert_array_equal(wanted, found)
            assert found.dtype == np.int32
    if names and isinstance(one, RawRow | DocumentRow):
        assert (one.key, one.source) == (other.key, other.source)
