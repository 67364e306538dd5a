"""`text/bpe`: byte-level BPE on the `tokenizers` library, and any `tokenizer.json`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.codec import CodecSpec, Mask, Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import Source, atomic_write, read_all
from omnicodec.codecs.limits import MAX_POSITIONS, MAX_TEXT_BYTES, check_count
from omnicodec.codecs.media import Media, Text
from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.registry import register
from omnicodec.codecs.shipped_codec import ShippedCodec
from omnicodec.codecs.text import _tokenizer_json as tokenizer_json
from omnicodec.codecs.text._tokenizer_json import Content
from omnicodec.codecs.text._utf8 import pieces, segments
from omnicodec.codecs.threads import in_order
from omnicodec.codecs.tokens import Tokens
from omnicodec.models import weights

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME: Final = "text/bpe"

METHODS: Final = ("bpe", "lbpe")

MAX_VOCABULARY: Final = 1 << 21
"""Ids of a vocabulary that can be opened."""

# Characters that the engine is given at once. It keeps some hundred bytes for each token until
# they are read; with few of them at a time, that memory is used again and again, which is half
# as fast again as one large batch.
_AT_ONCE: Final = 1 << 14

# Ids that are decoded at once, as a list of integers takes 20 times the memory.
_DECODED_AT_ONCE: Final = 1 << 20


Group = list[tuple[int, str | bytes]]
Trained = tuple[Content, CodecSpec, StaticPrior]


@register(NAME)
class BPECodec(ShippedCodec[Text]):
    """Any bytes as tokens of a vocabulary of byte sequences.

    Merges follow one another by rank ("bpe"), or long tokens go first ("lbpe"); both are
    decoded alike. Bytes that are not UTF-8 become tokens of one byte. What looks like a
    special token in a text is text. Tokens of another vocabulary come from `from_file`.
    """

    name: ClassVar[str] = NAME
    media_type: ClassVar[type[Media]] = Text
    on_device: ClassVar[bool] = False
    batched: ClassVar[bool] = True
    chunk_positions: ClassVar[int] = 1 << 14

    def __init__(
        self, content: Content, engine: Tokenizer, spec: CodecSpec, prior: StaticPrior
    ) -> None:
        self.spec = spec
        self.prior = prior
        self._content = content
        self._engine = engine
        self._vocabulary = engine.get_vocab(with_added_tokens=True)
        self._taken = np.zeros(spec.codebook_sizes[0], np.bool_)
        self._taken[list(self._vocabulary.values())] = True
        # A text may be cut into pieces for the engine only where this vocabulary cuts anyway.
        self._has_our_gaps = _is_cut_as_ours(content)

    @classmethod
    def _read(cls, folder: Path) -> Trained:
        shipped = weights.read_folder(folder)
        config = shipped.config
        content = tokenizer_json.from_merges(shipped.tensors["merges"], config["pattern"])
        prior = StaticPrior.from_tables(shipped.prior)
        spec = _spec(
            content,
            version=config["version"],
            size=len(content["model"]["vocab"]),
            prior=prior,
            covers={"bytes": config["bytes_per_token"]},
            weight_bytes=shipped.nbytes,
        )
        return content, spec, prior

    @classmethod
    def _spec_of(cls, shipped: Trained) -> CodecSpec:
        return shipped[1]

    @classmethod
    def _build(cls, shipped: Trained, device: str) -> Self:
        content, spec, prior = shipped
        return cls(content, _engine(content), spec, prior)

    @classmethod
    def from_file(cls, source: Source, *, lbpe: bool = False) -> Self:
        """Return the codec of a `tokenizer.json`, given as path, bytes or open file.

        Ids are those that `tokenizers` gives without special tokens around them. A
        tokenizer that changes the text (normalizers, unknown tokens, words without the
        space between them) is not lossless, which `spec.lossless` says: then text comes
        back as the tokenizer's own decoder has it. Its prior knows nothing, and streams and
        tokens are read only by this vocabulary. With `lbpe`, long tokens go first when no
        method is named. Raises `InvalidInput` for a file that cannot be used.
        """
        content = tokenizer_json.parse(read_all(source))
        engine = _engine(content)
        size = max(engine.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        if not 1 < size <= MAX_VOCABULARY:
            raise InvalidInput(f"a vocabulary of {size:,} ids is not in 2..{MAX_VOCABULARY:,}")
        prior = StaticPrior.train([[np.zeros(size, np.int64)]])
        spec = _spec(content, version=0, size=size, prior=prior, lbpe=lbpe)
        if lbpe and not spec.methods:
            raise InvalidInput("long tokens can go first in byte-level BPE only")
        return cls(content, engine, spec, prior)

    @property
    def pieces(self) -> Mapping[str, int]:
        """The id of each piece, as the vocabulary spells it; added tokens are among them."""
        return self._vocabulary

    def to_json(self) -> bytes:
        """Return the vocabulary as a `tokenizer.json`, which Hugging Face libraries open."""
        return self._engine.to_str().encode()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `to_json` to a file, atomically."""
        atomic_write(path, self.to_json())

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        check_count(positions, MAX_POSITIONS, "tokens")
        return (positions,)

    def check(self, tokens: Tokens) -> None:
        super().check(tokens)
        if not self._taken.all():
            row = tokens.ids[0]
            wrong = np.flatnonzero(~self._taken[row])
            if wrong.size:
                raise InvalidInput(
                    f"token {int(row[wrong[0]])} at position {int(wrong[0])} stands for nothing "
                    f"in this vocabulary"
                )

    def _encode(self, item: Text, settings: Settings) -> Tokens:
        return self._encode_all([item], settings)[0]

    def _encode_all(self, items: Sequence[Text], settings: Settings) -> list[Tokens]:
        """Return the tokens of each item; the engine's threads share all of them."""
        method = settings.method or (self.spec.methods or METHODS)[0]
        engine = self._long_engine if method == "lbpe" else self._engine
        rows: list[list[NDArray[np.int32]]] = [[] for _ in items]
        small = sum(len(item.data) for item in items) <= _AT_ONCE
        # While the engine, which releases the GIL, is at a group, the last one becomes arrays.
        groups = self._groups(items)
        for group, found in in_order(lambda g: _run(engine, g), groups, parallel=not small):
            for row, ids in self._lists(group, found).items():
                rows[row].append(np.fromiter(ids, np.int32, len(ids)))
        return [self._tokens(parts) for parts in rows]

    def _groups(self, items: Sequence[Text]) -> Iterator[Group]:
        """Yield pieces of all items, each with its item's number, a group at a time."""
        group: Group = []
        characters = 0
        for row, item in enumerate(items):
            for piece in self._pieces(item.data):
                group.append((row, piece))
                characters += len(piece)
                if characters > _AT_ONCE:
                    yield group
                    group, characters = [], 0
        yield group

    def _lists(self, group: Group, found: Iterator[list[int]]) -> dict[int, list[int]]:
        """Return the ids of a group by item; `found` has those of the pieces that are str."""
        lists: dict[int, list[int]] = {}
        for row, piece in group:
            if isinstance(piece, str):
                ids = next(found)
            else:
                ids = [*map(self._byte_ids.__getitem__, piece)]
            if row in lists:
                lists[row] += ids
            else:
                lists[row] = ids
        return lists

    def _tokens(self, parts: list[NDArray[np.int32]]) -> Tokens:
        row = parts[0] if len(parts) == 1 else np.concatenate([_NONE, *parts])
        return Tokens(NAME, self.spec.fingerprint, row[None], (row.size,))

    def _pieces(self, data: bytes) -> Iterator[str | bytes]:
        """Yield valid text for the engine, and bytes that are tokens by themselves."""
        if not self._byte_ids:
            if data:
                yield data.decode("utf-8", "replace")
            return
        for segment in segments(data):
            if self._has_our_gaps and isinstance(segment, str):
                yield from pieces(segment)
            else:
                yield segment

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Text:
        row = tokens.ids[0]
        if missing is not None:
            row = row[~missing]  # tokens that are lost are left out, not guessed
        if not tokenizer_json.is_byte_level(self._content):
            with _refused("this tokenizer cannot decode the tokens"):
                text = self._engine.decode(row.tolist(), skip_special_tokens=False)
            return Text(text.encode("utf-8", "surrogatepass"))
        check_count(int(self._lengths[row].sum()), MAX_TEXT_BYTES, "bytes of text")
        steps = range(0, row.size, _DECODED_AT_ONCE)
        parts = (row[at : at + _DECODED_AT_ONCE].tolist() for at in steps)
        return Text(b"".join([b"".join(map(self._bytes.__getitem__, part)) for part in parts]))

    @cached_property
    def _bytes(self) -> list[bytes]:
        """What each id stands for, in a byte-level vocabulary."""
        found = [b""] * self.spec.codebook_sizes[0]
        for piece, token in self._vocabulary.items():
            found[token] = tokenizer_json.piece_bytes(piece)
        ours = tokenizer_json.model_pieces(self._content)
        for piece in self._vocabulary.keys() - ours:  # added tokens are written as they are
            found[self._vocabulary[piece]] = piece.encode("utf-8", "surrogatepass")
        return found

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([len(each) for each in self._bytes], np.int64)

    @cached_property
    def _byte_ids(self) -> list[int]:
        """The id of each byte; empty if not all bytes are tokens."""
        if not tokenizer_json.has_all_bytes(self._content):
            return []
        return [self._vocabulary[piece] for piece in tokenizer_json.BYTE_CHARACTERS]

    @cached_property
    def _long_engine(self) -> Tokenizer:
        return _engine(tokenizer_json.long_tokens_first(self._content, self._vocabulary))


