"""Samples of a data set for its report: what came back, beside what its source has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from omnicodec.codecs import Media, OmnicodecError, Text, Tokens
from omnicodec.service.batch.contents import Contents, Decoders
from omnicodec.service.batch.documents import Item, Part
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.plan import Plan
from omnicodec.service.batch.unpack import Document
from omnicodec.service.opener import Limits, NeedsMore, open_limited

SAMPLES: Final = 6
"""Samples of each kind of item: of pictures, of sounds, of pictures with texts."""

TOTAL: Final = 12
"""Samples in all, while each kind has two."""

KINDS: Final = 8
"""Kinds of items that samples are shown of."""

PARTS: Final = 8
"""Parts of an item that are shown."""

POSITIONS: Final = 1 << 18
"""The longest part that is decoded for a sample, in positions of its codec."""

_LIMITS: Final = Limits(pixels=1 << 27, seconds=600.0, cost=1 << 33)
_SHARDS: Final = 8
_SOURCE_ITEMS: Final = 4096
_SOURCE_BYTES: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class ShownPart:
    """A part of a sample: its tokens, what they stand for, and what its source has now.

    `restored` is None where decoding failed, `why` says why; `original` is None where the
    source does not have it any more, or it is not known where it was. `covers` is the codec's.
    """

    tokens: Tokens
    modality: str
    restored: Media | None
    original: Media | None = None
    why: str = ""
    covers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """A document of a row, with its first parts; `origin` says why there is no original, if so."""

    row: int
    document: Document
    parts: tuple[ShownPart, ...]
    origin: str = ""


@dataclass
class Picker:
    """Chooses documents as they pass: of each kind one from each of `SAMPLES` stretches of rows."""

    rows: int
    modalities: Mapping[str, str]
    _found: dict[tuple[str, ...], dict[int, tuple[int, Document]]] = field(default_factory=dict)

    def see(self, place: int, row: int, document: Document) -> None:
        """Look at a document of the row that is `place`-th of all that are counted."""
        if not document.parts:
            return
        kind = tuple(sorted({self.modalities[part.codec] for part in document.parts}))
        if kind not in self._found and len(self._found) >= KINDS:
            return
        stretch = min(SAMPLES - 1, place * SAMPLES // max(1, self.rows))
        held = self._found.setdefault(kind, {})
        # A whole document is worth more than a piece of one that packing has cut.
        if stretch not in held or (document.whole and not held[stretch][1].whole):
            held[stretch] = (row, document)

    def chosen(self) -> list[tuple[int, Document]]:
        """Return the documents, kind by kind, each with its row: fewer of each, of many kinds."""
        most = max(2, TOTAL // max(1, len(self._found)))
        found = []
        for _, held in sorted(self._found.items()):
            stretches = sorted(held)
            step = max(1, -(-len(stretches) // most))
            found += [held[stretch] for stretch in stretches[::step]]
        return found


def samples(
    contents: Contents, chosen: Iterable[tuple[int, Document]], device: str = "auto"
) -> list[Sample]:
    """Decode these documents, and read their originals again where their sources still are.

    Nothing is raised for what cannot be decoded or read: the samples say so.
    """
    chosen = list(chosen)
    decoders = Decoders(contents, device)
    originals = find_originals(contents, chosen) if contents.keyed else {}
    found = []
    for row, document in chosen:
        origin = "" if row in originals else _why(contents)
        item = originals.get(row)
        media = _aligned(document, item, contents) if item else [None] * len(document.parts)
        shown = tuple(
            _shown(contents, decoders, part, original)
            for part, original in zip(document.parts[:PARTS], media, strict=False)
        )
        found.append(Sample(row, document, shown, origin))
    return found


def _why(contents: Contents) -> str:
    if not contents.keyed:
        return "rows of this data set do not say where they came from"
    return "the original is no longer where it was"


def _shown(
    contents: Contents, decoders: Decoders, tokens: Tokens, original: Media | None
) -> ShownPart:
    modality = contents.manifest.modalities[tokens.codec]
    why = decoders.missing(tokens.codec)
    if not why and len(tokens) > POSITIONS:
        why = f"{len(tokens):,} positions are too many for a sample"
    if why:
        return ShownPart(tokens, modality, None, original, why)
    try:
        covers = decoders.codec(tokens.codec).spec.covers
        return ShownPart(tokens, modality, decoders.decode(tokens), original, covers=covers)
    except OmnicodecError as e:
        return ShownPart(tokens, modality, None, original, str(e))


def find_originals(contents: Contents, chosen: Sequence[tuple[int, Document]]) -> dict[int, Item]:
    """Return the items that these rows were made of, by row, as far as their sources have them.

    At most a few thousand items of a few shards are read for it.
    """
    wanted: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, document in chosen:
        if document.source:
            wanted[contents.shard_of(row)][document.source].append(row)
    found: dict[int, Item] = {}
    try:
        plan = Plan(Folder(contents.folder).plan)
    except OmnicodecError:
        return found
    for shard, positions in sorted(wanted.items())[:_SHARDS]:
        for position, item in _read(contents, plan, shard, set(positions)):
            for row in positions[position]:
                found[row] = item
    return found


def _read(
    contents: Contents, plan: Plan, shard: int, positions: set[str]
) -> list[tuple[str, Item]]:
    """Return the items of a shard that stand at these positions."""
    from omnicodec.service.batch.sources import open_source

    found: list[tuple[str, Item]] = []
    items = nbytes = 0
    try:
        specs = plan.specs(contents.manifest.job)
        for piece in plan[shard]:
            source = open_source(specs[piece.source], piece.source)
            for item in source.read(piece):
                items += 1
                if isinstance(item, Item):
                    nbytes += sum(
                        len(part.data) for part in item.parts if isinstance(part.data, bytes)
                    )
                    if item.position in positions:
                        positions.discard(item.position)
                        found.append((item.position, item))
                if not positions or items > _SOURCE_ITEMS or nbytes > _SOURCE_BYTES:
                    return found
    except (OmnicodecError, OSError, IndexError):
        pass  # the source is gone, or not what it was: the samples say that it is not there
    return found


def _aligned(document: Document, item: Item, contents: Contents) -> list[Media | None]:
    """Return the media of an item for each part of its document.

    They stand in the same order, but a document may have more: the sound of a video.
    """
    modalities = contents.manifest.modalities
    left = list(item.parts)
    media: list[Media | None] = []
    for part in document.parts[:PARTS]:
        modality = modalities[part.codec]
        if not left or left[0].modality != modality:
            media.append(None)
            continue
        original = left.pop(0)
        try:
            media.append(_opened(original))
        except (OmnicodecError, NeedsMore):
            media.append(None)
    return media


def _opened(part: Part) -> Media:
    """Return what is in a part, within limits that a page has; raises `NeedsMore` beyond."""
    if isinstance(part.data, Path) and part.data.is_file():
        _LIMITS.check(units=part.data.stat().st_size)
    data = part.read()
    if part.modality == "text":
        return Text(data)
    return open_limited(data, part.modality, _LIMITS)
