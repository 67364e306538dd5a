"""What continuous tokenizers share: real values in place of codes, and how many bits they keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeVar

import numpy as np

from omnicodec.codecs.codec import Settings
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.hub_codec import Array, HubNetwork
from omnicodec.codecs.media import Media
from omnicodec.codecs.tokens import Tokens

M = TypeVar("M", bound=Media)

BITS: Final = "bits"
"""The integer of the extent that says how many bits a value has."""

_TYPES: Final[Mapping[int, type[np.float16 | np.float32]]] = {16: np.float16, 32: np.float32}


class SoftNetwork(HubNetwork[M]):
    """A network whose tokens are real values: each position holds `spec.soft_width` of them.

    The quality is the bits of a value. 32 are the network's own to the last bit, the default; 16
    are those rounded. An adapter names this class before that of its modality, and its
    `_encode_batch` and `_decode_batch` have values `(B, D, ...)`, float32, where others have codes.
    """

    chunk_positions: ClassVar[int] = 1 << 10
    _code_type: ClassVar[type[np.generic]] = np.float32

    @staticmethod
    def _soft_facts(facts: Mapping[str, Any], width: int) -> dict[str, Any]:
        """Return fields of the spec, with those that make it one of so many real values."""
        return {
            **facts,
            "codebook_sizes": (),
            "soft_width": width,
            "qualities": tuple(_TYPES),
            "extent": (*facts["extent"], BITS),
        }

    def books(self, settings: Settings) -> int:
        """Return the bits of a value: what the number of codebooks is for codes."""
        return settings.quality or 32

    def _rows(self, tokens: Tokens) -> Array:
        """Return what tokens hold, `(D, N)`."""
        assert tokens.soft is not None  # they were checked
        return tokens.soft.T

    def _made(
        self, codes: Array, books: int, grid: tuple[int, ...], extent: Mapping[str, int]
    ) -> Tokens:
        """Return the tokens that hold values `(D, N)`, of `books` bits each."""
        name, fingerprint = self.spec.name, self.spec.fingerprint
        if not np.isfinite(codes).all():
            raise InvalidInput(f"{name} makes values of this item that are not finite")
        largest = float(np.finfo(_TYPES[books]).max)
        soft = codes.reshape(self.spec.soft_width, -1).T.clip(-largest, largest)
        ids = np.zeros((0, len(soft)), np.int32)
        extent = {**extent, BITS: books}
        return Tokens(name, fingerprint, ids, grid, extent, soft.astype(_TYPES[books], order="C"))