_NONE: Final = np.zeros(0, np.int32)


def _engine(content: Content) -> Tokenizer:
    """Return the engine of a `tokenizer.json`; raises `InvalidInput` where it has none."""
    import json

    from tokenizers import Tokenizer

    with _refused("this tokenizer.json cannot be used"):
        engine = Tokenizer.from_str(json.dumps(content))
    engine.encode_special_tokens = True  # what looks like a special token in a text is text
    return engine


def _run(engine: Tokenizer, group: Group) -> tuple[Group, Iterator[list[int]]]:
    """Return the group and the ids of its pieces that are str."""
    texts = [piece for _, piece in group if isinstance(piece, str)]
    with _refused("this tokenizer cannot encode the text"):
        found = engine.encode_batch_fast(texts, add_special_tokens=False)
    return group, (encoding.ids for encoding in found)


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Turn the library's errors into `InvalidInput`.

    They are plain `Exception`s, and for some files that make no sense panics, which are not
    even that.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as e:
        raise InvalidInput(f"{what}: {e}") from e


def _is_cut_as_ours(content: Content) -> bool:
    ours = tokenizer_json.from_merges(np.zeros((0, 2), np.uint16), tokenizer_json.PATTERN)
    names = ("normalizer", "pre_tokenizer", "added_tokens")
    return [content[name] for name in names] == [ours[name] for name in names]


def _spec(
    content: Content,
    *,
    version: int,
    size: int,
    prior: StaticPrior,
    lbpe: bool = False,
    **facts: Any,
) -> CodecSpec:
    methods = METHODS if tokenizer_json.can_prefer_long_tokens(content) else ()
    return CodecSpec(
        name=NAME,
        version=version,
        modality="text",
        summary=f"byte sequences of a vocabulary of {size:,}, by byte-pair encoding",
        fingerprint=tokenizer_json.fingerprint(content),
        codebook_sizes=(size,),
        prior=prior.fingerprint,
        lossless=tokenizer_json.is_lossless(content),
        methods=methods[::-1] if lbpe else methods,
        citation="BPE: Sennrich et al. 2016, arXiv:1508.07909; "
        "LBPE: Lian et al. 2024, arXiv:2411.05504",
        **{"covers": {}, **facts},
    )
