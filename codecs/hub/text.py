"""Tokenizers of text, from a `tokenizer.json`: those that give every text back as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

from omnicodec.codecs.codec import Mask, Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.files import Snapshot, read_bytes
from omnicodec.codecs.hub.hub_codec import HubCodec
from omnicodec.codecs.media import Media, Text
from omnicodec.codecs.text import _tokenizer_json as tokenizer_json
from omnicodec.codecs.text.bpe import BPECodec
from omnicodec.codecs.tokens import Tokens

FILE: Final = "tokenizer.json"

_SAME: Final = ("summary", "codebook_sizes", "covers", "lossless", "methods", "citation")


class HubText(HubCodec[Text]):
    """Any bytes as the ids of a language model, without special tokens around them.

    `text/bpe` does the work, so ids are those of the `tokenizers` library, bytes that are not
    UTF-8 are tokens of one byte, and what looks like a special token is text.
    """

    media_type: ClassVar[type[Media]] = Text
    modality: ClassVar[str] = "text"
    citation: ClassVar[str] = "BPE: Sennrich et al. 2016, arXiv:1508.07909"
    on_device: ClassVar[bool] = False
    batched: ClassVar[bool] = BPECodec.batched
    chunk_positions: ClassVar[int] = BPECodec.chunk_positions

    def _open(self, snapshot: Snapshot) -> None:
        self._codec = _opened(snapshot)

    @classmethod
    def _facts_of(cls, snapshot: Snapshot) -> dict[str, Any]:
        spec = _opened(snapshot).spec
        return {name: getattr(spec, name) for name in _SAME}

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        return self._codec.expected_grid(extent, positions)

    def check(self, tokens: Tokens) -> None:
        super().check(tokens)
        self._codec.check(self._theirs(tokens))

    def _encode(self, item: Text, settings: Settings) -> Tokens:
        return self._encode_all([item], settings)[0]

    def _encode_all(self, items: Sequence[Text], settings: Settings) -> list[Tokens]:
        found = self._codec.encode(items, method=settings.method, width=settings.width)
        return [Tokens(self.spec.name, self.spec.fingerprint, t.ids, t.grid) for t in found]

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Text:
        return self._codec.decode([self._theirs(tokens)], missing=[missing])[0]

    def _theirs(self, tokens: Tokens) -> Tokens:
        spec = self._codec.spec
        return Tokens(spec.name, spec.fingerprint, tokens.ids, tokens.grid)


def _opened(snapshot: Snapshot) -> BPECodec:
    """Return the codec of a folder's tokenizer; raises `InvalidInput` for one that loses text."""
    file = snapshot.folder / FILE
    codec = _bpe(file, snapshot.stamp())
    if not codec.spec.lossless:
        why = tokenizer_json.loss(tokenizer_json.parse(read_bytes(file)))
        raise InvalidInput(
            f"the tokenizer of {snapshot.name} does not give every text back ({why}); where that "
            f"does no harm, open its {FILE} by path, as text/bpe"
        )
    return codec


@lru_cache(maxsize=1)  # it is described, then opened
def _bpe(file: Path, stamp: int) -> BPECodec:  # noqa: ARG001  # another state is another tokenizer
    return BPECodec.from_file(read_bytes(file))
