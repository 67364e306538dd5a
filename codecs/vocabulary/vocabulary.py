"""The Vocabulary: ranges of ids, and documents as sequences."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import FingerprintMismatch, InvalidInput, UnknownCodec
from omnicodec.codecs.files import atomic_write
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.vocabulary import hugging_face, opening, saved, special
from omnicodec.codecs.vocabulary.entry import VocabularyEntry, check_ids
from omnicodec.codecs.vocabulary.opening import AnySpec
from omnicodec.codecs.vocabulary.patterns import (
    PATTERNS,
    Ids,
    columns_of,
    into_patches,
    lay_out,
)
from omnicodec.codecs.vocabulary.reader import DocumentReader, Recovered
from omnicodec.codecs.vocabulary.tokenizer_file import TokenizerFile

_MAX_PATCH: Final = 1 << 16
_MAX_SIZE: Final = (1 << 31) - 1  # ids are int32

Column = NDArray[np.int32]


@dataclass(frozen=True)
class Vocabulary:
    """Lays several codecs' codebooks side by side in one id space.

    The first entry is the text codec, whose ids come first and unchanged; special tokens
    follow (see `special`), then each codebook of each further codec. `tokenizer` is what is
    known of the `tokenizer.json` that the text ids are from, where they are. Use `build`.
    """

    entries: tuple[VocabularyEntry, ...]
    pattern: str = "flat"
    patch: int = 1
    tokenizer: TokenizerFile | None = None

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise InvalidInput(f"unknown pattern {self.pattern!r}; known: {', '.join(PATTERNS)}")
        if not 1 <= self.patch <= _MAX_PATCH:
            raise InvalidInput(f"patches are made of 1 to {_MAX_PATCH} columns, not {self.patch}")
        names = [entry.name for entry in self.entries]
        if not names or self.entries[0].modality != "text" or len(names) != len(set(names)):
            raise InvalidInput("a vocabulary is one text codec and then others, each once")
        if len(self.entries[0].codebook_sizes) != 1:
            raise InvalidInput("the text codec of a vocabulary has one codebook")
        if not all(e.codebook_sizes and min(e.codebook_sizes) > 0 for e in self.entries):
            raise InvalidInput("a codec of a vocabulary has codebooks, of 1 or more codes each")
        if len(names) > special.MAX_CODECS:
            raise InvalidInput(f"a vocabulary holds at most {special.MAX_CODECS} codecs")
        if self.size > _MAX_SIZE:
            raise InvalidInput(f"a vocabulary of {self.size:,} ids is over {_MAX_SIZE:,}")

    @classmethod
    def build(cls, codecs: Iterable[AnySpec], pattern: str = "flat", patch: int = 1) -> Vocabulary:
        """Return the vocabulary of these codecs, given by name, path, spec or themselves.

        The text codec comes first; `text/bytes` is put there if none is named. A `Path` is what
        `load` opens: that of a `tokenizer.json` makes its ids the text ids, its own special tokens
        among them. `pattern` is "flat", "parallel" or "delay", and `patch` how many neighbouring
        columns become one (see `patterns`). Raises what `load` raises, and `InvalidInput` for a
        codec without ids.
        """
        given = [(opening.spec_of(codec), codec) for codec in codecs]
        given.sort(key=lambda pair: pair[0].modality != "text")
        if not given or given[0][0].modality != "text":
            given.insert(0, (opening.spec_of("text/bytes"), "text/bytes"))
        entries = tuple(VocabularyEntry.of(spec) for spec, _ in given)
        return cls(entries, pattern, patch, opening.tokenizer_of(given[0][1]))

    def extend(self, codec: AnySpec) -> Vocabulary:
        """Return this vocabulary with one more codec at the end; no id changes."""
        entry = VocabularyEntry.of(opening.spec_of(codec))
        return replace(self, entries=(*self.entries, entry))

    @cached_property
    def size(self) -> int:
        """Number of ids in all: of text, special tokens, and codes."""
        codes = sum(sum(entry.codebook_sizes) for entry in self.entries[1:])
        return self.special_at + special.COUNT + codes

    @cached_property
    def rows(self) -> int:
        """Rows of a packed sequence: those of the pattern, times the columns of a patch.

        If flat these are 1, else the most codebooks of any codec.
        """
        return self._lanes * self.patch

    @cached_property
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
        """The id of each special token by name.

        Where the text's tokenizer has tokens of such names, these here have others:
        `<|omni:image|>`. The tokenizer's own are in `tokenizer.added_tokens`.
        """
        return {name: self.special_at + i for i, name in enumerate(self._special_names)}

    @cached_property
    def unused(self) -> NDArray[np.bool_] | None:
        """Which text ids stand for nothing, bool `(special_at,)`; None if all mean something."""
        if self.tokenizer is None or not self.tokenizer.gaps:
            return None
        return self.tokenizer.unused(self.special_at)

    def is_unused(self, token: int) -> bool:
        """Return whether a text id stands for nothing."""
        return self.unused is not None and bool(self.unused[token])

    def id_range(self, codec: str, codebook: int = 0) -> range:
        """Return the ids of one codebook; raises `UnknownCodec` or `InvalidInput`."""
        index = self.index(codec)
        sizes = self.entries[index].codebook_sizes
        if not 0 <= codebook < len(sizes):
            raise InvalidInput(f"{codec} has codebooks 0 to {len(sizes) - 1}, not {codebook}")
        start = self._starts[index][codebook]
        return range(start, start + sizes[codebook])

    def code_ranges(self, index: int) -> tuple[Column, Column]:
        """Return where the codebooks of an entry start and stop, int32 `(K, 1)` each."""
        return self._ranges[index]

    def index(self, codec: str) -> int:
        """Return the place of a codec among the entries."""
        try:
            return self._indexes[codec]
        except KeyError:
            raise UnknownCodec(f"{codec} is not in this vocabulary") from None

    def pack(self, parts: Sequence[Tokens], *, bos: bool = False, eos: bool = False) -> Ids:
        """Return a document as ids: int32 of shape `(L,)` if flat, else `(rows, L)`.

        Text stands as it is; any other part is its begin mark, its size, its codes and its
        end mark. In patches of k it is `(rows, ceil(L / k))`, and `pad` in every row fills the
        last one. Raises `UnknownCodec`, `FingerprintMismatch` or `InvalidInput` for parts
        that this vocabulary does not hold, real-valued ones among them.
        """
        check_ids(parts)
        if self._is_plain and len(parts) == 1 and self.index(parts[0].codec) == 0:
            return self._text_alone(self._text_row(parts[0]), bos, eos)
        columns = [self._special([special.BOS])] if bos else []
        after_text = False
        for part in parts:
            index = self.index(part.codec)
            if index == 0:
                row = self._text_row(part)
                # A mark only where two texts would run together, or for an empty one.
                if after_text or row.size == 0:
                    columns.append(self._special([special.TEXT]))
                columns.append(self._columns(row))
            else:
                self._check(part, index)
                entry = self.entries[index]
                mark = special.MARKS_AT + 2 * (index - 1)
                columns.append(self._special([mark, *entry.size_tokens(part)]))
                codes = part.ids + self._ranges[index][0]
                columns.append(lay_out(codes, self.pattern, self._lanes, self.hole))
                columns.append(self._special([mark + 1]))
            after_text = index == 0
        if eos:
            columns.append(self._special([special.EOS]))
        packed = np.concatenate([np.empty((self._lanes, 0), np.int32), *columns], axis=1)
        if self.patch > 1:
            return into_patches(packed, self.patch, self.pad)
        return packed[0] if self._is_plain else packed

    def unpack(self, ids: Any) -> list[Tokens]:
        """Return the parts of a document; the inverse of `pack`, with or without bos and eos.

        Raises `InvalidInput` with the position of the first id that cannot stand there: a
        language model may generate anything. Positions count columns, those of patches one by
        one. Rows that are missing are holes, as in documents that were packed before a codec with
        more codebooks was added. Sizes are not compared with what the codec makes of them: its
        `decode` does that.
        """
        columns = self._document(ids)
        if self._is_text(columns):
            entry = self.entries[0]
            text = columns.astype(np.int32)
            return [Tokens(entry.name, entry.fingerprint, text, (text.shape[1],))]
        return DocumentReader(self, columns).read()

    def recover(self, ids: Any) -> Recovered:
        """Return all that is well-formed in a document, and where and why the rest is not.

        There are problems if and only if `unpack` raises, and the first one is what it says.
        Behind a broken part reading goes on at its end mark, if no other mark stands before that,
        or else at the next text or begin mark. Raises `InvalidInput` only for what is no array of
        integers with the rows of a document.
        """
        return DocumentReader(self, self._document(ids)).recover()

    def name_of(self, token: int) -> str:
        """Return a readable name of an id: `<|image|>`, `text/bytes:65`, `image/vq.0:512`."""
        if self.special_at <= token < self.special_at + special.COUNT:
            return self._special_names[token - self.special_at]
        if token in self._tokenizer_names:
            return self._tokenizer_names[token]
        for entry, starts in zip(self.entries, self._starts, strict=True):
            for book, (start, size) in enumerate(zip(starts, entry.codebook_sizes, strict=True)):
                if start <= token < start + size:
                    dot = f".{book}" if len(starts) > 1 else ""
                    return f"{entry.name}{dot}:{token - start}"
        raise InvalidInput(f"id {token} is not in 0..{self.size - 1}")

    def names(self) -> Iterator[str]:
        """Yield what tokenizers call each id from `special_at` on, in order: `<|image/vq:512|>`."""
        yield from self._special_names
        for entry, starts in zip(self.entries[1:], self._starts[1:], strict=True):
            for book, size in enumerate(entry.codebook_sizes):
                dot = f".{book}" if len(starts) > 1 else ""
                for code in range(size):
                    yield special.free_name(f"<|{entry.name}{dot}:{code}|>", self._taken)

    def text_codec(self) -> AnyCodec:
        """Return the codec of the text ids: the one that is shipped, or of the `tokenizer.json`.

        Raises `FingerprintMismatch` when another is shipped here, `UnknownCodec` for a published
        one that is not open, and `InvalidInput` when the `tokenizer.json` is not there any more.
        """
        return self._text_codec

    def files(self, name: str = "vocabulary.json") -> dict[str, bytes]:
        """Return what `save` writes, by file name; the same bytes for equal vocabularies.

        These are `vocabulary.json` and, where the text ids are those of a `tokenizer.json`, a copy
        of it, `vocabulary.tokenizer.json`.
        """
        out = {name: saved.to_bytes(self)}
        if self.tokenizer is not None and self.tokenizer.source is not None:
            out[saved.tokenizer_name(name)] = self.tokenizer.read()
        return out

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `files` to a folder, or `vocabulary.json` to that path and the other beside it.

        Each is written atomically, and `vocabulary.json` last.
        """
        target = Path(path)
        if target.is_dir():
            target /= "vocabulary.json"
        for name, data in reversed(self.files(target.name).items()):
            atomic_write(target.with_name(name), data)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read what `save` wrote; raises `InvalidInput` for anything else.

        The copy of a `tokenizer.json` need not be there but for `text_codec` and `to_hf`.
        """
        source = Path(path)
        return cls(*saved.read(source / "vocabulary.json" if source.is_dir() else source))

    def to_hf(self, folder: str | os.PathLike[str]) -> None:
        """Write a fast tokenizer that `transformers.AutoTokenizer.from_pretrained` opens.

        Its ids are those of this vocabulary: text is tokenized as `text_codec` does, and every
        other id is a special token named as in `names`. `files` stand beside it. Raises
        `InvalidInput` where the text ids are not those of a tokenizer (`text/info`).
        """
        hugging_face.write(self, Path(folder))

    @cached_property
    def _text_codec(self) -> AnyCodec:
        return opening.text_codec(self.entries[0], self.tokenizer)

    @cached_property
    def _lanes(self) -> int:
        if self.pattern == "flat":
            return 1
        return max(len(entry.codebook_sizes) for entry in self.entries)

    @cached_property
    def _is_plain(self) -> bool:
        """Whether a document is one row, of shape `(L,)`."""
        return self.pattern == "flat" and self.patch == 1

    @cached_property
    def _taken(self) -> frozenset[str]:
        return self.tokenizer.names if self.tokenizer is not None else frozenset()

    @cached_property
    def _tokenizer_names(self) -> dict[int, str]:
        tokens = self.tokenizer.added_tokens if self.tokenizer is not None else {}
        return {token: name for name, token in tokens.items()}

    @cached_property
    def _special_names(self) -> tuple[str, ...]:
        marks = special.mark_names((entry.name, entry.modality) for entry in self.entries[1:])
        return tuple(special.free_name(name, self._taken) for name in special.names(marks))

    @cached_property
    def _indexes(self) -> dict[str, int]:
        return {entry.name: index for index, entry in enumerate(self.entries)}

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

    @cached_property
    def _ranges(self) -> tuple[tuple[Column, Column], ...]:
        starts = [np.array(own, np.int32)[:, None] for own in self._starts]
        sizes = [np.array(entry.codebook_sizes, np.int32)[:, None] for entry in self.entries]
        return tuple((at, at + size) for at, size in zip(starts, sizes, strict=True))

    def _document(self, ids: Any) -> NDArray[np.integer]:
        """Return the columns of a document, `(lanes, L)`, of any values."""
        return columns_of(np.asarray(ids), self._lanes, self.patch, pad=self.pad, hole=self.hole)

    def _is_text(self, columns: NDArray[np.integer]) -> bool:
        """Return whether this is text alone, as far as that is seen at once."""
        if not (self._is_plain and columns.size and self.unused is None):
            return False
        return bool(columns.min() >= 0 and columns.max() < self.special_at)

    def _text_row(self, part: Tokens) -> Ids:
        """Return the ids of a part of text, `(N,)`, which stand as they are."""
        self._check(part, 0)
        row: Ids = part.ids[0]
        if self.unused is not None and self.unused[row].any():
            at = int(self.unused[row].argmax())
            raise InvalidInput(f"token {row[at]} at position {at} is no piece of {part.codec}")
        return row

    def _text_alone(self, row: Ids, bos: bool, eos: bool) -> Ids:
        # Millions of texts are packed one by one, so that this is hardly more than a copy.
        if not row.size:  # an empty text has a mark
            row = np.array([self.special_at + special.TEXT], np.int32)
        out = np.empty(row.size + bos + eos, np.int32)
        out[int(bos) : row.size + bos] = row
        if bos:
            out[0] = self.special_at + special.BOS
        if eos:
            out[-1] = self.special_at + special.EOS
        return out

    def _check(self, part: Tokens, index: int) -> None:
        entry = self.entries[index]
        if part.fingerprint != entry.fingerprint:
            raise FingerprintMismatch(
                f"tokens were made by {part.codec} {part.fingerprint}, "
                f"this vocabulary holds {entry.fingerprint}"
            )
        sizes = entry.codebook_sizes
        # Seen as unsigned, a negative id is too large as well. Codebooks of one size are one.
        ids = part.ids.view(np.uint32)
        if ids.shape[0] == len(sizes) == 1:
            wrong = bool(ids.size) and int(ids.max()) >= sizes[0]
        else:
            wrong = ids.shape[0] != len(sizes) or bool(
                (ids >= np.array(sizes, np.uint32)[:, None]).any()
            )
        if wrong:
            raise InvalidInput(f"tokens are out of range for {entry.name}")
        if len(part.grid) != entry.grid_rank or len(part.extent) != len(entry.extent):
            raise InvalidInput(f"tokens have another layout than {entry.name}")
        if entry.extent:
            entry.check_size(part)

    def _special(self, tokens: list[int]) -> Ids:
        return self._columns(np.array(tokens, np.int32) + self.special_at)

    def _columns(self, row: Ids) -> Ids:
        if self._lanes == 1:
            return row[None]
        out = np.full((self._lanes, row.size), self.hole, np.int32)
        out[0] = row
        return out
