"""A finished data set, opened to be looked at: rows as documents, and codecs to decode them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from pathlib import Path
from types import TracebackType
from typing import Self

from omnicodec.codecs import CorruptStream, Media, OmnicodecError, Tokens, UnknownCodec
from omnicodec.codecs.hub.reference import is_hub_name
from omnicodec.codecs.registry import AnyCodec
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.manifest import Manifest
from omnicodec.service.batch.sinks.base import Row, Rows
from omnicodec.service.batch.unpack import Document, joined


@dataclass
class Contents:
    """The rows of a data set, its manifest and its vocabulary; a context manager."""

    folder: Path
    manifest: Manifest
    vocabulary: Vocabulary
    rows: Rows

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a finished data set.

        Raises `InvalidInput` for a folder that holds none, `CorruptStream` for a damaged one and
        `Unavailable` for a library that is missing.
        """
        from omnicodec.service.batch.sinks import open_sink

        home = Folder(folder)
        manifest = Manifest.load(folder)
        vocabulary = Vocabulary.load(home.vocabulary)
        sink = open_sink(manifest.sink, manifest.facts)
        return cls(folder, manifest, vocabulary, sink.open(home.data, list(manifest.files)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.rows.close()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def packed(self) -> bool:
        """Whether rows are sequences of many documents."""
        return bool(self.manifest.facts["layout"] == "packed")

    @property
    def keyed(self) -> bool:
        """Whether rows have the keys of their items, and say where these came from."""
        return not self.packed and self.manifest.sink not in ("megatron", "torchtitan")

    def walk(
        self,
        rows: Iterable[int],
        *,
        read: Callable[[int], None] = lambda _: None,
        damaged: Callable[[int, CorruptStream], None] | None = None,
    ) -> Iterator[tuple[int, Document]]:
        """Yield the documents of rows, ascending, each with the last row that was read for it.

        Where rows are neighbours, documents that packing has cut come whole. `read` is told of
        each row, `damaged` of those that cannot be read and are passed over; without it
        `CorruptStream` is raised.
        """
        at = 0

        def stored(numbers: Iterable[int]) -> Iterator[Row]:
            nonlocal at
            for at in numbers:
                try:
                    row = self.rows[at]
                except CorruptStream as e:
                    if damaged is None:
                        raise
                    damaged(at, e)
                else:
                    read(at)
                    yield row

        for run in _runs(rows):
            for document in joined(stored(run), self.vocabulary):
                yield at, document

    def shard_of(self, row: int) -> int:
        """Return the shard that a row came from."""
        ends = list(accumulate(shard["rows"] for shard in self.manifest.shards))
        return bisect_right(ends, row)


@dataclass
class Decoders:
    """The codecs of a data set, each opened when its first tokens come."""

    contents: Contents
    device: str = "auto"
    _open: dict[str, AnyCodec] = field(default_factory=dict)

    def decode(self, tokens: Tokens) -> Media:
        """Return what tokens stand for.

        Raises `UnknownCodec` or `FingerprintMismatch` when the codec that made them is not here,
        and what `Codec.decode` raises.
        """
        (media,) = self.codec(tokens.codec).decode([tokens])
        assert isinstance(media, Media)
        return media

    def codec(self, name: str) -> AnyCodec:
        """Return the codec of this name, as the data set was made with it."""
        if name not in self._open:
            choices = self.contents.manifest.job.codecs
            choice = next((choice for choice in choices if choice.name == name), None)
            if choice is None:
                raise UnknownCodec(f"{name} is not a codec of this data set")
            own = choice.path and name == self.contents.vocabulary.entries[0].name
            own = own and not is_hub_name(name)
            # A tokenizer of one's own lies in the folder too, and its path may be another's.
            self._open[name] = (
                self.contents.vocabulary.text_codec() if own else choice.open_named(self.device)
            )
        return self._open[name]

    def open_all(self, names: Iterable[str]) -> None:
        """Open these, so that what is missing is told before any work."""
        for name in names:
            self.codec(name)

    def missing(self, name: str) -> str:
        """Return why the codec of this name cannot decode here; empty when it can."""
        try:
            self.codec(name)
        except OmnicodecError as e:
            return str(e)
        return ""


def _runs(numbers: Iterable[int]) -> Iterator[Iterator[int]]:
    """Yield runs of neighbouring numbers, each to be used up before the next."""
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        yield (number for _, number in run)
