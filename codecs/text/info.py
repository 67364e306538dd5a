"""`text/info`: tokens of equal information, 16 bits of exactly coded text each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import ClassVar, Final

import numpy as np

from omnicodec.codecs.codec import Codec, CodecSpec, Mask, Settings
from omnicodec.codecs.errors import LimitExceeded
from omnicodec.codecs.limits import MAX_TEXT_BYTES, check_count
from omnicodec.codecs.media import Media, Text
from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.prior.mixer import byte_model
from omnicodec.codecs.registry import register
from omnicodec.codecs.tokens import Tokens
from omnicodec.models import weights

_WINDOWS: Final = 1 << 16


@register("text/info")
class InfoCodec(Codec[Text]):
    """The bytes of a text, coded with the byte model in windows of 16 bits.

    "Training LLMs over Neurally Compressed Text" (Lester et al., 2024), with windows that end
    between two bits instead of two bytes. A token covers more where text is predictable. The
    last token of a text is no window: it is the number of bytes that end in the window before
    it. Every sequence of tokens is that of some text.
    """

    media_type: ClassVar[type[Media]] = Text
    on_device: ClassVar[bool] = False
    parallel: ClassVar[bool] = True

    def __init__(self) -> None:
        self.spec = self.describe()
        self.prior = _uniform()

    @classmethod
    def describe(cls) -> CodecSpec:
        model = byte_model()
        config = {"codec": "text/info", "model": model.fingerprint}
        return CodecSpec(
            name="text/info",
            version=1,
            modality="text",
            summary="tokens of equal information: 16 bits of exactly coded text each",
            fingerprint=weights.fingerprint(config, {}),
            codebook_sizes=(_WINDOWS,),
            covers=_covers(),
            prior=_uniform().fingerprint,
            lossless=True,
            weight_bytes=weights.read("text/bytes").nbytes,
            citation='Lester et al., "Training LLMs over Neurally Compressed Text", 2024',
        )

    @classmethod
    def open(cls, device: str) -> InfoCodec:
        return cls()

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        if positions > MAX_TEXT_BYTES:
            raise LimitExceeded(f"text of {positions:,} tokens is over {MAX_TEXT_BYTES:,}")
        return (positions,)

    def _encode(self, item: Text, settings: Settings) -> Tokens:
        check_count(len(item.data), MAX_TEXT_BYTES, "bytes of text")
        ids = byte_model().to_windows(item.data)[None]
        return Tokens(self.spec.name, self.spec.fingerprint, ids, (ids.shape[1],))

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Text:
        windows = tokens.ids[0]
        if missing is not None and missing.any():
            # Behind a lost window nothing can be told: what comes before it is whole. Where
            # the number is lost, what ends in the last window may be none of the text's.
            end = int(np.argmax(missing))
            known = 0 if end == windows.size - 1 else _WINDOWS - 1
            windows = np.append(windows[:end], np.int32(known))
        return Text(byte_model().from_windows(windows, MAX_TEXT_BYTES))

    def warm(self) -> None:
        super().warm()
        byte_model().warm()


@cache
def _uniform() -> StaticPrior:
    # Windows are as good as random: another model of them would say nothing.
    return StaticPrior.train([[np.zeros(_WINDOWS, np.int64)]])


def _covers() -> Mapping[str, float]:
    return {"bytes": float(weights.read("text/bytes").config.get("bytes_per_window", 7.0))}
