"""What a vocabulary keeps of each codec."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omnicodec.codecs.codec import CodecSpec
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.vocabulary import special


def no_ids(codec: str) -> str:
    """Return the line that says why no vocabulary holds the tokens of a continuous tokenizer."""
    return (
        f"the tokens of {codec} are real values, which have no ids: "
        "keep them in Parquet, MDS or WebDataset with layout raw"
    )


def check_ids(parts: Iterable[Tokens]) -> None:
    """Raise `InvalidInput` for real-valued tokens."""
    for part in parts:
        if part.soft is not None:
            raise InvalidInput(no_ids(part.codec))


@dataclass(frozen=True, kw_only=True)
class VocabularyEntry:
    """What a vocabulary keeps of a codec's spec: enough to pack and unpack without it."""

    name: str
    version: int
    fingerprint: str
    modality: str
    codebook_sizes: tuple[int, ...]
    covers: Mapping[str, float]
    extent: tuple[str, ...]
    grid_rank: int
    usual: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: CodecSpec) -> VocabularyEntry:
        """Return the entry of a codec; raises `InvalidInput` for one without ids."""
        if spec.soft_width:
            raise InvalidInput(no_ids(spec.name))
        return cls(**{name: getattr(spec, name) for name in cls.__dataclass_fields__})

    def full_extent(self, grid: Sequence[int]) -> dict[str, int] | None:
        """Return the extent of a usual item that fills its grid; None if the grid does not tell."""
        sides = [name for name in self.extent if name not in self.usual]
        if self.grid_rank != len(sides) or not all(name in self.covers for name in sides):
            return None
        filled = {name: n * int(self.covers[name]) for name, n in zip(sides, grid, strict=True)}
        return {**filled, **self.usual}

    def check_size(self, part: Tokens) -> None:
        """Raise `InvalidInput` unless this is an extent of the codec that can be written."""
        if set(part.extent) != set(self.extent):
            raise InvalidInput(f"tokens have another layout than {self.name}")
        if not all(0 <= n <= special.MAX_INTEGER for n in (*part.grid, *part.extent.values())):
            raise InvalidInput(f"sizes are 0 to {special.MAX_INTEGER:,}")

    def size_tokens(self, part: Tokens) -> list[int]:
        """Return special tokens for grid and extent: one where that is enough, or none."""
        if self.grid_rank == 1 and not self.extent:
            return []  # the end mark tells the length
        if self.grid_rank == 2 and self.full_extent(part.grid) == dict(part.extent):
            token = special.grid_token(*part.grid)
            if token is not None:
                return [token]
        integers = [*part.grid, *(part.extent[name] for name in self.extent)]
        return [special.EXTENT, *special.write_integers(integers), special.EXTENT]

    def to_json(self) -> dict[str, Any]:
        """Return JSON that is the same for equal entries, whatever the order of `covers`."""
        covers = {k: int(v) if v == int(v) else v for k, v in sorted(self.covers.items())}
        members = {name: getattr(self, name) for name in self.__dataclass_fields__}
        del members["usual"]
        # Files from before there was such a fact stay as they are.
        usual = {"usual": dict(sorted(self.usual.items()))} if self.usual else {}
        return {**members, "covers": covers, **usual}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> VocabularyEntry:
        """Return what `to_json` wrote; raises `KeyError`, `TypeError` or `ValueError`."""
        entry = cls(
            **{
                **value,
                "codebook_sizes": tuple(map(int, value["codebook_sizes"])),
                "covers": {str(k): float(v) for k, v in value["covers"].items()},
                "extent": tuple(map(str, value["extent"])),
                "usual": {str(k): int(v) for k, v in value.get("usual", {}).items()},
            }
        )
        strings = (entry.name, entry.fingerprint, entry.modality)
        numbers = (entry.version, entry.grid_rank)
        if not all(type(s) is str for s in strings) or not all(type(n) is int for n in numbers):
            raise TypeError("a fact of a codec is of another type")
        known = all(map(math.isfinite, entry.covers.values())) and {*entry.usual} <= {*entry.extent}
        if entry.grid_rank < 1 or not known:
            raise ValueError("a fact of a codec is out of range")
        return entry
