"""Real-valued tokens in streams: no probabilities, only bit patterns behind zlib.

The mantissas of a continuous tokenizer are all but noise, its exponents are not. So the bytes of
equal weight stand together, where zlib finds in the high ones what there is to find.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream
from omnicodec.codecs.prior.base import Prior, Span

FORMAT: Final = b"omnicodec.prior.soft.v1"

_SHORT: Final = 1 << 16


class SoftPrior(Prior):
    """Codes the bit patterns of `width` real values at each position, as `to_patterns` has them.

    The payload is the bytes of a pattern, 2 where all are short and else 4, and then, through
    zlib, the highest byte of all patterns, then the next one, and so on.
    """

    parallel = True

    def __init__(self, width: int) -> None:
        self._width = width
        self.fingerprint = hashlib.sha256(FORMAT + b"%d" % width).hexdigest()[:16]

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        patterns = np.ascontiguousarray(ids).view(np.uint32)
        size = 2 if not patterns.size or patterns.max() < _SHORT else 4
        planes = patterns.astype(f">u{size}").reshape(-1, 1).view(np.uint8).T
        return bytes([size]) + zlib.compress(planes.tobytes())

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        size = data[0] if data else 0
        if size not in (2, 4):
            raise CorruptStream("real values in the stream have an impossible size")
        count = self._width * len(span)
        unpacker = zlib.decompressobj()
        try:
            # One byte more than there should be: a payload that unpacks to much is not followed.
            planes = unpacker.decompress(data[1:], size * count + 1)
        except zlib.error as e:
            raise CorruptStream("real values in the stream are damaged") from e
        if len(planes) != size * count or not unpacker.eof or unpacker.unused_data:
            raise CorruptStream("real values in the stream are more or less than its chunk says")
        patterns = np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(size, count).T)
        found = patterns.view(f">u{size}").astype(np.uint32).view(np.int32)
        return found.reshape(self._width, len(span))


def to_patterns(soft: NDArray[np.floating]) -> NDArray[np.int32]:
    """Return the bits of real values `(N, D)`, float16 or float32, as int32 `(D, N)`."""
    bits = soft.view(f"u{soft.itemsize}").astype(np.uint32)
    return np.ascontiguousarray(bits.T).view(np.int32)


def from_patterns(
    rows: NDArray[np.int32], bits: int
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Return real values `(N, D)` of these bits each, and a mask of the positions without.

    A position is without them, and all 0, where a pattern is too long for its bits or where a
    value is not finite: no codec makes such tokens, a made-up stream may hold them.
    """
    patterns = rows.T.view(np.uint32)
    wrong = (patterns >> 1 >> (bits - 1)).any(1)
    soft = np.ascontiguousarray(patterns.astype(f"u{bits // 8}")).view(f"f{bits // 8}")
    wrong |= ~np.isfinite(soft).all(1)
    soft[wrong] = 0
    return soft, wrong
