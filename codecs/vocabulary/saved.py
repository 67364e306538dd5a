"""The file `vocabulary.json`.

    {
      "format": "omnicodec.vocabulary.v2",
      "pattern": "flat",
      "patch": 1,
      "size": 34080,                              ids in all
      "special_tokens_start": 256,                which is the number of text ids
      "special_tokens": {"<|pad|>": 256, ...},    but for digits, grids and reserved ones
      "ranges": {"image/vq.0": [1824, 67360]},    ids of each codebook: first, and behind the last
      "codecs": [{"name": "text/bytes", ...}],    `VocabularyEntry` each, text first
      "tokenizer": {"sha256": ..., ...}           `TokenizerFile`, if there is one
    }

Version 1 had neither patches nor tokenizers, and is read as well.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import read_all
from omnicodec.codecs.vocabulary import special
from omnicodec.codecs.vocabulary.entry import VocabularyEntry
from omnicodec.codecs.vocabulary.tokenizer_file import TokenizerFile

if TYPE_CHECKING:
    from omnicodec.codecs.vocabulary.vocabulary import Vocabulary

_OLD: Final = "omnicodec.vocabulary.v1"
_FORMAT: Final = "omnicodec.vocabulary.v2"

Fields = tuple[tuple[VocabularyEntry, ...], str, int, TokenizerFile | None]


def tokenizer_name(name: str) -> str:
    """Return the name of the tokenizer's copy: `vocabulary.tokenizer.json`."""
    return f"{Path(name).stem}.tokenizer.json"


def to_bytes(vocabulary: Vocabulary) -> bytes:
    """Return the content of the file: the same for equal vocabularies."""
    start = vocabulary.special_at
    marks = range(special.MARKS_AT, special.MARKS_AT + 2 * (len(vocabulary.entries) - 1))
    told = [*range(len(special.CONTROL)), *marks]
    ranges = {}
    for entry in vocabulary.entries:
        for book in range(len(entry.codebook_sizes)):
            ids = vocabulary.id_range(entry.name, book)
            ranges[f"{entry.name}.{book}"] = [ids.start, ids.stop]
    content: dict[str, Any] = {
        "format": _FORMAT,
        "pattern": vocabulary.pattern,
        "patch": vocabulary.patch,
        "size": vocabulary.size,
        "special_tokens_start": start,
        "special_tokens": {vocabulary.name_of(start + i): start + i for i in told},
        "ranges": ranges,
        "codecs": [entry.to_json() for entry in vocabulary.entries],
    }
    if vocabulary.tokenizer is not None:
        content["tokenizer"] = vocabulary.tokenizer.to_json()
    return (json.dumps(content, indent=2) + "\n").encode()


def read(path: Path) -> Fields:
    """Return the fields of the vocabulary in a file; raises `InvalidInput` for anything else."""
    data = read_all(path)
    try:
        content = json.loads(data)
        if content["format"] not in (_OLD, _FORMAT):
            raise ValueError(f"unknown format {content['format']!r}")
        entries = tuple(map(VocabularyEntry.from_json, content["codecs"]))
        patch = 1 if content["format"] == _OLD else content["patch"]
        if type(patch) is not int or not isinstance(content["pattern"], str):
            raise TypeError("a member is of another type")
        tokenizer = None
        if content.get("tokenizer") is not None:
            copy = path.with_name(tokenizer_name(path.name))
            tokenizer = TokenizerFile.from_json(
                content["tokenizer"], copy if copy.is_file() else None
            )
        return entries, content["pattern"], patch, tokenizer
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as e:
        raise InvalidInput(f"{str(path)!r} is not a vocabulary: {e}") from e
