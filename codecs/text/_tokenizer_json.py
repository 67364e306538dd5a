"""The format `tokenizer.json`: what a tokenizer does, and whether it loses anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.models import weights

Content = Mapping[str, Any]

PATTERN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]{1,64}"
    r"|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]{1,64}[\r\n]{0,64}"
    r"|\s{0,64}[\r\n]{1,64}"
    r"|\s{1,64}(?!\S)"
    r"|\s{1,64}"
)
"""Where texts are cut before any merge: English contractions, words with one sign before them,
numbers of up to three digits, signs, line breaks, other white space. It is the cut of GPT-4 with
marks as parts of words (Hindi and Thai need that) and no match without an end: a megabyte of
one letter, sign or space is many words and not one."""

# What the parts of `tokenizer.json` decide about tokens is in these; the others are about
# lengths and marks that a model wants around them.
_PARTS: Final = ("added_tokens", "decoder", "model", "normalizer", "pre_tokenizer")

# Long, and without defaults inside.
_TABLES: Final = frozenset({"merges", "vocab"})

# Pre-tokenizers that only cut, unless they drop what they cut at.
_CUTTING: Final = frozenset({"Digits", "Punctuation", "Split", "UnicodeScripts"})


def _byte_characters() -> str:
    """Return the printable character that stands for each byte, as GPT-2 chose them."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    chosen = {byte: byte for byte in printable}
    chosen |= {byte: 256 + place for place, byte in enumerate(others)}
    return "".join(chr(chosen[byte]) for byte in range(256))


BYTE_CHARACTERS: Final = _byte_characters()
"""The character of each byte in the pieces of a byte-level tokenizer."""

_BYTE_OF: Final = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}


def from_merges(merges: NDArray[np.integer[Any]], pattern: str) -> dict[str, Any]:
    """Return the content of `tokenizer.json` for merges of ids, integers `(M, 2)`, by rank.

    Ids 0 to 255 are the bytes; each merge whose result is new adds the next id.
    """
    pieces = list(BYTE_CHARACTERS)
    vocabulary = {piece: token for token, piece in enumerate(pieces)}
    pairs = []
    for left, right in merges.tolist():
        pair = [pieces[left], pieces[right]]
        piece = "".join(pair)
        if piece not in vocabulary:
            vocabulary[piece] = len(pieces)
            pieces.append(piece)
        pairs.append(pair)
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    byte_level = {
        "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False,
    }  # fmt: skip
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut, byte_level]},
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": pairs,
        },
    }


def parse(data: bytes) -> dict[str, Any]:
    """Return the content of a `tokenizer.json`, less what is not about tokens.

    Truncation, padding and marks around a text would be wrong in a codec, and so would
    dropout, which is chance. Raises `InvalidInput` when it is no such file.
    """
    try:
        content = json.loads(data)
        model = dict(content["model"])
        if model.get("merges"):
            model["merges"] = [_pair(merge) for merge in model["merges"]]
        if "dropout" in model:
            model["dropout"] = None
        added = content.get("added_tokens") or []
        if not all(isinstance(token["content"], str) for token in added):
            raise TypeError("the content of an added token is not text")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise InvalidInput(f"this is not a tokenizer.json: {e}") from e
    return {
        **{name: content.get(name) for name in _PARTS},
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "post_processor": None,
        "added_tokens": added,
        "model": model,
    }


def fingerprint(content: Content) -> str:
    """Return 16 hex digits that are equal for equal tokenizers.

    Fields that are null, false or empty count as absent: which of them are written is a
    matter of the library's version.
    """
    known = _without_defaults({name: content[name] for name in _PARTS})
    return weights.fingerprint({"codec": "text/bpe", "tokenizer": known}, {})


def is_byte_level(content: Content) -> bool:
    """Return whether a token stands for the same bytes wherever it is."""
    decoder = list(_chain(content["decoder"], "decoders"))
    return [part.get("type") for part in decoder] == ["ByteLevel"]


def is_lossless(content: Content) -> bool:
    """Return whether every valid text comes back as it was.

    It does if the text is only cut and not changed, if every byte is a token, and if the
    tokens are put together again byte by byte.
    """
    return not loss(content)


def loss(content: Content) -> str:
    """Return why not every valid text comes back as it was; "" where each does."""
    cuts = list(_chain(content["pre_tokenizer"], "pretokenizers"))
    byte_levels = [part for part in cuts if part.get("type") == "ByteLevel"]
    changes = [*_chain(content["normalizer"], "normalizers")] + [
        part
        for part in cuts
        if part.get("type") not in {*_CUTTING, "ByteLevel"} or part.get("behavior") == "Removed"
    ]
    pieces = model_pieces(content)
    lossy = [added for added in content["added_tokens"] if not _is_kept(added, pieces)]
    kind = content["model"].get("type")
    if not has_all_bytes(content):
        return "not every byte is a token of a byte-level vocabulary"
    if changes:
        return f"{changes[0].get('type')} changes texts"
    if len(byte_levels) != 1:
        return "texts do not become bytes once"
    if byte_levels[0].get("add_prefix_space", True):
        return "a space is put before texts"
    if kind not in {"BPE", "Unigram"} or not _is_plain(content):
        return f"its model {kind} changes words"
    if lossy:
        return f"the added token {lossy[0]['content']!r} changes what is around it"
    return ""


