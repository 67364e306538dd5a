"""Audio: float32 samples, read and written through libsndfile."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput, Unavailable
from omnicodec.codecs.limits import MAX_SAMPLES, check_count
from omnicodec.codecs.media.base import Media, frozen_array

# How the files begin that are handed to libsndfile at all: WAV, RF64, Wave64, FLAC, Ogg,
# AIFF, CAF, AU, MP3. Its readers for rarer formats see little use, so little scrutiny.
_MAGICS: Final = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b"caff", b".snd", b"ID3",
    b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3", b"\xff\xe2",
)  # fmt: skip


class _Format(NamedTuple):
    """A kind of file that is written, and how much of it libsndfile can write."""

    kind: str
    subtype: str
    bits: int | None  # of integer samples
    max_channels: int
    max_rate: int  # in Hz


# 24 bits cost a FLAC file nothing when the samples have only 16: it leaves out low bits that
# are zero. libsndfile 1.2 crashes past the limits of Vorbis, where it should report an error.
_WRITABLE: Final = {
    ".wav": _Format("WAV", "PCM_16", 16, 1024, (1 << 31) - 1),
    ".flac": _Format("FLAC", "PCM_24", 24, 8, 655_350),
    ".ogg": _Format("OGG", "VORBIS", None, 255, 200_000),
}

_BLOCK: Final = 1 << 16  # samples at once; libsndfile overflows its stack on a long Vorbis write


@dataclass(frozen=True, eq=False)
class Audio(Media):
    """Sound: `samples` is float32 of shape `(C, T)`, full scale -1..1, at `sample_rate` Hz.

    `C` is at least 1, `T` may be 0. Louder samples are kept, and clipped in written files;
    NaN and infinities are refused.
    """

    samples: NDArray[np.float32]
    sample_rate: int

    suffixes: ClassVar[tuple[str, ...]] = (
        *_WRITABLE, ".mp3", ".oga", ".opus", ".aiff", ".aif", ".au", ".caf", ".w64",
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
        """Read the whole file; of a WAV or Ogg file that was cut off, what there is of it."""
        if not data.startswith(_MAGICS):
            raise InvalidInput("not an audio file that can be read")
        soundfile = _soundfile()
        try:
            with soundfile.SoundFile(io.BytesIO(data)) as file:
                channels, rate = int(file.channels), int(file.samplerate)
                # A FLAC file that was written to a pipe does not say how long it is, and
                # libsndfile then says 2^63 - 1 and cannot read it.
                if file.frames == (1 << 63) - 1:
                    raise InvalidInput("audio file does not state its length")
                check_count(file.frames * channels, MAX_SAMPLES, "samples of audio")
                samples = file.read(dtype="float32", always_2d=True).T
        except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, OSError) as e:
            raise InvalidInput(f"audio file is damaged: {_reason(e)}") from e
        return cls(samples, rate)

    def to_bytes(self, suffix: str | None = None) -> bytes:
        """Return the file's bytes: 16-bit WAV without a suffix, 24-bit FLAC, or Ogg Vorbis.

        Raises `InvalidInput` for a suffix that cannot be written, and for a clip that the
        format has no room for: too many channels, too high a rate, 0 samples in FLAC.
        """
        form = _WRITABLE.get((suffix or ".wav").lower())
        if form is None:
            raise InvalidInput(f"cannot write audio as {suffix!r}; known: {', '.join(_WRITABLE)}")
        channels, length = self.samples.shape
        fits = channels <= form.max_channels and self.sample_rate <= form.max_rate
        if not fits or (form.kind == "FLAC" and length == 0):
            raise InvalidInput(
                f"{form.kind} cannot hold {length} samples of {channels} channels at "
                f"{self.sample_rate} Hz"
            )
        soundfile = _soundfile()
        out = io.BytesIO()
        try:
            with soundfile.SoundFile(
                out, "w", self.sample_rate, channels, form.subtype, format=form.kind
            ) as file:
                for block in blocks(self.samples):
                    file.write((_pcm(block, form.bits) if form.bits else block.clip(-1, 1)).T)
        except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, OSError) as e:
            raise InvalidInput(f"cannot write this audio as {form.kind}: {_reason(e)}") from e
        return out.getvalue()


def _soundfile() -> Any:
    try:
        import soundfile  # type: ignore[import-untyped]
    except (ImportError, OSError) as e:  # OSError: the package without its shared library
        raise Unavailable('audio files need: pip install "omnicodec[audio]"') from e
    return soundfile


def blocks(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield `(C, T)` samples in pieces that encoders take at once."""
    for start in range(0, samples.shape[1], _BLOCK):
        yield np.ascontiguousarray(samples[:, start : start + _BLOCK])


def _pcm(block: NDArray[np.float32], bits: int) -> NDArray[np.int16] | NDArray[np.int32]:
    """Return integers of 16 bits, or of 24 in the top of 32: the inverse of reading them."""
    scale = 1 << (bits - 1)
    levels = (block.astype(np.float64) * scale).round().clip(-scale, scale - 1)
    if bits == 16:
        return levels.astype(np.int16)
    return levels.astype(np.int32) << (32 - bits)


def _reason(error: Exception) -> str:
    """Return libsndfile's own words, without the address of the buffer it was given."""
    return str(getattr(error, "error_string", error)).rstrip(".")
