"""Samples as plain bytes, and the WAV header around them: what goes through pipes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput

UNKNOWN: Final = 0xFFFFFFFF
"""The length in the header of a WAV that is written before it is known."""

_OPEN_ENDED: Final = 0x7FFFF000
"""Lengths from here on mean none: sox writes this one, arecord 2 GiB, FFmpeg 2^32 - 1."""

_EXTENSIBLE: Final = 0xFFFE
_MAX_FMT_BYTES: Final = 1 << 16

Samples = NDArray[np.float32]


class _Kind(NamedTuple):
    """A way to store a sample: how it is read, how many bits an integer has, its WAV tag."""

    dtype: str
    bits: int | None
    tag: int


_KINDS: Final = {
    "u8": _Kind("u1", 8, 1),
    "s16le": _Kind("<i2", 16, 1),
    "s24le": _Kind("", 24, 1),
    "s32le": _Kind("<i4", 32, 1),
    "f32le": _Kind("<f4", None, 3),
    "f64le": _Kind("<f8", None, 3),
}

SAMPLE_FORMATS: Final = tuple(_KINDS)


@dataclass(frozen=True)
class PCM:
    """How samples lie in bytes: `format` is one of `SAMPLE_FORMATS`, channels are interleaved.

    Raises `InvalidInput` for a format, rate or number of channels that there is not.
    """

    format: str
    sample_rate: int
    channels: int

    def __post_init__(self) -> None:
        if self.format not in _KINDS:
            known = ", ".join(_KINDS)
            raise InvalidInput(f"unknown sample format {self.format!r}; known: {known}")
        if not 0 < self.sample_rate < 1 << 31:
            raise InvalidInput(f"{self.sample_rate} Hz is no sample rate")
        if not 0 < self.channels < 1 << 16:
            raise InvalidInput(f"{self.channels} is no number of channels")

    @classmethod
    def parse(cls, text: str) -> PCM:
        """Return what "FORMAT:RATE:CHANNELS" says, as in "s16le:48000:2"."""
        parts = text.split(":")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts[1:]):
            raise InvalidInput(f"{text!r} is not FORMAT:RATE:CHANNELS, as in s16le:48000:2")
        # arecord calls it S16_LE.
        return cls(parts[0].lower().replace("_", ""), int(parts[1]), int(parts[2]))

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * _width(_KINDS[self.format])

    def to_samples(self, data: bytes) -> Samples:
        """Return whole frames of bytes as float32 `(channels, T)`, full scale -1 to 1."""
        kind = _KINDS[self.format]
        values: NDArray[Any]
        if kind.bits == 24:
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            values = wide.view("<i4")[:, 0] / np.float64(1 << 31)
        elif kind.bits == 8:
            values = (np.frombuffer(data, np.uint8) - np.float64(128)) / 128
        else:
            values = np.frombuffer(data, kind.dtype) / np.float64(1 << (kind.bits or 1) - 1)
        with np.errstate(over="ignore"):  # a double may be infinite as a float, and refused
            rows = values.reshape(-1, self.channels).T.astype(np.float32)
        return np.ascontiguousarray(rows)

    def to_bytes(self, samples: Samples) -> bytes:
        """Return float32 samples `(channels, T)` as bytes; integers are rounded and clipped."""
        kind = _KINDS[self.format]
        rows = samples.T
        if kind.bits is None:
            return rows.astype(kind.dtype).tobytes()
        levels = integers(rows, kind.bits)
        if kind.bits == 8:
            return (levels + 128).astype(np.uint8).tobytes()
        if kind.bits == 24:
            return levels.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
        return levels.astype(kind.dtype).tobytes()

    def wav_header(self, samples: int | None = None) -> bytes:
        """Return what stands before `samples` samples of each channel; None: before any number.

        A length that 32 bits cannot hold is left unknown as well, and readers go on to the end.
        """
        kind = _KINDS[self.format]
        size = UNKNOWN if samples is None else samples * self.frame_bytes
        whole = size + size % 2 + 36
        if whole >= UNKNOWN:
            size = whole = UNKNOWN
        rate, bits = self.sample_rate, 8 * _width(kind)
        if self.frame_bytes >= 1 << 16:
            raise InvalidInput(f"WAV cannot hold {self.channels} channels")
        speed = min(rate * self.frame_bytes, UNKNOWN)
        fields = (kind.tag, self.channels, rate, speed, self.frame_bytes, bits)
        return struct.pack("<4sI8sIHHIIHH", b"RIFF", whole, b"WAVEfmt ", 16, *fields) + struct.pack(
            "<4sI", b"data", size
        )


def integers(samples: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Return the levels of `bits` bits that are nearest to samples of full scale -1 to 1."""
    scale = 1 << (bits - 1)
    return (samples.astype(np.float64) * scale).round().clip(-scale, scale - 1).astype(np.int64)


def read_wav_header(read: Callable[[int], bytes]) -> tuple[PCM, int | None] | None:
    """Return how the samples of a WAV lie, and their bytes, None where that is not told.

    `read` gives as many bytes as it is asked for, or the last ones. None is returned for
    samples in a code of their own, such as ADPCM. Raises `InvalidInput` when there is no header.
    """
    riff, whole, wave = struct.unpack("<4sI4s", _exactly(read, 12))
    if (riff, wave) != (b"RIFF", b"WAVE"):
        raise InvalidInput("not a WAV file")
    form: PCM | None = None
    known = False
    while True:
        name, size = struct.unpack("<4sI", _exactly(read, 8))
        if name == b"data":
            break
        if name == b"fmt " and size <= _MAX_FMT_BYTES:
            form, known = _format(_exactly(read, size + size % 2)), True
        else:
            _skip(read, size + size % 2)
    if not known:
        raise InvalidInput("audio file is damaged: it does not say how its samples lie")
    if form is None:
        return None
    unknown = size >= _OPEN_ENDED or (size == 0 and whole == 0)
    return form, None if unknown else size - size % form.frame_bytes


def _format(data: bytes) -> PCM | None:
    if len(data) < 16:
        raise InvalidInput("audio file is damaged: it does not say how its samples lie")
    tag, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", data)
    if tag == _EXTENSIBLE and len(data) >= 40:
        tag = int.from_bytes(data[24:26], "little")
    for name, kind in _KINDS.items():
        if (kind.tag, 8 * _width(kind)) == (tag, bits) and frame == channels * _width(kind):
            return PCM(name, rate, channels)
    return None


def _width(kind: _Kind) -> int:
    return kind.bits // 8 if kind.bits else int(kind.dtype[-1])


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) < size:
        raise InvalidInput("audio file is damaged: it is cut off in its header")
    return data


def _skip(read: Callable[[int], bytes], size: int) -> None:
    while size:
        piece = min(size, _MAX_FMT_BYTES)
        _exactly(read, piece)
        size -= piece
