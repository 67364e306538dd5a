"""The record of a shard: written last, so that a shard is whole if, and only if, it has one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from omnicodec.codecs import CorruptStream


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Size and SHA-256, in hex, of a file of a data set."""

    nbytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What there is of one codec: parts, positions, tokens of all codebooks, bytes of files.

    A position of real values is one token. `units` is what a part has before encoding: pixels,
    samples a channel, bytes, or frames' pixels; `seconds` of sound and video.
    """

    parts: int = 0
    positions: int = 0
    tokens: int = 0
    nbytes: int = 0
    units: int = 0
    seconds: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        names = self.__dataclass_fields__
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class Record:
    """What became of a shard: `items` came in, `written` of them are in its `files`.

    `rejects` are the others; `rows` and `tokens` are as its layout has them, and `packing` what
    `packing.Figures` counts. `files` have names in `data/`.
    """

    shard: int
    items: int
    written: int
    rejects: int
    rows: int
    tokens: int
    codecs: Mapping[str, Counts] = field(default_factory=dict)
    packing: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the content of the record's file."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        """Return what `to_bytes` wrote; raises `CorruptStream` for anything else."""
        try:
            value = json.loads(data)
            value["codecs"] = {k: Counts(**v) for k, v in value["codecs"].items()}
            value["files"] = {k: FileFacts(**v) for k, v in value["files"].items()}
            return cls(**value)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise CorruptStream(f"not the record of a shard: {e}") from e
