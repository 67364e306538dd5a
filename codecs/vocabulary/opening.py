"""The codecs of a vocabulary, from whatever they are given as."""

from __future__ import annotations

import os
from pathlib import Path

from omnicodec.codecs.codec import Codec, CodecSpec
from omnicodec.codecs.errors import FingerprintMismatch
from omnicodec.codecs.files import read_all
from omnicodec.codecs.registry import AnyCodec, describe, load, load_named
from omnicodec.codecs.vocabulary.entry import VocabularyEntry
from omnicodec.codecs.vocabulary.tokenizer_file import TokenizerFile

AnySpec = str | os.PathLike[str] | CodecSpec | AnyCodec
"""A codec by name, by the path of what is not shipped, by its spec, or itself."""


def spec_of(codec: AnySpec) -> CodecSpec:
    """Return the spec; raises what `describe` raises."""
    if isinstance(codec, CodecSpec):
        return codec
    return codec.spec if isinstance(codec, Codec) else describe(codec)


def tokenizer_of(codec: AnySpec) -> TokenizerFile | None:
    """Return the facts of the `tokenizer.json` of a text codec; None for one that is shipped.

    A spec tells nothing of its codec's gaps and tokens: None for that as well.
    """
    if isinstance(codec, str | CodecSpec):
        return None
    from omnicodec.codecs.text.bpe import NAME, BPECodec

    opened = codec if isinstance(codec, Codec) else load(codec)
    if not isinstance(opened, BPECodec) or opened.spec == describe(NAME):
        return None
    content = None if isinstance(codec, Codec) else _content(Path(codec))
    return TokenizerFile.of(opened, content)


def text_codec(entry: VocabularyEntry, tokenizer: TokenizerFile | None) -> AnyCodec:
    """Return the codec of an entry for text; errors are those of `Vocabulary.text_codec`."""
    if tokenizer is None:
        codec = load_named(entry.name)  # a file that anyone may have written downloads nothing
    else:
        from omnicodec.codecs.text.bpe import BPECodec

        codec = BPECodec.from_file(tokenizer.read())
    if codec.spec.fingerprint != entry.fingerprint:
        raise FingerprintMismatch(
            f"{entry.name} here is {codec.spec.fingerprint}, this vocabulary holds "
            f"{entry.fingerprint}"
        )
    return codec


def _content(path: Path) -> bytes | None:
    """Return a `tokenizer.json` as it is; None for a folder that training left."""
    if not path.is_dir():
        return read_all(path)
    trained = any(path.glob("model.safetensors*"))
    return None if trained else read_all(path / "tokenizer.json")
