"""Sound in pieces, from files and pipes of any length, in constant memory."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import Source
from omnicodec.codecs.media import ffmpeg
from omnicodec.codecs.media.audio import Audio
from omnicodec.codecs.media.libsndfile import damage, import_soundfile
from omnicodec.codecs.media.pcm import PCM, read_wav_header

# How the files begin that are handed to libsndfile at all: WAV, RF64, Wave64, FLAC, Ogg,
# AIFF, CAF, AU, MP3. Its readers for rarer formats see little use, so little scrutiny.
_SOUNDFILE: Final = (
    b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b"caff", b".snd", b"ID3",
    b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3", b"\xff\xe2",
)  # fmt: skip

# The same for FFmpeg: Matroska and WebM, AAC, ASF, FLV, MPEG. MP4 and AVI have it further in.
_AV: Final = (
    b"\x1a\x45\xdf\xa3", b"\xff\xf1", b"\xff\xf9", b"\x30\x26\xb2\x75", b"FLV", b"\x47\x40",
    b"\x00\x00\x01\xba",
)  # fmt: skip
_AV_FORMATS: Final = "mov,matroska,avi,aac,asf,flv,mpegts,mpeg,flac"

HEAD_BYTES: Final = 12
"""What `is_sound` needs to see of a file."""

_MAX_PIECE: Final = 1 << 24  # samples of all channels together
_UNSTATED: Final = (1 << 63) - 1  # what libsndfile says of a FLAC file that states no length

Samples = NDArray[np.float32]


def is_sound(head: bytes) -> bool:
    """Return whether a file that begins like this is one with sound alone."""
    inner = head[8:12]
    if head.startswith((b"RIFF", b"FORM")):
        return inner in (b"WAVE", b"AIFF", b"AIFC")
    return head.startswith(_SOUNDFILE) or head.startswith(_AV[1:3]) or head[4:11] == b"ftypM4A"


class AudioReader:
    """The sound of a file or pipe, read in pieces: an iterator over `Audio`.

        with Audio.stream("hour.flac", seconds=10) as sound:
            for piece in sound:
                ...

    `sample_rate` and `channels` are known from the beginning. `length` is the number of
    samples that the file states for each channel, None where it states none, as in a live
    WAV; a file may hold fewer. At least one piece comes, which may be empty; only the last
    is shorter than the others. Nothing is loaded whole, but a pipe of anything but WAV or
    plain samples is copied to a temporary file first.
    """

    def __init__(self, source: Source, *, seconds: float = 1.0, pcm: PCM | None = None) -> None:
        """Open a path, bytes, or a binary file or pipe, of plain samples if `pcm` says how.

        Raises `InvalidInput` when it cannot be read as sound, `Unavailable` when what would
        read it is not installed.
        """
        self.seconds = seconds
        """How long a piece is; it may be changed before the first."""

        with contextlib.ExitStack() as stack:
            self._sound = open_sound(open_source(source, stack), pcm, stack)
            stack.callback(self._sound.close)
            self._stack = stack.pop_all()
        self.sample_rate = self._sound.sample_rate
        self.channels = self._sound.channels
        self.length = self._sound.length

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened here; a file that was given open stays so."""
        self._stack.close()

    def __iter__(self) -> Iterator[Audio]:
        """Yield the pieces that are left.

        Raises `InvalidInput` for damage, and for samples that are not finite.
        """
        if not self.seconds > 0:
            raise InvalidInput(f"a piece of sound cannot last {self.seconds} seconds")
        most = min(self.seconds * self.sample_rate, _MAX_PIECE // self.channels)
        size = max(1, round(most))
        for number in itertools.count():
            samples = self._sound.read(size)
            if samples.shape[1] or not number:
                yield Audio(samples, self.sample_rate)
            if samples.shape[1] < size:
                return


class Sound(Protocol):
    """Sound that is being read: `length` is in samples of a channel, None if it is not told."""

    sample_rate: int
    channels: int
    length: int | None

    def read(self, count: int) -> Samples:
        """Return the next samples `(channels, count)`, fewer only at the end."""

    def close(self) -> None:
        """Let go of everything but the file itself."""


def open_sound(file: IO[bytes], pcm: PCM | None, stack: contextlib.ExitStack) -> Sound:
    """Return the sound in an open file; what has to be closed behind it goes on the stack."""
    if pcm is not None:
        return _PlainSound(file, pcm, None)
    if not file.seekable():
        taken = bytearray()
        header = _wav_header(file, taken)
        if header is not None:
            return _PlainSound(file, *header)
        spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        spool.write(taken)
        shutil.copyfileobj(file, spool)
        spool.seek(0)
        file = spool
    begin = file.tell()
    head = file.read(HEAD_BYTES)
    file.seek(begin)
    if head.startswith(_SOUNDFILE) and head[8:12] != b"AVI ":
        sound = _FileSound(file)
        if sound.length != _UNSTATED:
            return sound
        # A FLAC file that was written to a pipe, which libsndfile cannot read.
        sound.close()
        file.seek(begin)
        return AvSound(file)
    if head.startswith(_AV) or head[4:8] == b"ftyp" or head[8:12] == b"AVI ":
        return AvSound(file)
    raise InvalidInput("not an audio file that can be read" if head else "the audio file is empty")


def open_source(source: Source, stack: contextlib.ExitStack) -> IO[bytes]:
    """Return an open file of a path or bytes, or the one that was given.

    What is opened here goes on the stack. Raises `InvalidInput` when it cannot be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if not isinstance(source, str | os.PathLike):
        return source
    try:
        return stack.enter_context(open(source, "rb"))
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise InvalidInput(f"cannot read {os.fspath(source)!r}: {reason}") from e


def _wav_header(file: IO[bytes], taken: bytearray) -> tuple[PCM, int | None] | None:
    """Return what a pipe says before its samples, or None if it is no plain WAV.

    What was read of it is put into `taken`.
    """

    def read(size: int) -> bytes:
        piece = _read(file, size)
        taken.extend(piece)
        return piece

    head = read(HEAD_BYTES)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    pending = [head]
    return read_wav_header(lambda size: pending.pop() if pending else read(size))


def _read(file: IO[bytes], size: int) -> bytes:
    """Return so many bytes of a file or pipe, fewer only at its end."""
    pieces, left = [], size
    while left and (piece := file.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


class _PlainSound:
    """Samples as they lie in a pipe; the last ones are dropped if they are not whole."""

    def __init__(self, file: IO[bytes], pcm: PCM, size: int | None) -> None:
        self.sample_rate, self.channels = pcm.sample_rate, pcm.channels
        self.length = None if size is None else size // pcm.frame_bytes
        self._file, self._pcm = file, pcm
        self._left = self.length

    def read(self, count: int) -> Samples:
        if self._left is not None:
            count = min(count, self._left)
        data = _read(self._file, count * self._pcm.frame_bytes)
        samples = self._pcm.to_samples(data[: len(data) - len(data) % self._pcm.frame_bytes])
        if self._left is not None:
            self._left -= samples.shape[1]
        return samples

    def close(self) -> None:
        pass


class _FileSound:
    """A file that libsndfile reads."""

    def __init__(self, file: IO[bytes]) -> None:
        soundfile = import_soundfile()
        with damage():
            self._file = soundfile.SoundFile(file)
        # Where it can, soundfile seeks to where it is after each read, which an MP3 does not stand.
        self._file.seekable = lambda: False
        self.sample_rate, self.channels = int(self._file.samplerate), int(self._file.channels)
        self.length: int | None = int(self._file.frames)
        self._exact = self._file.format == "FLAC"  # others may be estimates, or cut off
        self._taken = 0

    def read(self, count: int) -> Samples:
        with damage():
            block = self._file.read(count, dtype="float32", always_2d=True)
        self._taken += len(block)
        if self._exact and len(block) < count and self._taken != self.length:
            raise InvalidInput("audio file is damaged: it is cut off")
        samples: Samples = np.ascontiguousarray(block.T)
        return samples

    def close(self) -> None:
        with damage():
            self._file.close()


class AvSound:
    """The first sound of a file that FFmpeg reads, of one of its `formats`.

    One that ends before it should is damaged, unless it may be `cut_off`.
    """

    def __init__(
        self, file: IO[bytes], *, formats: str = _AV_FORMATS, cut_off: bool = False
    ) -> None:
        self._av = av = ffmpeg.import_av("sound files of this kind")
        self._errors = (av.FFmpegError, OSError, ValueError, MemoryError)
        self._pieces: list[Samples] = []
        self._ready = self._taken = 0
        try:
            self._container = ffmpeg.open_file(av, file, formats)
            streams = [s for s in self._container.streams.audio if s.codec_context]
            if not streams:
                raise InvalidInput("there is no sound in this file")
            self._stream = streams[0]
            self._frames = self._container.decode(self._stream)
            # What a file says of HE-AAC is not what comes out of it.
            first = next(self._frames, None)
        except self._errors as e:
            raise InvalidInput(f"not an audio file that can be read: {ffmpeg.reason(e)}") from e
        context = first or self._stream.codec_context
        self.sample_rate = int(context.sample_rate)
        self.channels = int(context.layout.nb_channels)
        if self.sample_rate < 1 or self.channels < 1:
            raise InvalidInput("there is no sound in this file")
        self.length: int | None = None
        self._cut_off = cut_off
        self._to_float = av.AudioResampler(format="flt")
        if first is not None:
            self._add(first)

    def read(self, count: int) -> Samples:
        try:
            while self._ready < count and (frame := next(self._frames, None)) is not None:
                self._add(frame)
        except self._errors as e:
            raise InvalidInput(f"audio file is damaged: {ffmpeg.reason(e)}") from e
        found = np.concatenate([np.zeros((self.channels, 0), np.float32), *self._pieces], 1)
        self._pieces = [found[:, count:]]
        self._ready = max(0, self._ready - count)
        self._taken += min(count, found.shape[1])
        if found.shape[1] < count and not self._cut_off:
            self._check_end()
        return np.ascontiguousarray(found[:, :count])

    def close(self) -> None:
        self._container.close()

    def _add(self, frame: Any) -> None:
        if (frame.sample_rate, frame.layout.nb_channels) != (self.sample_rate, self.channels):
            raise InvalidInput("the sound changes its rate or its channels on the way")
        for piece in self._to_float.resample(frame):
            self._pieces.append(piece.to_ndarray().reshape(-1, self.channels).T)
            self._ready += piece.samples

    def _check_end(self) -> None:
        """Raise unless about as much sound came as the file promised."""
        stream = self._stream
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
            if self._taken / self.sample_rate < 0.98 * seconds - 0.5:
                raise InvalidInput("audio file is damaged: it is cut off")