def has_all_bytes(content: Content) -> bool:
    """Return whether every byte has a token of its own in a byte-level vocabulary."""
    return is_byte_level(content) and set(BYTE_CHARACTERS) <= set(model_pieces(content))


def can_prefer_long_tokens(content: Content) -> bool:
    """Return whether `long_tokens_first` knows what the tokens stand for."""
    return has_all_bytes(content) and content["model"].get("type") == "BPE" and _is_plain(content)


def model_pieces(content: Content) -> dict[str, int]:
    """Return the id of each piece of the model."""
    vocabulary = content["model"].get("vocab") or {}
    if isinstance(vocabulary, Mapping):
        return dict(vocabulary)
    return {entry[0]: token for token, entry in enumerate(vocabulary)}


def piece_bytes(piece: str) -> bytes:
    """Return the bytes that a piece of a byte-level tokenizer stands for."""
    try:
        return bytes(map(_BYTE_OF.__getitem__, piece))
    except KeyError:  # a piece that is not spelled in the characters of bytes
        return piece.encode("utf-8", "surrogatepass")


def long_tokens_first(content: Content, pieces: Mapping[str, int]) -> dict[str, Any]:
    """Return byte-level BPE as a tokenizer that prefers long tokens, with the same ids.

    `pieces` has the id of every piece, added tokens too.

    That is LBPE (Lian et al. 2024, arXiv:2411.05504): of all ways to cut a word into tokens,
    the one with the longest token, and so on for what is left. Merges cannot be ranked to
    do that: a long token comes about only if all merges on the way to it come first, and
    with the trained merges ranked by length few do (2.6 bytes a token of English, not 4.2).
    So the same library is given a Unigram model whose best path is sought: a token of n
    bytes scores n to the fourth power, and of equal ones the smaller ranks win.
    """
    merges: list[list[str]] = content["model"].get("merges") or []
    reachable = dict.fromkeys([*BYTE_CHARACTERS, *map("".join, merges)])
    rank = {piece: place for place, piece in enumerate(reachable)}
    # Gaps between ids hold what no text contains, and what BPE cannot make is never best.
    vocabulary: list[list[Any]] = [[f"\0{i}", _NEVER] for i in range(max(pieces.values()) + 1)]
    for piece, token in pieces.items():
        if piece:
            score = len(piece) ** 4 - rank[piece] * 2.0**-24 if piece in rank else _NEVER
            vocabulary[token] = [piece, score]
    model = {"type": "Unigram", "unk_id": None, "vocab": vocabulary, "byte_fallback": False}
    return {**content, "model": model}


_NEVER: Final = -1e12


def _is_kept(added: Content, pieces: Mapping[str, int]) -> bool:
    """Return whether an added token, found in a text as it is written, comes back like that.

    Special tokens are never found in one.
    """
    text = added["content"]
    # One that is also a piece of the model shares its id, and the piece may be other bytes.
    is_other = text in pieces and piece_bytes(text) != text.encode("utf-8", "surrogatepass")
    strips = added.get("lstrip") or added.get("rstrip")
    return bool(added.get("special")) or not (is_other or strips)


def _is_plain(content: Content) -> bool:
    """Return whether pieces are written as they are, without marks inside of words."""
    model = content["model"]
    return not model.get("continuing_subword_prefix") and not model.get("end_of_word_suffix")


def _pair(merge: str | Sequence[str]) -> list[str]:
    """Return the two pieces of a merge, which older files write as one string."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return [left, right]


def _chain(part: Content | None, inner: str) -> Iterator[Content]:
    """Yield the parts of a part that may be a sequence of others, or be absent."""
    if part is None:
        return
    if not isinstance(part, Mapping):  # the library takes lists of a part's values as well
        raise InvalidInput("a part of this tokenizer.json is not an object")
    if part.get("type") == "Sequence":
        for each in part.get(inner) or ():
            yield from _chain(each, inner)
    else:
        yield part


def _without_defaults(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {k: v if k in _TABLES else _without_defaults(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if not _is_default(k, v)}
    if isinstance(value, list | tuple):
        return [_without_defaults(each) for each in cast("Sequence[Any]", value)]
    return value


def _is_default(name: str, value: Any) -> bool:
    if name == "trim_offsets":  # nothing to do with tokens
        return True
    unset = name == "use_regex"  # the one switch that is on when it is not written
    return value is None or value is unset or value in ("", [], {})
