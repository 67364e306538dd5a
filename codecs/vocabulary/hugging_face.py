"""A vocabulary as a fast tokenizer of the Hugging Face libraries.

The tokenizer of the text ids gets every other id as an added token, in order. The `tokenizers`
library numbers added tokens itself, from the number of pieces on, and does not look at the ids in
the file: that agrees with ours only where no id below is free. So gaps are filled, with pieces
that no text becomes, and the result is compared id by id before anything is written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import atomic_write
from omnicodec.codecs.vocabulary import special

if TYPE_CHECKING:
    from omnicodec.codecs.vocabulary.vocabulary import Vocabulary

# A model has no longest text, which transformers writes as this.
_ENDLESS = int(1e30)


def write(vocabulary: Vocabulary, folder: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and the vocabulary's own files."""
    content = tokenizer_json(vocabulary)
    names = list(vocabulary.names())
    config = {
        "add_prefix_space": False,
        "bos_token": names[special.BOS],
        "clean_up_tokenization_spaces": False,
        "eos_token": names[special.EOS],
        "model_max_length": _ENDLESS,
        "pad_token": names[special.PAD],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in vocabulary.files().items():
        atomic_write(folder / name, data)
    atomic_write(folder / "tokenizer_config.json", _dump(config, indent=2))
    atomic_write(folder / "tokenizer.json", _dump(content))


def tokenizer_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the content of a `tokenizer.json` with the ids of the vocabulary.

    Raises `InvalidInput` where there can be none.
    """
    content = _text_tokenizer(vocabulary)
    _fill_gaps(content, vocabulary.special_at)
    content["added_tokens"] = sorted(content.get("added_tokens") or [], key=lambda t: t["id"])
    for token, name in enumerate(vocabulary.names(), vocabulary.special_at):
        content["added_tokens"].append(_added(token, name))
    _compare(content, vocabulary)
    return content


def _text_tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    from omnicodec.codecs.text import _tokenizer_json
    from omnicodec.codecs.text.bpe import BPECodec

    name = vocabulary.entries[0].name
    if name == "text/bytes":  # a byte-level tokenizer without any merge
        return _tokenizer_json.from_merges(np.zeros((0, 2), np.int32), _tokenizer_json.PATTERN)
    codec = vocabulary.text_codec() if name != "text/info" else None
    if not isinstance(codec, BPECodec):
        raise InvalidInput(f"the ids of {name} are not those of a tokenizer for Hugging Face")
    content: dict[str, Any] = json.loads(codec.to_json())
    return content


def _fill_gaps(content: dict[str, Any], size: int) -> None:
    pieces = content["model"]["vocab"]
    added = {token["content"]: token["id"] for token in content.get("added_tokens") or []}
    if isinstance(pieces, list):  # Unigram, whose ids are places in a list
        return
    used = {*pieces.values(), *added.values()}
    if len(used) == size:
        return
    # With all added tokens among the pieces, those keep their ids too.
    pieces |= added
    for token in sorted(set(range(size)) - used):
        pieces[special.free_name(f"<|unused:{token}|>", pieces)] = token


def _added(token: int, name: str) -> dict[str, Any]:
    switches = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token, "content": name, **switches, "special": True}


def _compare(content: dict[str, Any], vocabulary: Vocabulary) -> None:
    from tokenizers import Tokenizer

    found = Tokenizer.from_str(json.dumps(content)).get_vocab(with_added_tokens=True)
    agree = all(
        found.get(name) == token
        for token, name in enumerate(vocabulary.names(), vocabulary.special_at)
    )
    own = vocabulary.tokenizer.added_tokens if vocabulary.tokenizer is not None else {}
    if not agree or len(found) != vocabulary.size or any(found[n] != i for n, i in own.items()):
        raise InvalidInput("the tokenizers library cannot give these ids to the added tokens")


def _dump(content: dict[str, Any], indent: int | None = None) -> bytes:
    return (json.dumps(content, indent=indent, ensure_ascii=False) + "\n").encode(
        "utf-8", "surrogatepass"
    )
