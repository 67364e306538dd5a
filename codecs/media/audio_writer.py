"""Sound in pieces to files and pipes, in constant memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import atomic_file
from omnicodec.codecs.media.libsndfile import damage, import_soundfile
from omnicodec.codecs.media.pcm import PCM, integers

if TYPE_CHECKING:
    from omnicodec.codecs.media.audio import Audio

Samples = NDArray[np.float32]


class _Format(NamedTuple):
    """A kind of file that is written, and how much of it can be."""

    kind: str
    subtype: str
    max_channels: int
    max_rate: int  # in Hz


# 24 bits cost a FLAC file nothing when the samples have only 16: it leaves out low bits that
# are zero. libsndfile 1.2 crashes past the limits of Vorbis, where it should report an error.
WRITABLE: Final = {
    ".wav": _Format("WAV", "PCM_16", 1024, (1 << 31) - 1),
    ".flac": _Format("FLAC", "PCM_24", 8, 655_350),
    ".ogg": _Format("OGG", "VORBIS", 255, 200_000),
}

_BLOCK: Final = 1 << 16  # samples at once; libsndfile overflows its stack on a long Vorbis write


class AudioWriter:
    """A file or pipe that sound is written to in pieces.

        with AudioWriter("out.flac", 48_000, 2) as file:
            file.write(piece)

    WAV has 16 bits, FLAC 24, Ogg is Vorbis. A path appears when the writer is closed, whole,
    and not at all when the `with` block ends with an error. A WAV goes to a pipe as it
    comes: its header states `length` samples where that is known, and else an unknown
    length, as sox and FFmpeg have it. Ogg and FLAC reach a pipe when they are whole.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | IO[bytes],
        sample_rate: int,
        channels: int,
        *,
        suffix: str | None = None,
        pcm: str | None = None,
        length: int | None = None,
    ) -> None:
        """Write to a path or an open file; `suffix` is by default that of the path, else .wav.

        `pcm` is one of `SAMPLE_FORMATS`: plain samples without any header. Raises `InvalidInput`
        for a suffix or sample format that there is not, and for a rate or a number of
        channels that the format has no room for.
        """
        if suffix is None and isinstance(target, str | os.PathLike):
            suffix = Path(target).suffix or None
        self.sample_rate, self.channels = sample_rate, channels
        self.written = 0
        """Samples of each channel so far."""

        form = None if pcm else _form(suffix, sample_rate, channels)
        with contextlib.ExitStack() as stack:
            file = target
            if isinstance(file, str | os.PathLike):
                file = stack.enter_context(atomic_file(file))
            if pcm:
                self._out: _Out = _PlainOut(file, PCM(pcm, sample_rate, channels))
            elif form is None or form.kind == "WAV":
                self._out = _WavOut(file, PCM("s16le", sample_rate, channels), length)
            else:
                self._out = _FileOut(file, form, sample_rate, channels, stack)
            self._stack = stack.pop_all()

    @property
    def nbytes(self) -> int:
        """Bytes of the file, once it is closed."""
        return self._out.nbytes

    def write(self, piece: Audio) -> None:
        """Write the next piece; raises `InvalidInput` if it has another rate or channels."""
        ours = (self.sample_rate, self.channels)
        if (piece.sample_rate, len(piece.samples)) != ours:
            raise InvalidInput(
                f"a file of {self.channels} channels at {self.sample_rate} Hz cannot go on with "
                f"{len(piece.samples)} at {piece.sample_rate} Hz"
            )
        for start in range(0, piece.samples.shape[1], _BLOCK):
            self._out.write(np.ascontiguousarray(piece.samples[:, start : start + _BLOCK]))
        self.written += piece.samples.shape[1]

    def close(self) -> None:
        """Finish the file; raises `InvalidInput` where it is not as long as was stated."""
        with self._stack:  # which takes the file away where this fails
            self._out.finish(self.written)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self.close()
        else:
            self._stack.__exit__(*error)


def _form(suffix: str | None, sample_rate: int, channels: int) -> _Format:
    form = WRITABLE.get((suffix or ".wav").lower())
    if form is None:
        raise InvalidInput(f"cannot write audio as {suffix!r}; known: {', '.join(WRITABLE)}")
    if channels > form.max_channels or sample_rate > form.max_rate:
        raise InvalidInput(f"{form.kind} cannot hold {channels} channels at {sample_rate} Hz")
    return form


class _Out(Protocol):
    nbytes: int

    def write(self, samples: Samples) -> None:
        """Write samples `(channels, T)`."""

    def finish(self, written: int) -> None:
        """Write what is left, after so many samples."""


class _PlainOut:
    """Samples without a header."""

    def __init__(self, file: IO[bytes], pcm: PCM) -> None:
        self._file, self._pcm = file, pcm
        self.nbytes = 0

    def write(self, samples: Samples) -> None:
        self._add(self._pcm.to_bytes(samples))
        self._file.flush()  # someone may be listening

    def finish(self, written: int) -> None:
        self._file.flush()

    def _add(self, data: bytes) -> None:
        _write(self._file, data)
        self.nbytes += len(data)


class _WavOut(_PlainOut):
    """A WAV, whose header is put right at the end if the file lets it."""

    def __init__(self, file: IO[bytes], pcm: PCM, length: int | None) -> None:
        super().__init__(file, pcm)
        self._length = length
        self._begin = file.tell() if length is None and file.seekable() else None
        self._add(pcm.wav_header(length))

    def finish(self, written: int) -> None:
        if self._length not in (None, written):
            raise InvalidInput(f"{written} samples came where {self._length} were to come")
        if self._begin is not None:
            end = self._file.tell()
            self._file.seek(self._begin)
            _write(self._file, self._pcm.wav_header(written))
            self._file.seek(end)
        self._file.flush()


class _FileOut:
    """A file that libsndfile writes; it goes back in it, so a pipe gets a copy."""

    def __init__(
        self, file: IO[bytes], form: _Format, rate: int, channels: int, stack: contextlib.ExitStack
    ) -> None:
        soundfile = import_soundfile()
        self._form, self._target = form, file
        self.nbytes = 0
        self._spool = file
        if not file.seekable():
            self._spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        with damage(f"cannot write this audio as {form.kind}"):
            self._file = soundfile.SoundFile(
                self._spool, "w", rate, channels, form.subtype, format=form.kind
            )
        stack.callback(self._file.close)

    def write(self, samples: Samples) -> None:
        exact = self._form.kind == "FLAC"
        data = integers(samples, 24).astype(np.int32) << 8 if exact else samples.clip(-1, 1)
        with damage(f"cannot write this audio as {self._form.kind}"):
            self._file.write(data.T)

    def finish(self, written: int) -> None:
        if self._form.kind == "FLAC" and not written:
            raise InvalidInput("FLAC cannot hold 0 samples")
        with damage(f"cannot write this audio as {self._form.kind}"):
            self._file.close()
        self.nbytes = self._spool.seek(0, os.SEEK_END)
        if self._spool is not self._target:
            self._spool.seek(0)
            shutil.copyfileobj(self._spool, self._target)
        self._target.flush()


def _write(file: IO[bytes], data: bytes) -> None:
    # With PYTHONUNBUFFERED, stdout is a raw file, and those may take less than all.
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
