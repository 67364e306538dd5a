"""WebDataset's tars: members whose names differ only behind their first dot are one item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from omnicodec.codecs import (
    MODALITIES,
    InvalidInput,
    LimitExceeded,
    OmnicodecError,
    Unavailable,
)
from omnicodec.service.batch.documents import Item, Part, Reject
from omnicodec.service.batch.sources.base import Slice, SourceSpec
from omnicodec.service.batch.sources.files import FilesSource
from omnicodec.service.batch.sources.names import MEMBERS, check_columns, shown
from omnicodec.service.batch.sources.packed import unpacked
from omnicodec.service.batch.sources.storage import Found
from omnicodec.service.batch.sources.tar_members import Member, TarReader

_META: Final = "__"


@dataclass(slots=True)
class _Sample:
    """The members of one key so far."""

    key: str
    offset: int
    nbytes: int = 0
    names: set[str] = field(default_factory=set)
    parts: list[tuple[int, Part]] = field(default_factory=list)
    error: OmnicodecError | None = None


class TarSource(FilesSource):
    """Tars as WebDataset has them, also compressed (.gz, .zst), one slice each.

    A sample's members stand together; its parts are in their order, or that of `columns`, which
    maps what is behind the first dot to modalities. What is never read: links, devices, sparse
    files, absolute names and those with "..": a sample with one of these is a reject. As in
    WebDataset, members whose names have no dot, begin with one, or are like "__name__", are none.
    """

    suffixes = (".tar", ".tar.gz", ".tgz", ".tar.zst")

    def __init__(self, spec: SourceSpec, number: int) -> None:
        super().__init__(spec, number)
        check_columns(spec.columns, frozenset(MODALITIES))
        given = {name.lower().lstrip("."): what for name, what in spec.columns.items()}
        self._given = given
        self._ranks = {name: rank for rank, name in enumerate(given)}

    def cut(self, found: Found, items: int, nbytes: int) -> Iterator[Slice]:
        yield Slice(self.number, found.name, 0, found.nbytes, None, found.nbytes)

    def items(self, piece: Slice) -> Iterator[Item | Reject]:
        done = 0
        try:
            with self.location.open(piece.path) as raw, unpacked(raw, piece.path) as file:
                for one in self._samples(piece.path, TarReader(file)):
                    yield one
                    done += 1
        except Unavailable:
            raise
        except OmnicodecError as e:
            after = f", behind {done:,} items" if done else ""
            yield self.reject(piece.path, "", type(e)(f"{e}{after}"))

    def _samples(self, path: str, tar: TarReader) -> Iterator[Item | Reject]:
        seen: set[str] = set()
        sample: _Sample | None = None
        for member in tar.members():
            key, suffix = _split(member.name)
            if not suffix or (key.startswith(_META) and key.endswith(_META)):
                continue
            if sample is not None and sample.key != key:
                yield self._finished(path, sample, seen)
                sample = None
            if sample is None:
                sample = _Sample(key, member.offset)
            self._add(sample, member, suffix, tar)
        if sample is not None:
            yield self._finished(path, sample, seen)
        tar.check_end()

    def _add(self, sample: _Sample, member: Member, suffix: str, tar: TarReader) -> None:
        modality = (self._given or MEMBERS).get(suffix, "")
        if not modality and not self._given:
            modality = MEMBERS.get(suffix.rpartition(".")[2], "")
        try:
            _check(member)
            if suffix in sample.names:
                raise InvalidInput(f"two members {shown(member.name)!r}")
            sample.names.add(suffix)
            if not modality or sample.error is not None:
                return
            sample.nbytes += member.nbytes
            if self.max_bytes is not None and sample.nbytes > self.max_bytes:
                raise LimitExceeded(
                    f"{sample.nbytes:,} bytes are over the limit of {self.max_bytes:,}"
                )
        except OmnicodecError as e:
            sample.error = sample.error or e
            sample.parts.clear()
            return
        part = Part(modality, tar.data(), shown(member.name))
        sample.parts.append((self._ranks.get(suffix, 0), part))

    def _finished(self, path: str, sample: _Sample, seen: set[str]) -> Item | Reject:
        key = shown(sample.key)
        if sample.key in seen:
            error = InvalidInput(f"the key {key!r} has been in this tar before")
            return self.reject(path, f"@{sample.offset}", error, key)
        seen.add(sample.key)
        if sample.error is None and not sample.parts:
            names = ", ".join(shown(name) for name in sorted(sample.names))
            sample.error = InvalidInput(f"no member is text or media: {names}")
        if sample.error is not None:
            return self.reject(path, f"#{key}", sample.error, key)
        sample.parts.sort(key=lambda pair: pair[0])
        parts = tuple(part for _, part in sample.parts)
        return Item(f"{self.location.shown(path)}#{key}", key, parts)


def _split(name: str) -> tuple[str, str]:
    """Return key and suffix of a member as WebDataset does: at the first dot of its last name."""
    folder, slash, last = name.rpartition("/")
    stem, _, suffix = last.partition(".")
    return (folder + slash + stem, suffix.lower()) if stem else ("", "")


def _check(member: Member) -> None:
    """Raise `InvalidInput` for a member that is not to be read."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\0" in member.name:
        raise InvalidInput(f"the name {shown(member.name)!r} leads out of the tar")
    if member.kind:
        raise InvalidInput(f"{shown(member.name)!r} is {member.kind}, not a file")
