"""What the tests of all sources need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omnicodec.service.batch.documents import Item, Reject
from omnicodec.service.batch.sources import Slice, Source, SourceSpec, open_source


def source_of(location: Path | str, max_bytes: int | None = None, **fields: Any) -> Source:
    source = open_source(SourceSpec(location=str(location), **fields), 0)
    source.max_bytes = max_bytes
    return source


def slices_of(source: Source, items: int = 100, nbytes: int = 1 << 20) -> list[Slice]:
    """Return the slices as another process reads them from the plan."""
    lines = [json.dumps(piece.to_json()) for piece in source.slices(items, nbytes)]
    return [Slice.from_json(json.loads(line)) for line in lines]


def read(
    location: Path | str, items: int = 100, nbytes: int = 1 << 20, **fields: Any
) -> list[Item | Reject]:
    """Return all that a source yields, each slice by a source of its own, as workers do."""
    found: list[Item | Reject] = []
    for piece in slices_of(source_of(location, **fields), items, nbytes):
        here = list(source_of(location, **fields).read(piece))
        assert piece.items is None or len(here) == piece.items
        found += here
    positions = [one.position for one in found]
    assert len(set(positions)) == len(positions)
    for one in found:
        one.position.encode()
        one.key.encode()
    return found


def told(one: Item | Reject) -> Any:
    """Return what an item is made of, or why it is none."""
    if isinstance(one, Reject):
        return f"{one.error}: {one.reason}"
    return [(part.modality, part.read()) for part in one.parts]
