"""The byte model: the mixer over text, and what the text codecs make of it."""

from __future__ import annotations

import threading
from functools import cache
from typing import Final, Self

import numpy as np
import zstandard
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream, InvalidInput, LimitExceeded
from omnicodec.codecs.prior.base import Span
from omnicodec.codecs.prior.mixer import coder, kernel
from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer.prior import NO_INTEGERS, MixerPrior
from omnicodec.codecs.prior.mixer.schema import Schema
from omnicodec.codecs.prior.mixer.state import IN_TOKEN, TOKEN, Tensors, open_state
from omnicodec.models import weights

INFORMATION_UNIT: Final = 4096
"""Surprisal and entropy are in 1/4096 bit."""

_ZSTD: Final = b"\0"
"""How frames begin that tell no sizes and no checksum; the mixer's codes never do."""

_LEVEL: Final = 19
_WINDOW_LOG: Final = 23
_MAGICLESS: Final = zstandard.FORMAT_ZSTD1_MAGICLESS


class ByteModel(MixerPrior):
    """The mixer over bytes: a prior, and exact probabilities for segmenting and for windows.

    A span is stored as Zstandard's level 19 would store it where that is smaller, so no text
    loses by the model. (RFC 8878; the frame is without its magic number.)
    """

    def __init__(self, schema: Schema, tensors: Tensors) -> None:
        super().__init__(schema, tensors, (256,))
        self._local = threading.local()

    @classmethod
    def from_shipped(cls, shipped: weights.Shipped) -> Self:
        """Return the model of weights: its schema is in their configuration as `prior`."""
        return cls(Schema.from_json(shipped.config["prior"]), shipped.prior)

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        symbols = np.array(ids[0], np.int32)  # a copy: the kernels take nothing read-only
        if symbols.size == 0:
            return b""
        packed = self.zstd(symbols)
        code = None
        if symbols.size <= fmt.MAX_MIXED:
            code = self.encode_within(symbols, span, len(packed), mark=True)
        return packed if code is None or _is_bomb(symbols.size, code) else code

    def encode_large(self, ids: NDArray[np.int32], span: Span) -> bytes | None:
        return self.zstd(ids[0])

    def zstd(self, symbols: NDArray[np.int32]) -> bytes:
        """Return bytes as Zstandard packs them."""
        if not hasattr(self._local, "compressor"):
            parameters = zstandard.ZstdCompressionParameters.from_level(
                _LEVEL,
                window_log=_WINDOW_LOG,
                format=_MAGICLESS,
                write_content_size=False,
            )
            self._local.compressor = zstandard.ZstdCompressor(compression_params=parameters)
        packed: bytes = self._local.compressor.compress(symbols.astype(np.uint8).tobytes())
        return packed

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        if len(span) == 0 and not data:
            return np.zeros((1, 0), np.int32)
        if data[:1] != _ZSTD:
            if len(span) > fmt.MAX_MIXED or _is_bomb(len(span), data):
                raise CorruptStream(f"a chunk of text of {len(span):,} bytes is not coded so")
            return self.decode_marked(data, span, mark=True)
        unpack = zstandard.ZstdDecompressor(format=_MAGICLESS, max_window_size=1 << _WINDOW_LOG)
        try:
            # A frame that begins with 0 claims no size, which would be allocated unseen.
            text = unpack.decompress(data, max_output_size=len(span), allow_extra_data=False)
        except zstandard.ZstdError as e:
            raise CorruptStream("a chunk of text does not unpack") from e
        if len(text) != len(span):
            raise CorruptStream(f"a chunk of text has {len(text)} bytes, not {len(span)}")
        return np.frombuffer(text, np.uint8).astype(np.int32)[None]

    def surprisal(self, data: bytes) -> NDArray[np.int32]:
        """Return the information of each byte after those before it, int32 `(n,)`, 1/4096 bit.

        It is a function of the bytes up to and including that one, not of the length.
        """
        out = np.zeros(len(data), np.int32)
        self._measure(data, out, NO_INTEGERS)
        return out

    def nibble_entropy(self, data: bytes) -> NDArray[np.int32]:
        """Return the entropy of each byte's high four bits, int32 `(n,)`, in 1/4096 bit.

        It is a function of the bytes before that one, not of the length.
        """
        out = np.zeros(len(data), np.int32)
        self._measure(data, NO_INTEGERS, out)
        return out

    def to_windows(self, data: bytes) -> NDArray[np.int32]:
        """Return the windows of equal information of a text, int32 `(n,)`, 0 ... 65,535.

        The last is no window but the number of bytes that end in the one before it, because
        that holds more than the text. No bytes make no windows.
        """
        if not data:
            return np.zeros(0, np.int32)
        symbols = np.frombuffer(data, np.uint8).astype(np.int32)
        state = open_state(self.schema, self.tensors, None)
        # A bit is never less probable than P_MIN, so every window but the last has two or more.
        windows = np.zeros(16 + 4 * symbols.size, np.int32)
        span = Span((symbols.size,), 0, symbols.size)
        self.run(state, symbols, span, kernel.ENCODE_WINDOWS, windows=windows)
        ended = int(state.registers[IN_TOKEN])
        coder.close_window(state.registers, windows)
        count = int(state.registers[TOKEN])
        windows[count] = ended
        return windows[: count + 1].copy()

    def from_windows(self, windows: NDArray[np.int32], limit: int) -> bytes:
        """Return the text of windows; any integers of 0 ... 65,535 are those of some text.

        Raises `LimitExceeded` when it has more than `limit` bytes.
        """
        if windows.size and not 0 <= int(windows.min()) <= int(windows.max()) < 1 << 16:
            raise InvalidInput(f"windows are 0 to {(1 << fmt.WINDOW_BITS) - 1}")
        if windows.size < 2:
            return b""
        codes = np.array(windows[:-1], np.int32)
        room = 1 << 10
        state = open_state(self.schema, self.tensors, None)
        symbols = np.zeros(room, np.int32)
        done = kept = 0
        while True:
            span = Span((symbols.size,), 0, symbols.size)
            done = self.run(
                state, symbols, span, kernel.DECODE_WINDOWS, done, symbols.size, windows=codes
            )
            kept = done
            if state.registers[TOKEN] == codes.size:
                kept -= max(0, int(state.registers[IN_TOKEN]) - int(windows[-1]))
            if kept > limit:
                raise LimitExceeded(f"windows hold a text of more than {limit:,} bytes")
            if done < symbols.size:
                return symbols[:kept].astype(np.uint8).tobytes()
            symbols = np.concatenate([symbols, np.zeros(symbols.size, np.int32)])

    def _measure(
        self, data: bytes, surprisal: NDArray[np.int32], entropy: NDArray[np.int32]
    ) -> None:
        symbols = np.frombuffer(data, np.uint8).astype(np.int32)
        state = open_state(self.schema, self.tensors, None)
        span = Span((symbols.size,), 0, symbols.size)
        self.run(state, symbols, span, kernel.MEASURE, surprisal=surprisal, entropy=entropy)

    def warm(self) -> None:
        """Compile all loops, or read them from the disk."""
        self.from_windows(self.to_windows(b"warm"), 1 << 10)
        super().warm()


def _is_bomb(size: int, code: bytes) -> bool:
    return size > fmt.MAX_MIXED_RATIO * len(code)


@cache
def byte_model() -> ByteModel:
    """Return the model that ships with `text/bytes`, the same for all codecs of text."""
    return ByteModel.from_shipped(weights.read("text/bytes"))
