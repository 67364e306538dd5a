"""The Vocabulary: ranges of ids, and documents as sequences."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from omnicodec.codecs.codec import CodecSpec
from omnicodec.codecs.errors import FingerprintMismatch, InvalidInput, UnknownCodec
from omnicodec.codecs.files import atomic_write, read_all
from omnicodec.codecs.registry import describe
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.vocabulary import special
from omnicodec.codecs.vocabulary.patterns import PATTERNS, Ids, lay_out
from omnicodec.codecs.vocabulary.reader import DocumentReader

_FORMAT: Final = "omnicodec.vocabulary.v1"


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

    @classmethod
    def of(cls, spec: CodecSpec) -> VocabularyEntry:
        return cls(**{name: getattr(spec, name) for name in cls.__dataclass_fields__})

    def full_extent(self, grid: Sequence[int]) -> dict[str, int] | None:
        """Return the extent of an item that fills its grid; None if the grid does not tell."""
        if self.grid_rank != len(self.extent) or not all(n in self.covers for n in self.extent):
            return None
        return {name: n * int(self.covers[name]) for name, n in zip(self.extent, grid, strict=True)}


@dataclass(frozen=True)
class Vocabulary:
    """Lays several codecs' codebooks side by side in one id space.

    The first entry is the text codec, whose ids come first and unchanged; special tokens
    follow (see `special`), then each codebook of each further codec. Use `build`.
    """

    entries: tuple[VocabularyEntry, ...]
    pattern: str = "flat"

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise InvalidInput(f"unknown pattern {self.pattern!r}; known: {', '.join(PATTERNS)}")
        names = [entry.name for entry in self.entries]
        if not names or self.entries[0].modality != "text" or len(names) != len(set(names)):
            raise InvalidInput("a vocabulary is one text codec and then others, each once")
        if len(self.entries[0].codebook_sizes) != 1:
            raise InvalidInput("the text codec of a vocabulary has one codebook")
        if len(names) > special.MAX_CODECS:
            raise InvalidInput(f"a vocabulary holds at most {special.MAX_CODECS} codecs")

    @classmethod
    def build(cls, codecs: Iterable[str | CodecSpec], pattern: str = "flat") -> Vocabulary:
        """Return the vocabulary of these codecs, given by name or spec.

        The text codec comes first; `text/bytes` is put there if none is named. `pattern`
        is "flat", "parallel" or "delay" (see `patterns`).
        """
        specs = [describe(codec) if isinstance(codec, str) else codec for codec in codecs]
        specs.sort(key=lambda spec: spec.modality != "text")
        if not specs or specs[0].modality != "text":
            specs.insert(0, describe("text/bytes"))
        return cls(tuple(map(VocabularyEntry.of, specs)), pattern)

    def extend(self, codec: str | CodecSpec) -> Vocabulary:
        """Return this vocabulary with one more codec at the end; no id changes."""
        spec = describe(codec) if isinstance(codec, str) else codec
        return Vocabulary((*self.entries, VocabularyEntry.of(spec)), self.pattern)

    @property
    def size(self) -> int:
        """Number of ids in all."""
        return self._starts[-1][-1] + self.entries[-1].codebook_sizes[-1]

    @property
    def rows(self) -> int:
        """Rows of a packed sequence: 1 if flat, else the most codebooks of any codec."""
        if self.pattern == "flat":
            return 1
        return max(len(entry.codebook_sizes) for entry in self.entries)

    @property
    def special_at(self) -> int:
        """The first special id, which is the number of text ids."""
        return self.entries[0].codebook_sizes[0]

    @property
    def pad(self) -> int:
        return self.special_at + special.PAD

    @property
    def hole(self) -> int:
        return self.special_at + special.HOLE

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """The id of each special token by name."""
        return {name: self.special_at + i for i, name in enumerate(self._special_names)}

    def id_range(self, codec: str, codebook: int = 0) -> range:
        """Return the ids of one codebook; raises `UnknownCodec` or `InvalidInput`."""
        index = self.index(codec)
        sizes = self.entries[index].codebook_sizes
        if not 0 <= codebook < len(sizes):
            raise InvalidInput(f"{codec} has codebooks 0 to {len(sizes) - 1}, not {codebook}")
        start = self._starts[index][codebook]
        return range(start, start + sizes[codebook])

    def index(self, codec: str) -> int:
        """Return the place of a codec among the entries."""
        for index, entry in enumerate(self.entries):
            if entry.name == codec:
                return index
        raise UnknownCodec(f"{codec} is not in this vocabulary")

    def pack(self, parts: Sequence[Tokens], *, bos: bool = False, eos: bool = False) -> Ids:
        """Return a document as ids: int32 of shape `(L,)` if flat, else `(rows, L)`.

        Text stands as it is; any other part is its begin mark, its size, its codes and its
        end mark. Raises `UnknownCodec`, `FingerprintMismatch` or `InvalidInput` for parts
        that this vocabulary does not hold.
        """
        columns = [self._special([special.BOS])] if bos else []
        after_text = False
        for part in parts:
            index = self.index(part.codec)
            self._check(part, index)
            if index == 0:
                # A mark only where two texts would run together, or for an empty one.
                if after_text or len(part) == 0:
                    columns.append(self._special([special.TEXT]))
                columns.append(self._column(part.ids[0]))
            else:
                mark = special.MARKS_AT + 2 * (index - 1)
                columns.append(self._special([mark, *self._size_tokens(part, index)]))
                starts = np.array(self._starts[index], np.int32)[:, None]
                columns.append(lay_out(part.ids + starts, self.pattern, self.rows, self.hole))
                columns.append(self._special([mark + 1]))
            after_text = index == 0
        if eos:
            columns.append(self._special([special.EOS]))
        packed = np.concatenate([np.empty((self.rows, 0), np.int32), *columns], axis=1)
        return packed[0] if self.pattern == "flat" else packed

    def unpack(self, ids: Any) -> list[Tokens]:
        """Return the parts of a document; the inverse of `pack`, with or without bos and eos.

        Raises `InvalidInput` with the position of the first id that cannot stand there: a
        language model may generate anything.
        """
        array = np.asarray(ids)
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise InvalidInput(f"a document is a sequence of integers, not of {array.dtype}")
        columns = array.reshape(1, -1) if array.ndim == 1 else array
        if columns.ndim != 2 or columns.shape[0] != self.rows:
            raise InvalidInput(f"a document here has {self.rows} rows, not shape {array.shape}")
        wrong = np.argwhere((columns.T < 0) | (columns.T >= self.size))
        if wrong.size:
            step, row = map(int, wrong[0])
            raise InvalidInput(
                f"position {step}: id {int(columns[row, step])} is not in 0..{self.size - 1}"
            )
        return DocumentReader(self, columns.astype(np.int32)).read()

    def name_of(self, token: int) -> str:
        """Return a readable name of an id: `<|image|>`, `text/bytes:65`, `image/vq.0:512`."""
        if self.special_at <= token < self.special_at + special.COUNT:
            return self._special_names[token - self.special_at]
        for entry, starts in zip(self.entries, self._starts, strict=True):
            for book, (start, size) in enumerate(zip(starts, entry.codebook_sizes, strict=True)):
                if start <= token < start + size:
                    dot = f".{book}" if len(starts) > 1 else ""
                    return f"{entry.name}{dot}:{token - start}"
        raise InvalidInput(f"id {token} is not in 0..{self.size - 1}")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `vocabulary.json`, atomically; a folder gets a file of that name."""
        target = Path(path)
        if target.is_dir():
            target /= "vocabulary.json"
        ranges = {
            f"{entry.name}.{book}": [start, start + size]
            for entry, starts in zip(self.entries, self._starts, strict=True)
            for book, (start, size) in enumerate(zip(starts, entry.codebook_sizes, strict=True))
        }
        content = {
            "format": _FORMAT,
            "pattern": self.pattern,
            "size": self.size,
            "special_tokens_start": self.special_at,
            "ranges": ranges,
            "codecs": [asdict(entry) for entry in self.entries],
        }
        atomic_write(target, (json.dumps(content, indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read what `save` wrote; raises `InvalidInput` for anything else."""
        source = Path(path)
        if source.is_dir():
            source /= "vocabulary.json"
        try:
            content = json.loads(read_all(source))
            if content["format"] != _FORMAT:
                raise ValueError(f"unknown format {content['format']!r}")
            entries = tuple(
                VocabularyEntry(
                    **{
                        **entry,
                        "codebook_sizes": tuple(map(int, entry["codebook_sizes"])),
                        "extent": tuple(entry["extent"]),
                    }
                )
                for entry in content["codecs"]
            )
            return cls(entries, content["pattern"])
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise InvalidInput(f"{str(source)!r} is not a vocabulary: {e}") from e

    @cached_property
    def _special_names(self) -> tuple[str, ...]:
        # The first codec of a modality is marked by that alone, further ones by their name.
        marks: list[str] = []
        for entry in self.entries[1:]:
            marks.append(entry.name if entry.modality in marks else entry.modality)
        return tuple(special.names(marks))

    @cached_property
    def _starts(self) -> tuple[tuple[int, ...], ...]:
        """The first id of each codebook of each entry."""
        starts: list[tuple[int, ...]] = [(0,)]
        at = self.special_at + special.COUNT
        for entry in self.entries[1:]:
            own = []
            for size in entry.codebook_sizes:
                own.append(at)
                at += size
            starts.append(tuple(own))
        return tuple(starts)

    def _check(self, part: Tokens, index: int) -> None:
        entry = self.entries[index]
        if part.fingerprint != entry.fingerprint:
            raise FingerprintMismatch(
                f"tokens were made by {part.codec} {part.fingerprint}, "
                f"this vocabulary holds {entry.fingerprint}"
            )
        sizes = np.array(entry.codebook_sizes)[:, None]
        if part.ids.shape[0] != len(sizes) or (part.ids < 0).any() or (part.ids >= sizes).any():
            raise InvalidInput(f"tokens are out of range for {entry.name}")
        if len(part.grid) != entry.grid_rank or set(part.extent) != set(entry.extent):
            raise InvalidInput(f"tokens have another layout than {entry.name}")
        if any(value < 0 for value in part.extent.values()):
            raise InvalidInput("an extent cannot be negative")

    def _size_tokens(self, part: Tokens, index: int) -> list[int]:
        """Return special tokens for grid and extent: one where that is enough, or none."""
        entry = self.entries[index]
        if entry.grid_rank == 1 and not entry.extent:
            return []  # the end mark tells the length
        if entry.grid_rank == 2 and entry.full_extent(part.grid) == dict(part.extent):
            token = special.grid_token(*part.grid)
            if token is not None:
                return [token]
        integers = [*part.grid, *(part.extent[name] for name in entry.extent)]
        return [special.EXTENT, *special.write_integers(integers), special.EXTENT]

    def _special(self, tokens: list[int]) -> Ids:
        return self._column(np.array(tokens, np.int32) + self.special_at)

    def _column(self, row: Ids) -> Ids:
        out = np.full((self.rows, row.size), self.hole, np.int32)
        out[0] = row
        return out
