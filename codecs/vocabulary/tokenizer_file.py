"""A `tokenizer.json` whose ids are the text ids of a vocabulary: its facts, and its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import read_all

if TYPE_CHECKING:
    from omnicodec.codecs.text.bpe import BPECodec


@dataclass(frozen=True, kw_only=True)
class TokenizerFile:
    """What a vocabulary keeps of a `tokenizer.json`: enough to pack and unpack without it.

    `gaps` are the ranges of ids, `(start, stop)`, below its largest that stand for nothing.
    `added_tokens` has the ids of its own special and added tokens, `taken` the other pieces that
    are written like ours (`<|...|>`). The content is in `source`, or in the file that it names.
    """

    sha256: str
    gaps: tuple[tuple[int, int], ...] = ()
    added_tokens: Mapping[str, int] = field(default_factory=dict)
    taken: tuple[str, ...] = ()
    source: bytes | Path | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, codec: BPECodec, content: bytes | None = None) -> TokenizerFile:
        """Return the facts of a codec; `content` is its file's, if it has one."""
        data = codec.to_json() if content is None else content
        # As the library has them, which gives the last word on the ids of added tokens.
        listed = json.loads(codec.to_json()).get("added_tokens") or []
        added = {token["content"]: codec.pieces[token["content"]] for token in listed}
        ours = (p for p in codec.pieces if p.startswith("<|") and p.endswith("|>"))
        return cls(
            sha256=hashlib.sha256(data).hexdigest(),
            gaps=_gaps(np.fromiter(codec.pieces.values(), np.int64), codec.spec.codebook_sizes[0]),
            added_tokens=dict(sorted(added.items(), key=lambda item: item[1])),
            taken=tuple(sorted(p for p in ours if p not in added)),
            source=data,
        )

    @property
    def names(self) -> frozenset[str]:
        """The names that special tokens of a vocabulary cannot have any more."""
        return frozenset(self.added_tokens) | frozenset(self.taken)

    def unused(self, size: int) -> NDArray[np.bool_]:
        """Return which of the ids 0 to `size - 1` stand for nothing, bool `(size,)`."""
        out = np.zeros(size, np.bool_)
        for start, stop in self.gaps:
            out[start:stop] = True
        return out

    def read(self) -> bytes:
        """Return the content; raises `InvalidInput` when it is not there or another."""
        if self.source is None:
            raise InvalidInput(
                "the tokenizer.json of this vocabulary is not beside it (sha256 "
                f"{self.sha256[:16]})"
            )
        data = read_all(self.source)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise InvalidInput(f"{str(self.source)!r} is not the tokenizer of this vocabulary")
        return data

    def to_json(self) -> dict[str, Any]:
        return {
            "sha256": self.sha256,
            "gaps": [list(gap) for gap in self.gaps],
            "added_tokens": dict(self.added_tokens),
            "taken": list(self.taken),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], source: Path | None) -> TokenizerFile:
        """Return what `to_json` wrote; raises `KeyError`, `TypeError` or `ValueError`."""
        return cls(
            sha256=str(value["sha256"]),
            gaps=tuple((int(start), int(stop)) for start, stop in value["gaps"]),
            added_tokens={str(name): int(i) for name, i in value["added_tokens"].items()},
            taken=tuple(map(str, value["taken"])),
            source=source,
        )


def _gaps(used: NDArray[np.int64], size: int) -> tuple[tuple[int, int], ...]:
    free = np.ones(size + 2, np.bool_)
    free[[0, size + 1]] = False
    free[used + 1] = False
    edges = np.flatnonzero(free[1:] != free[:-1])
    return tuple((int(start), int(stop)) for start, stop in edges.reshape(-1, 2))
