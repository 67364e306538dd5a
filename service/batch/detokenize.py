"""Rows of a data set back as files of media, for people to look at."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path, PurePosixPath
from typing import IO, Final
from urllib.parse import quote

from omnicodec.codecs import (
    MODALITIES,
    Audio,
    Image,
    InvalidInput,
    Media,
    OmnicodecError,
    Text,
    Video,
)
from omnicodec.codecs.files import atomic_file, atomic_write
from omnicodec.service.batch.contents import Contents, Decoders
from omnicodec.service.batch.unpack import Document

INDEX: Final = "index.html"
"""The page that shows all that was written, in its order."""

_EXCERPT: Final = 2000
"""Characters of a text that the page shows."""

_NAME_BYTES: Final = 150
_UNSAFE: Final = frozenset('/\\:*?"<>|')

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
section { margin: 1.2rem 0; padding-top: .6rem; border-top: 1px solid #8884; }
section > p:first-child { margin: 0 0 .4rem; } .soft { opacity: .75; font-size: .9rem; }
img, video { max-width: min(100%, 32rem); height: auto; display: block; margin: .3rem 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; }
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one document: its files, relative to the folder, or what was wrong."""

    row: int
    name: str
    files: tuple[str, ...]
    problems: tuple[str, ...] = ()


@dataclass
class Outcome:
    """How much was written: documents, files, and pieces that packing had cut."""

    rows: int = 0
    documents: int = 0
    files: int = 0
    cut: int = 0
    problems: list[str] = field(default_factory=list)
    """The first hundred things that were not as they should be, each with its place."""

    def tell(self, written: Written, document: Document) -> None:
        """Count a document."""
        self.documents += 1
        self.files += len(written.files)
        self.cut += not document.whole
        for problem in written.problems:
            if len(self.problems) < 100:
                self.problems.append(f"{written.name}: {problem}")


def choose_rows(
    total: int, *, items: slice | None = None, count: int | None = None, seed: int = 0
) -> Sequence[int]:
    """Return the numbers of rows, ascending: those of `items`, or `count` of them by chance.

    The same seed chooses the same rows. Raises `InvalidInput` when there are none among `items`.
    """
    among = range(total)[items] if items is not None else range(total)
    if items is not None and not among:
        raise InvalidInput(f"none of these are among its {total:,} rows, from 0 on")
    if count is None or count >= len(among):
        return among
    return sorted(random.Random(seed).sample(among, count))


