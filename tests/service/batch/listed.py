"""Data sets whose source is a list of items: what becomes of an item, without files and formats."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import Vocabulary, describe
from omnicodec.service.batch import sources
from omnicodec.service.batch.documents import Item, Part, Reject
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.job import CodecChoice, Job
from omnicodec.service.batch.plan import write_plan
from omnicodec.service.batch.sources.base import Slice, Source, SourceSpec


class ListedSource(Source):
    """Items of a list, a slice each `items`."""

    entries: Sequence[Item | Reject | BaseException] = ()

    def slices(self, items: int, nbytes: int) -> Iterator[Slice]:
        count = len(self.entries)
        for start in range(0, count, items):
            stop = min(count, start + items)
            yield Slice(self.number, "list", start, stop, stop - start, 1)

    def read(self, piece: Slice) -> Iterator[Item | Reject]:
        for entry in self.entries[piece.start : piece.stop]:
            if isinstance(entry, BaseException):
                raise entry
            yield entry


def choice(name: str, **settings: Any) -> CodecChoice:
    spec = describe(name)
    fields = {"modality": spec.modality, "name": spec.name, "fingerprint": spec.fingerprint}
    return CodecChoice(**{**fields, **settings})


def data_set(
    monkeypatch: pytest.MonkeyPatch,
    path: Path,
    entries: Sequence[Item | Reject | BaseException],
    codecs: Sequence[str | CodecChoice],
    **options: Any,
) -> Folder:
    """Return the folder of a data set that is planned, of one shard unless `shard_items` says."""
    source = type("Listed", (ListedSource,), {"entries": tuple(entries)})
    monkeypatch.setattr(sources, "open_source", source)
    chosen = tuple(choice(c) if isinstance(c, str) else c for c in codecs)
    specs = [describe(c.name) for c in chosen]
    if any(spec.modality == "text" and len(spec.codebook_sizes) > 1 for spec in specs):
        specs.insert(0, describe("text/bytes"))
    vocabulary = Vocabulary.build(specs)
    folder = Folder(path)
    folder.make()
    vocabulary.save(folder.vocabulary)
    job = Job(
        sources=(SourceSpec(location="list", kind="folder"),),
        codecs=chosen,
        vocabulary=hashlib.sha256(folder.vocabulary.read_bytes()).hexdigest(),
        **{"format": "parquet", "layout": "raw", "shard_items": 1 << 20, **options},
    )
    folder.job.write_text(json.dumps(job.to_json()))
    write_plan(job, folder.plan)
    return folder


def texts(*values: bytes) -> list[Item]:
    """Return items of one text each, at "list#0" and so on."""
    return [Item(f"list#{n}", f"key{n}", (Part("text", value),)) for n, value in enumerate(values)]


def files_of(folder: Folder) -> dict[str, bytes]:
    """Return all files of a data set but those that are unfinished, by name."""
    return {
        str(path.relative_to(folder.path)): path.read_bytes()
        for path in sorted(folder.path.rglob("*"))
        if path.is_file() and folder.unfinished not in path.parents
    }
