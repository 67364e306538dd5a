"""Audio: float32 samples, read and written through libsndfile, and PyAV for other files."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import Source
from omnicodec.codecs.limits import MAX_SAMPLES, check_count
from omnicodec.codecs.media.audio_writer import WRITABLE, AudioWriter
from omnicodec.codecs.media.base import Media, frozen_array

if TYPE_CHECKING:
    from omnicodec.codecs.media.audio_reader import AudioReader

_AT_ONCE: Final = 1 << 16  # samples, where a file does not say how many there are


@dataclass(frozen=True, eq=False)
class Audio(Media):
    """Sound: `samples` is float32 of shape `(C, T)`, full scale -1..1, at `sample_rate` Hz.

    `C` is at least 1, `T` may be 0. Louder samples are kept, and clipped in written files;
    NaN and infinities are refused.
    """

    samples: NDArray[np.float32]
    sample_rate: int

    suffixes: ClassVar[tuple[str, ...]] = (
        *WRITABLE, ".mp3", ".oga", ".opus", ".aiff", ".aif", ".au", ".caf", ".w64", ".m4a", ".aac",
        ".mka",
    )  # fmt: skip

    def __post_init__(self) -> None:
        samples = frozen_array(self.samples, np.float32, 2, "samples")
        if samples.shape[0] < 1:
            raise InvalidInput("audio must have at least 1 channel")
        check_count(samples.size, MAX_SAMPLES, "samples of audio")
        if not np.isfinite(samples).all():
            raise InvalidInput("audio samples must be finite, not NaN or infinite")
        rate: object = self.sample_rate
        whole = isinstance(rate, int | np.integer) and not isinstance(rate, bool)
        if not whole or not 0 < self.sample_rate < 1 << 31:
            raise InvalidInput(f"sample_rate must be an integer in 1..2^31-1, not {rate!r}")
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "sample_rate", int(self.sample_rate))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Audio):
            return NotImplemented
        same_rate = self.sample_rate == other.sample_rate
        return same_rate and np.array_equal(self.samples, other.samples)

    __hash__ = None  # type: ignore[assignment]  # holds an array, which is mutable

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return int(self.samples.shape[1]) / self.sample_rate

    @property
    def nbytes(self) -> int:
        """Size as 16-bit PCM, so that ratios compare with a WAV file and not with floats."""
        return int(self.samples.size) * 2

    @classmethod
    def _from_bytes(cls, data: bytes) -> Self:
        """Read the whole file; of a WAV or Ogg file that was cut off, what there is of it.

        Of a video file, this is its first sound.
        """
        from omnicodec.codecs.media.audio_reader import open_sound

        with contextlib.ExitStack() as stack:
            sound = open_sound(io.BytesIO(data), None, stack)
            stack.callback(sound.close)
            if sound.length is not None:
                check_count(sound.length * sound.channels, MAX_SAMPLES, "samples of audio")
            pieces, count = [], 0
            while (piece := sound.read(sound.length or _AT_ONCE)).size:
                count += piece.size
                check_count(count, MAX_SAMPLES, "samples of audio")
                pieces.append(piece)
            samples = pieces[0] if len(pieces) == 1 else np.concatenate([piece, *pieces], 1)
        return cls(samples, sound.sample_rate)

    @staticmethod
    def stream(source: Source, *, seconds: float = 1.0) -> AudioReader:
        """Return a reader of a file or pipe in pieces of so many seconds, in constant memory.

        It is an iterator and a context manager, see `AudioReader`.
        """
        from omnicodec.codecs.media.audio_reader import AudioReader

        return AudioReader(source, seconds=seconds)

    def to_bytes(self, suffix: str | None = None) -> bytes:
        """Return the file's bytes: 16-bit WAV without a suffix, 24-bit FLAC, or Ogg Vorbis.

        Raises `InvalidInput` for a suffix that cannot be written, and for a clip that the
        format has no room for: too many channels, too high a rate, 0 samples in FLAC.
        """
        out = io.BytesIO()
        with AudioWriter(out, self.sample_rate, len(self.samples), suffix=suffix) as file:
            file.write(self)
        return out.getvalue()


def blocks(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield `(C, T)` samples in pieces that encoders take at once."""
    for start in range(0, samples.shape[1], _AT_ONCE):
        yield np.ascontiguousarray(samples[:, start : start + _AT_ONCE])