def detokenize(
    contents: Contents,
    out: Path,
    rows: Iterable[int],
    *,
    key: str | None = None,
    device: str = "auto",
    watch: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Write the documents of these rows as files into `out`, a folder that is new or empty.

    A document of one part is a file, one of several a folder of them, numbered from 0001; all are
    named after their keys, or numbered where the data set has no keys. `index.html` shows them in
    order. Only documents with `key` are taken, if one is given. `watch` is told how many rows are
    done.

    Raises `InvalidInput` when the folder is not empty, when there is no such key, or when keys
    were packed away, and `UnknownCodec` or `FingerprintMismatch` when a codec of the data set is
    not here: all before anything is written. What cannot be decoded is told in `Outcome.problems`.
    """
    if key is not None and not contents.keyed:
        raise InvalidInput("this data set keeps no keys: it is packed, or its format has no place")
    decoders = Decoders(contents, device)
    codecs = contents.manifest.codecs
    decoders.open_all(name for name, counts in codecs.items() if counts["parts"])
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise InvalidInput(f"{str(out)!r} is not empty")
    except OSError as e:
        raise InvalidInput(f"cannot write into {str(out)!r}: {e.strerror}") from e
    outcome = Outcome()
    with atomic_file(out / INDEX) as page:
        page.write(_head(contents).encode())

        def read(_: int) -> None:
            outcome.rows += 1
            watch(outcome.rows)

        for row, document in contents.walk(rows, read=read):
            if key is None or document.key == key:
                place = outcome.documents if contents.packed else row
                outcome.tell(_write(out, row, place, document, decoders, page), document)
        if key is not None and not outcome.documents:
            raise InvalidInput(f"there is no item with the key {key!r}")
        page.write(b"</body>\n</html>\n")
    return outcome


def safe_name(key: str) -> str:
    """Return a key as the name of a file without its ending, whatever the key is.

    Keys come from anywhere: separators become "_", as does what is not printable, nothing is
    hidden, and the name is short. An ending of media goes, since the file gets its own.
    """
    endings = {suffix for media in MODALITIES.values() for suffix in media.suffixes}
    name = key
    if (suffix := PurePosixPath(key).suffix.lower()) in endings:
        name = key[: -len(suffix)]
    name = "".join(c if c.isprintable() and c not in _UNSAFE else "_" for c in name)
    name = name.lstrip(".").strip()
    name = name.encode("utf-8", "replace")[:_NAME_BYTES].decode("utf-8", "ignore").strip()
    return name or "item"


def _write(
    out: Path, row: int, place: int, document: Document, decoders: Decoders, page: IO[bytes]
) -> Written:
    """Write one document, the `place`-th, and what the page shows of it."""
    number = f"{place:08d}"
    base = safe_name(document.key) if document.key else f"document-{number}"
    several = len(document.parts) > 1
    name = _free(out, base, number) if several else base
    files: list[str] = []
    problems = list(document.problems)
    shown: list[str] = []
    for nth, part in enumerate(document.parts, 1):
        try:
            media = decoders.decode(part)
            ending = media.suffixes[0]
            if several:
                file = f"{name}/{nth:04d}{ending}"
                (out / name).mkdir(exist_ok=True)
            else:
                file = _free(out, base, number, ending)
            atomic_write(out / file, media.to_bytes(ending))
        except OmnicodecError as e:
            problems.append(f"part {nth}: {e}")
        else:
            files.append(file)
            shown.append(_shown(file, media))
    _show(page, document, name, row, problems, shown)
    return Written(row, document.key or name, tuple(files), tuple(problems))


def _free(out: Path, base: str, number: str, ending: str = "") -> str:
    """Return a name that nothing has yet; keys may be equal, or differ in case alone."""
    name, tried = f"{base}{ending}", 0
    while os.path.lexists(out / name) or name.casefold() == INDEX:
        tried += 1
        name = f"{base}-{number}{'-' + str(tried) if tried > 1 else ''}{ending}"
    return name


def _head(contents: Contents) -> str:
    title = escape(contents.folder.resolve().name)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )


def _show(
    page: IO[bytes],
    document: Document,
    name: str,
    row: int,
    problems: Sequence[str],
    shown: Sequence[str],
) -> None:
    where = f"row {row:,}" + (f", {document.source}" if document.source else "")
    cut = "" if document.whole else ", cut by packing"
    told = "".join(f'<p class="soft">{escape(problem)}</p>' for problem in problems)
    page.write(
        f'<section><p>{escape(document.key or name)} <span class="soft">{escape(where)}{cut}'
        "</span></p>\n{}\n{}</section>\n".format("\n".join(shown), told).encode(
            "utf-8", "backslashreplace"
        )
    )


def _shown(file: str, media: Media) -> str:
    """Return a file as the page shows it."""
    address = escape(quote(file))
    if isinstance(media, Text):
        text = str(media)
        more = f'\n<a href="{address}">...</a>' if len(text) > _EXCERPT else ""
        return f"<pre>{escape(text[:_EXCERPT])}{more}</pre>"
    if isinstance(media, Image):
        return f'<img loading="lazy" src="{address}" alt="">'
    if isinstance(media, Audio):
        return f'<audio controls preload="none" src="{address}"></audio>'
    if isinstance(media, Video):
        return f'<video controls muted preload="none" src="{address}"></video>'
    return f'<a href="{address}">{escape(file)}</a>'
