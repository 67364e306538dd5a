"""Video in pieces, from files and pipes of any length, in constant memory."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import limits
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import Source
from omnicodec.codecs.limits import check_pixels
from omnicodec.codecs.media.audio import Audio
from omnicodec.codecs.media.audio_reader import AvSound, Samples, open_source
from omnicodec.codecs.media.colour import ToRGB
from omnicodec.codecs.media.ffmpeg import import_av, open_file, reason
from omnicodec.codecs.media.raw_video import RawVideo

if TYPE_CHECKING:
    from omnicodec.codecs.media.video import Video

Frames = NDArray[np.uint8]

_READABLE: Final = "mov,matroska,avi,gif,yuv4mpegpipe"  # others open further files by name
_READABLE_NAMES: Final = "MP4, MOV, MKV, WebM, AVI, GIF, y4m"
_INDEXED: Final = "mov"  # formats that say how many frames there are
_UNIFORM: Final = "yuv4mpegpipe"  # whose frames have no times

_MOST_BOXES: Final = 1000

_AT_ONCE: Final = 16
_USUAL: Final = Fraction(25)


class VideoReader:
    """The pictures and the sound of a file or pipe, read in pieces: an iterator over `Video`.

        with Video.stream("film.mkv", frames=32) as film:
            for piece in film:
                ...

    `fps`, `height` and `width` are known from the beginning. `length` is the number of frames
    that the file should have, None where it does not say. `variable` says that frames do not
    come at a fixed rate; `fps` is then their mean, and each is there once. Sound goes with
    the frames that it is heard with, and the last piece has the rest, so that the pieces
    together are the whole; `channels` is 0 without. Nothing is loaded whole, but a pipe of
    anything but raw frames is copied to a temporary file first.
    """

    def __init__(
        self, source: Source, *, frames: int = _AT_ONCE, raw: RawVideo | None = None
    ) -> None:
        """Open a path, bytes, or a binary file or pipe, of raw frames if `raw` says how.

        Raises `InvalidInput` when it cannot be read as video, or has no frames,
        `LimitExceeded` where they are too large, `Unavailable` without PyAV.
        """
        self.frames = frames
        """How many frames a piece has; it may be changed before the first."""

        av = import_av("video files")
        self._errors = (av.FFmpegError, OSError, ValueError, MemoryError)
        self._to_rgb = ToRGB(av)
        self._sound: AvSound | None = None
        with contextlib.ExitStack() as stack:
            file = open_source(source, stack)
            begin = file.tell() if file.seekable() else None
            try:
                self._open(av, file, raw, stack)
                first = next(self._pictures, None)
            except self._errors as e:
                known = None if begin is None or raw else _known_fault(file, begin)
                raise InvalidInput(
                    known or f"not a video that can be read ({_READABLE_NAMES}): {reason(e)}"
                ) from e
            if first is None:
                raise InvalidInput("there are no frames")
            self._stack = stack.pop_all()
        self._next: Frames | None = first
        self.height, self.width = first.shape[:2]
        self.fps, self.length = self._facts.fps, self._facts.length
        self.variable = self._facts.variable
        self._taken = self._heard = 0

    def _open(
        self, av: Any, file: IO[bytes], raw: RawVideo | None, stack: contextlib.ExitStack
    ) -> None:
        source: _Pictures
        if raw is not None:
            source = _RawPictures(av, file, raw)
        else:
            if not file.seekable():
                spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
                shutil.copyfileobj(file, spool)
                spool.seek(0)
                file = spool
            begin = file.tell()
            with _container(av, _view(file, begin)) as container:
                facts = _scan(av, container)
            container = stack.enter_context(_container(av, _view(file, begin)))
            source = _AvPictures(av, container, facts)
            if any(s.codec_context for s in container.streams.audio):
                cut_off = _INDEXED not in container.format.name
                self._sound = AvSound(_view(file, begin), formats=_READABLE, cut_off=cut_off)
                stack.callback(self._sound.close)
        self._facts = source.facts
        self._pictures = map(self._to_rgb, source)

    @property
    def channels(self) -> int:
        """Channels of the sound, 0 without any."""
        return self._sound.channels if self._sound else 0

    @property
    def sample_rate(self) -> int:
        """Samples of the sound a second, 0 without any."""
        return self._sound.sample_rate if self._sound else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened here; a file that was given open stays so."""
        self._stack.close()

    def __iter__(self) -> Iterator[Video]:
        """Yield the pieces that are left.

        Raises `InvalidInput` for damage, and where the picture changes its size.
        """
        from omnicodec.codecs.media.video import Video

        if self.frames < 1:
            raise InvalidInput(f"a piece of video cannot have {self.frames} frames")
        size = max(1, min(self.frames, limits.MAX_VIDEO_PIXELS // (self.height * self.width)))
        while self._next is not None:
            frames = self.read(size)
            audio = None
            if self._sound is not None:
                audio = Audio(self.read_sound(), self._sound.sample_rate)
            yield Video(frames, self.fps, audio)

    def read(self, count: int) -> Frames:
        """Return the next frames `(count, H, W, 3)`, fewer only at the end."""
        found: list[Frames] = []
        while self._next is not None and len(found) < count:
            found.append(self._next)
            self._taken += 1
            try:
                self._next = next(self._pictures, None)
            except self._errors as e:
                raise InvalidInput(f"video file is damaged: {reason(e)}") from e
            if self._next is not None and self._next.shape[:2] != (self.height, self.width):
                raise InvalidInput("the picture changes its size")
        shape = (0, self.height, self.width, 3)
        return np.stack(found) if found else np.zeros(shape, np.uint8)

    def read_sound(self) -> Samples:
        """Return the samples `(channels, n)` that go with the frames read since the last call.

        Behind the last frame this is all that is left.
        """
        if self._sound is None:
            return np.zeros((1, 0), np.float32)
        if self._next is None:
            pieces = []
            while (piece := self._sound.read(1 << 16)).shape[1]:
                pieces.append(piece)
                self._heard += piece.shape[1]
                limits.check_count(self._heard * len(piece), limits.MAX_SAMPLES, "samples of audio")
            return np.concatenate([np.zeros((self.channels, 0), np.float32), *pieces], 1)
        until = round(self._taken * self._sound.sample_rate / self.fps)
        samples = self._sound.read(until - self._heard)
        self._heard += samples.shape[1]
        return samples


class _Facts(NamedTuple):
    """What is known of a video's frames before they are decoded."""

    fps: Fraction
    length: int | None
    variable: bool = False


class _Pictures(Protocol):
    facts: _Facts

    def __iter__(self) -> Iterator[Any]:
        """Yield PyAV frames."""


class _RawPictures:
    """Frames as plain bytes."""

    def __init__(self, av: Any, file: IO[bytes], raw: RawVideo) -> None:
        self._av, self._file, self._raw = av, file, raw
        length = None
        if file.seekable():
            begin = file.tell()
            length = (file.seek(0, 2) - begin) // raw.frame_bytes
            file.seek(begin)
        self.facts = _Facts(raw.fps, length)

    def __iter__(self) -> Iterator[Any]:
        raw = self._raw
        for number in itertools.count():
            data, left = [], raw.frame_bytes
            while left and (piece := self._file.read(left)):
                data.append(piece)
                left -= len(piece)
            if not data:
                return
            if left:
                raise InvalidInput(
                    f"raw video ends within frame {number}: it is cut off, or its frames are "
                    f"not {raw.format} of {raw.width}x{raw.height}"
                )
            yield raw.to_frame(self._av, b"".join(data))


class _AvPictures:
    """The first video of a file that FFmpeg reads."""

    def __init__(self, av: Any, container: Any, facts: _Facts) -> None:
        self.facts = facts
        self._container = container
        self._stream = _stream(av, container)
        context = self._stream.codec_context
        check_pixels(context.height, context.width)
        self._stream.thread_type = "AUTO"

    def __iter__(self) -> Iterator[Any]:
        yield from self._container.decode(self._stream)


def _scan(av: Any, container: Any) -> _Facts:
    """Return what a file's packets say; none of them is decoded.

    Raises `InvalidInput` for a file that has an index, and not all of what stands in it.
    """
    stream = _stream(av, container)
    stated = _exact(Fraction(stream.average_rate or _USUAL))
    if container.format.name == _UNIFORM:
        seconds = (stream.duration or 0) * (stream.time_base or 0)
        return _Facts(stated, round(seconds * stated) or None)
    times, count, last, corrupt = [], 0, 0, False
    for packet in container.demux(stream):
        corrupt |= packet.is_corrupt
        if packet.size and not packet.is_discard:
            count += 1
            if packet.pts is not None:
                times.append(packet.pts)
                last = packet.duration or last
    if _INDEXED in container.format.name:
        listed = _listed(stream)
        if corrupt or count < listed - 1:  # one may fall to how an edit list is rounded
            raise InvalidInput(
                f"video file is damaged or cut off: of {listed} frames {count} are there"
            )
    if len(times) < 2 or len(times) < count or not stream.time_base:
        return _Facts(stated, count)
    unit = Fraction(stream.time_base)
    at = np.sort(np.array(times, np.int64)).astype(np.float64) * float(unit)
    span = at[-1] - at[0] + float(last * unit or 1 / stated)
    fps = stated
    if abs(span * float(stated) - count) >= 1 and span > 0:
        fps = Fraction(count / span).limit_denominator(1001)
    even = at[0] + np.arange(count) / float(fps)
    return _Facts(fps, count, bool(np.abs(at - even).max() * float(fps) > 1))


def _known_fault(file: IO[bytes], begin: int) -> str | None:
    """Return what is wrong with a file that FFmpeg has no plain words for, if it is known."""
    file.seek(begin)
    head = file.read(8)
    if not head:
        return "the video file is empty"
    if head.startswith((b"#EXTM3U", b"ffconcat")):
        return "this is a list of other files, and those are never opened: give them one by one"
    if head[4:] != b"ftyp":
        return None
    # An MP4 is boxes with their lengths; most writers put the index, moov, at the end.
    for _ in range(_MOST_BOXES):
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"moov":
            return None
        if size == 1:
            size = int.from_bytes(file.read(8), "big") - 8
        if size < 8 or not file.seek(size - 8, os.SEEK_CUR) or len(head := file.read(8)) < 8:
            return "the video file is cut off: its index, which stands at the end, is not there"
    return None


def _listed(stream: Any) -> int:
    """Return how many frames a file's index has, unless an edit list leaves some of them out."""
    listed = int(stream.frames or 0)
    if stream.duration and stream.average_rate and stream.time_base:
        listed = min(listed, round(stream.duration * stream.time_base * stream.average_rate))
    return listed


def _stream(av: Any, container: Any) -> Any:
    """Return the first video that is no cover of a record."""
    covers = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if stream.codec_context and not stream.disposition & covers:
            return stream
    raise InvalidInput("there is no video in this file")


def _container(av: Any, file: IO[bytes]) -> Any:
    return open_file(av, file, _READABLE, max_pixels=str(limits.MAX_PIXELS))


def _exact(rate: Fraction) -> Fraction:
    """Undo the rounding of Matroska's whole nanoseconds, as in 60000/1001 to 19001/317."""
    ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    return ntsc if abs(rate - ntsc) < rate / 2_000_000 else rate


def _view(file: IO[bytes], begin: int) -> IO[bytes]:
    return cast("IO[bytes]", _View(file, begin))


class _View:
    """A file that several read, each from where it is itself; `begin` is its first byte."""

    def __init__(self, file: IO[bytes], begin: int) -> None:
        self._file, self._begin, self._at = file, begin, 0

    def read(self, size: int = -1) -> bytes:
        self._file.seek(self._begin + self._at)
        data = self._file.read(size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 2:
            self._at = self._file.seek(offset, 2) - self._begin
        else:
            self._at = offset if whence == 0 else self._at + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
