"""What a source yields: items of one part or several, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omnicodec.codecs import OmnicodecError
from omnicodec.codecs.files import read_all


@dataclass(frozen=True, slots=True)
class Part:
    """One medium of an item: a file's content, or the path of a local file that holds it.

    `modality` is one of `MODALITIES`; `name` is the part's own in the source, and may be empty.
    """

    modality: str
    data: bytes | Path
    name: str = ""

    def read(self) -> bytes:
        """Return the content; raises `InvalidInput` when the file cannot be read."""
        return self.data if isinstance(self.data, bytes) else read_all(self.data)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a data set: a picture, a text, or a document of many parts in their order.

    `position` tells where it stands in its source ("photos/a.jpg", "a.tar#key", "b.parquet#17")
    and is told in `rejects.jsonl`; `key` is its own name, as trainers and people know it.
    """

    position: str
    key: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """An item that did not become tokens, and why; a line of `rejects.jsonl`.

    `error` is the name of the error's class, `part` the number of the part that it is about.
    """

    position: str
    key: str
    error: str
    reason: str
    part: int | None = None

    @classmethod
    def of(cls, item: Item, error: OmnicodecError, part: int | None = None) -> Reject:
        """Return the reject of an item that raised this."""
        return cls(item.position, item.key, type(error).__name__, str(error), part)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Reject:
        return cls(**line)
