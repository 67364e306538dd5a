"""Texts to measure on: whole files, and documents of one size cut from four domains."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Final

from omnicodec.codecs import InvalidInput, Text
from omnicodec.service.evaluate.data import Source

DOMAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "en_wiki": ("wikitext*",),
    "en_book": ("book_*",),
    "lang": ("bible_*",),
    "code": ("code_*",),
}
"""Patterns of the files that each domain's documents are cut from."""

COUNTS: Final[Mapping[int, int]] = {1 << 10: 40, 1 << 12: 20, 1 << 14: 6}
"""Documents of each domain, by their size in bytes."""


def read(data: Path, count: int | None) -> dict[str, bytes]:
    """Return the first `count` texts of a file, a folder or a .tar shard, by relative name.

    Raises `InvalidInput` when there are none.
    """
    texts: dict[str, bytes] = {}
    for name, text in islice(Source(data, Text, report=print), count):
        assert isinstance(text, Text)
        texts[name] = text.data
    if not texts:
        raise InvalidInput(f"no texts in {str(data)!r}")
    return texts


def documents(files: Mapping[str, bytes], size: int) -> dict[str, list[bytes]]:
    """Return the documents of `size` bytes of each domain that has files as large as that.

    They lie at equal distances in each file and begin with a whole character.
    """
    found: dict[str, list[bytes]] = {}
    for domain, patterns in DOMAINS.items():
        chosen = [
            text
            for name, text in files.items()
            if len(text) >= size and any(fnmatch(name, pattern) for pattern in patterns)
        ]
        each = max(1, COUNTS[size] // max(1, len(chosen)))
        cuts = [_cut(text, size, (i + 0.5) / each) for text in chosen for i in range(each)]
        if cuts:
            found[domain] = cuts
    return found


def _cut(text: bytes, size: int, place: float) -> bytes:
    start = int((len(text) - size) * place)
    while start > 0 and text[start] & 0xC0 == 0x80:
        start -= 1
    return text[start : start + size]
