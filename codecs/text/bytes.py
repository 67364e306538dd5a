"""`text/bytes`: the bytes themselves, one token a byte, with the byte model as their prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from omnicodec.codecs.codec import Codec, CodecSpec, Mask, Settings
from omnicodec.codecs.errors import LimitExceeded
from omnicodec.codecs.limits import MAX_TEXT_BYTES
from omnicodec.codecs.media import Media, Text
from omnicodec.codecs.prior.mixer import byte_model
from omnicodec.codecs.registry import register
from omnicodec.codecs.tokens import Tokens
from omnicodec.models import weights


@register("text/bytes")
class ByteCodec(Codec[Text]):
    """Any bytes as tokens 0..255; exact, and the baseline of every other text codec."""

    media_type: ClassVar[type[Media]] = Text
    on_device: ClassVar[bool] = False
    chunk_positions: ClassVar[int] = 1 << 21

    def __init__(self) -> None:
        self.spec = self.describe()
        self.prior = byte_model()

    @classmethod
    def describe(cls) -> CodecSpec:
        return CodecSpec(
            name="text/bytes",
            version=2,
            modality="text",
            summary="the bytes of a text, exactly",
            fingerprint=weights.fingerprint({"codec": "text/bytes", "alphabet": 256}, {}),
            codebook_sizes=(256,),
            covers={"bytes": 1},
            prior=byte_model().fingerprint,
            lossless=True,
            weight_bytes=weights.read("text/bytes").nbytes,
        )

    @classmethod
    def open(cls, device: str) -> ByteCodec:
        return cls()

    def expected_grid(self, extent: Mapping[str, int], positions: int) -> tuple[int, ...]:
        if positions > MAX_TEXT_BYTES:
            raise LimitExceeded(f"text of {positions:,} bytes is over {MAX_TEXT_BYTES:,}")
        return (positions,)

    def _encode(self, item: Text, settings: Settings) -> Tokens:
        ids = np.frombuffer(item.data, np.uint8).astype(np.int32)[None]
        return Tokens(self.spec.name, self.spec.fingerprint, ids, (ids.shape[1],))

    def _decode(self, tokens: Tokens, missing: Mask | None) -> Text:
        row = tokens.ids[0]
        if missing is not None:
            row = row[~missing]  # bytes that are lost are left out, not guessed
        return Text(row.astype(np.uint8).tobytes())
