"""What there is to read, and how it is cut into slices before anything is read.

`open_source` tells the kind of a source from its location, and from the names below it:

    folder    files, each an item, or several of one name
    tar       WebDataset's tars
    parquet   Parquet, a row an item
    arrow     Arrow's files and streams
    jsonl     JSON lines
    hf        what `save_to_disk` of Hugging Face's datasets leaves
"""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from itertools import islice
from typing import Final

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.sources.base import Slice, Source, SourceSpec
from omnicodec.service.batch.sources.hf import SPLITS, STATE, is_there
from omnicodec.service.batch.sources.location import Location
from omnicodec.service.batch.sources.names import modality_of

__all__ = ["KINDS", "Slice", "Source", "SourceSpec", "kind_of", "open_source"]

_HOMES: Final = {
    "folder": "FolderSource",
    "tar": "TarSource",
    "parquet": "ParquetSource",
    "arrow": "ArrowSource",
    "jsonl": "JSONLinesSource",
    "hf": "HuggingFaceSource",
}
KINDS: Final = tuple(_HOMES)
"""The kinds of sources."""

_SUFFIXES: Final = {
    ".tar": "tar", ".tar.gz": "tar", ".tgz": "tar", ".tar.zst": "tar",
    ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
    ".jsonl": "jsonl", ".jsonl.gz": "jsonl", ".jsonl.zst": "jsonl",
    ".ndjson": "jsonl", ".ndjson.gz": "jsonl", ".ndjson.zst": "jsonl",
}  # fmt: skip
_LOOKED_AT: Final = 10_000


def open_source(spec: SourceSpec, number: int) -> Source:
    """Return the source of a specification, the `number`th of its job.

    Raises `InvalidInput` for an unknown kind or meaning of a column, and for a location that is not
    there where the kind has to be found out; `Unavailable` for a library that is missing.
    """
    if spec.kind and spec.kind not in KINDS:
        raise InvalidInput(f"no kind of source {spec.kind!r}; known: {', '.join(KINDS)}")
    kind = spec.kind or kind_of(spec.location)
    module = import_module(f"{__name__}.{kind}")
    source: Source = getattr(module, _HOMES[kind])(spec, number)
    return source


def kind_of(location: str) -> str:
    """Return the kind that a location tells, by its name or the first names below it.

    In a folder of tables or tars, or of media, the kind that most files have is that of all;
    where only texts are, it is "folder".
    """
    if named := _container(location):
        return named
    place = Location(location)
    if place.whole and (is_there(place, STATE) or is_there(place, SPLITS)):
        return "hf"
    counts: Counter[str] = Counter()
    for found in islice(place.files(), _LOOKED_AT):
        kind = _container(found.name)
        if not kind and modality_of(found.name) not in ("", "text"):
            kind = "folder"
        counts[kind] += 1
    del counts[""]
    # Of as many pictures as tables, the tables: these are more likely to hold what is meant.
    order = (*(kind for kind in KINDS if kind != "folder"), "folder")
    return max(order, key=lambda kind: (counts[kind], -order.index(kind))) if counts else "folder"


def _container(name: str) -> str:
    lower = name.lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if lower.endswith(suffix)), "")
