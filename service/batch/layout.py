"""The layout of a data set: what becomes of an item's tokens before a sink writes them.

It is a pure step that can be undone (`unpack`), so a data set that keeps raw tokens can be laid
out in any way later, and its facts in the manifest say how a data set is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omnicodec.codecs import InvalidInput, Tokens
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.packing import Packer, open_packer
from omnicodec.service.batch.sinks.base import (
    LAYOUTS,
    DocumentRow,
    Ids,
    PackedRow,
    RawRow,
    Row,
)
from omnicodec.service.batch.tasks import token_count


class Layout:
    """Items in, rows out; one for each shard, since packing holds documents back.

    `layout` is one of `LAYOUTS`. Packed sequences are `length` positions long, packed as `packing`
    says (one of `packing.PACKINGS`). Documents begin with `<|bos|>` and end with `<|eos|>` as told.
    Raises `InvalidInput` for arguments that are none.

    `soft` is `Job.soft`. `row_count` and `token_count` are of the rows given so far: tokens of raw
    parts as `token_count` has them, ids of documents, ids of packed sequences without padding.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: str,
        *,
        length: int = 0,
        packing: str = "best-fit",
        bos: bool = False,
        eos: bool = True,
        soft: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        if layout not in LAYOUTS:
            raise InvalidInput(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
        self.vocabulary, self.layout, self.bos, self.eos = vocabulary, layout, bos, eos
        self.length = length if layout == "packed" else 0
        self.packing = packing if layout == "packed" else ""
        self.soft = soft or {}
        self._packer: Packer | None = None
        if layout == "packed":
            self._packer = open_packer(packing, length, vocabulary.rows, vocabulary.pad)
        self.row_count = self.token_count = 0

    @classmethod
    def of(cls, job: Job, vocabulary: Vocabulary) -> Layout:
        """Return the layout that a job asks for."""
        return cls(
            vocabulary,
            job.layout,
            length=job.length,
            packing=job.packing,
            bos=job.bos,
            eos=job.eos,
            soft=job.soft,
        )

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], vocabulary: Vocabulary) -> Layout:
        """Return the layout that a manifest's facts tell of."""
        names = ("length", "packing", "bos", "eos")
        return cls(vocabulary, facts["layout"], **{name: facts[name] for name in names})

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says of it, for trainers that know nothing of omnicodec.

        `rows` and `size` are of the vocabulary, `pad` is its padding id, `special` names the ids
        that stand outside of parts. `soft` is there where codecs give real values.
        """
        vocabulary = self.vocabulary
        special = vocabulary.special_tokens
        return {
            "layout": self.layout,
            "length": self.length,
            "packing": self.packing,
            "bos": self.bos,
            "eos": self.eos,
            "pattern": vocabulary.pattern,
            "patch": vocabulary.patch,
            "rows": vocabulary.rows,
            "size": vocabulary.size,
            "pad": vocabulary.pad,
            "special": {name: special[f"<|{name}|>"] for name in ("pad", "bos", "eos", "hole")},
            **({"soft": self.soft} if self.soft else {}),
        }

    @property
    def figures(self) -> dict[str, int]:
        """What `packing.Figures` counts; empty for other layouts."""
        return self._packer.figures.to_json() if self._packer else {}

    def document(self, tokens: Sequence[Tokens]) -> Ids:
        """Return an item as a document, `(rows, N)`; raises what `Vocabulary.pack` does."""
        ids = self.vocabulary.pack(tokens, bos=self.bos, eos=self.eos)
        return ids.reshape(1, -1) if ids.ndim == 1 else ids

    def rows(self, key: str, source: str, tokens: Sequence[Tokens]) -> Iterable[Row]:
        """Return the rows that are ready with this item: one, or any number if packed.

        Raises what `Vocabulary.pack` does for tokens that it does not hold; nothing has changed
        then.
        """
        if self.layout == "raw":
            self.row_count += 1
            self.token_count += sum(map(token_count, tokens))
            return (RawRow(_plain(key), _plain(source), tuple(tokens)),)
        ids = self.document(tokens)
        self.token_count += ids.size
        if self._packer is None:
            self.row_count += 1
            return (DocumentRow(_plain(key), _plain(source), ids),)
        return self._counted(self._packer.add(ids))

    def flush(self) -> Iterable[Row]:
        """Return the rows that packing has held back, at the end of a shard."""
        return self._counted(self._packer.flush()) if self._packer else ()

    def _counted(self, rows: list[PackedRow]) -> list[PackedRow]:
        self.row_count += len(rows)
        return rows


def _plain(text: str) -> str:
    """Return what UTF-8 can hold of a name: bytes of file names that are none are spelt out."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()
