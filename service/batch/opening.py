"""From what a source yields to media: files are opened within the limits, and long ones in pieces.

An item becomes a `Task`, its parts become `Opened` ones, and those go on in windows of some
megabytes, however large the items are: a document of a thousand pictures is never open at once.
"""

from __future__ import annotations

import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import (
    Audio,
    InvalidInput,
    LimitExceeded,
    OmnicodecError,
    Text,
    Video,
    limits,
)
from omnicodec.codecs.files import Source as FileSource
from omnicodec.service.batch.documents import Item, Part, Reject
from omnicodec.service.batch.flow import Flow
from omnicodec.service.batch.job import ItemLimits
from omnicodec.service.batch.tasks import (
    FAULTS,
    PASSED_ON,
    Medium,
    Opened,
    Sound,
    Task,
    Window,
)
from omnicodec.service.opener import Limits, open_limited

PIECE_SECONDS: Final = 10.0
"""Length of the pieces of sound that is too long to be opened whole."""

WHOLE_SAMPLES: Final = 1 << 22
"""Samples of all channels up to which sound is opened whole: 16 MiB."""

IN_MEMORY: Final = 1 << 26
"""Bytes of a video's frames, or of its sound, beyond which they lie in a temporary file."""

_FRAMES_BYTES: Final = 1 << 24
_ROOM: Final = 1 << 27
_WHAT_A_PIXEL_WEIGHS: Final = 24  # bytes of an opened picture for a byte of its file, about


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens parts for the codecs that there are.

    `modalities` are theirs: the sound of a video is opened where there is one for audio.
    `scratch` is a folder for temporary files, which have no names there. `at` hears of the
    position of each item before anything is done about it, if somebody listens.
    """

    limits: ItemLimits
    modalities: frozenset[str]
    scratch: Path
    at: Callable[[str], None] | None = None

    def open(self, task: Task, number: int) -> Opened:
        """Return a part, opened or with the error that says why it cannot be."""
        part = task.item.parts[number]
        if self.at is not None and not number:
            self.at(task.item.position)
        if not task.goes_on(number):
            return Opened(task, number)
        try:
            size = self._size(part)
            media = self._media(part)
        except PASSED_ON:
            raise
        except (OmnicodecError, *FAULTS) as e:
            return Opened(task, number, error=e)
        weight = sum(WHOLE_SAMPLES if isinstance(m, Sound) else m.nbytes for _, m in media)
        return Opened(task, number, media, None, size, min(weight, IN_MEMORY) + 64)

    def _size(self, part: Part) -> int:
        """Return the bytes of a part's file; raises `InvalidInput` and `LimitExceeded`."""
        if isinstance(part.data, bytes):
            size = len(part.data)
        else:
            with _reading():
                facts = part.data.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise InvalidInput("it is no regular file")
            size = facts.st_size
        if size > self.limits.nbytes:
            raise LimitExceeded(f"{size:,} bytes are over the limit of {self.limits.nbytes:,}")
        return size

    def _media(self, part: Part) -> tuple[tuple[str, Medium], ...]:
        modality = part.modality
        if modality not in self.modalities:
            raise InvalidInput(f"no codec was chosen for {modality}")
        if modality == "text":
            return ((modality, Text(_content(part))),)
        if modality == "audio":
            return ((modality, self._sound(part)),)
        if modality == "video":
            return self._video(part)
        most = Limits(self.limits.pixels, self.limits.seconds, sys.maxsize)
        return ((modality, open_limited(_content(part), modality, most)),)

    def _sound(self, part: Part) -> Medium:
        with _reading():
            reader = Audio.stream(_file(part), seconds=PIECE_SECONDS)
        checked = partial(self._checked, rate=reader.sample_rate, channels=reader.channels)
        try:
            checked(reader.length or 0)
            pieces = _count_up(iter(reader), checked)
            first, whole = _begin(pieces)
        except BaseException:
            reader.close()
            raise
        if whole:
            reader.close()
            return joined(first)

        def rest() -> Iterator[Audio]:
            with reader:
                yield from chain(first, pieces)

        return Sound(rest())

    def _checked(self, length: int, *, rate: int, channels: int) -> None:
        """Raise `LimitExceeded` for sound of so many samples a channel, and beyond the limits."""
        limits.check_count(length * channels, limits.MAX_SAMPLES, "samples of audio")
        Limits(0, self.limits.seconds, sys.maxsize).check(seconds=length / rate)

    def _video(self, part: Part) -> tuple[tuple[str, Medium], ...]:
        most = Limits(self.limits.pixels, self.limits.seconds, sys.maxsize)
        with _reading():
            film = Video.stream(_file(part))
        with film, _Store(self.scratch) as pictures, _Store(self.scratch) as heard:
            size, taken = film.height * film.width, 0
            with_sound = bool(film.channels) and "audio" in self.modalities
            sound = partial(self._checked, rate=film.sample_rate, channels=film.channels)

            def check(frames: int) -> None:
                pixels = frames * size
                limits.check_count(pixels, limits.MAX_VIDEO_PIXELS, "pixels of video")
                most.check(pixels=pixels, seconds=float(frames / film.fps))

            check(film.length or 0)
            while len(frames := film.read(max(1, _FRAMES_BYTES // (3 * size)))):
                taken += len(frames)
                check(taken)
                pictures.add(frames)
                if with_sound:
                    heard.add(film.read_sound().T)
                    sound(heard.nbytes // (4 * film.channels))
            clip = Video(pictures.array(np.uint8, (taken, film.height, film.width, 3)), film.fps)
            if not with_sound:
                return (("video", clip),)
            samples = heard.array(np.float32, (-1, film.channels))
            return ("video", clip), ("audio", _medium(samples, film.sample_rate))


def windows(
    flow: Flow,
    opener: Opener,
    entries: Iterable[Item | Reject],
    *,
    blamed: Mapping[str, str],
    threads: int,
    most_parts: int,
    most_weight: int,
) -> Iterator[Window]:
    """Yield the parts of all entries, opened, in windows of so many and of such a weight.

    Items in `blamed` are rejected for the reason given there, and never touched.
    """
    window = Window()

    def parts() -> Iterator[tuple[Task, int]]:
        for entry in entries:
            task = _task(entry, blamed)
            if task.rejected is not None:
                yield task, -1
            else:
                for number in range(task.left):
                    yield task, number

    opened = flow.in_order(
        lambda each: opener.open(*each) if each[1] >= 0 else Opened(each[0], -1),
        parts(),
        quick=_is_quick,
        size=_size_in_memory,
        threads=threads,
        room=_ROOM,
    )
    for each in opened:
        if each.part <= 0:
            window.begun.append(each.task)
        if each.part >= 0:
            window.parts.append(each)
            window.weight += each.weight
        full = len(window.parts) >= most_parts or len(window.begun) >= most_parts
        if full or window.weight >= most_weight:
            yield window
            window = Window()
    if window.begun or window.parts:
        yield window


def _task(entry: Item | Reject, blamed: Mapping[str, str]) -> Task:
    if isinstance(entry, Reject):
        return Task.of_reject(entry)
    task = Task.of(entry)
    if blamed and entry.position in blamed:
        task.rejected = Reject(entry.position, entry.key, "Crash", blamed[entry.position])
    return task


def _is_quick(each: tuple[Task, int]) -> bool:
    """Return whether there is nothing to open: another thread would cost more."""
    task, number = each
    if number < 0:
        return True
    part = task.item.parts[number]
    return part.modality == "text" and isinstance(part.data, bytes)


def _size_in_memory(each: tuple[Task, int]) -> int:
    """Return about how many bytes a part takes when it is open; nothing of it is read."""
    task, number = each
    if number < 0:
        return 0
    part = task.item.parts[number]
    if part.modality == "text" and isinstance(part.data, bytes):
        return len(part.data)
    if part.modality in ("audio", "video"):
        return IN_MEMORY // 2
    if isinstance(part.data, bytes):
        size = len(part.data)
    else:
        try:
            size = part.data.stat().st_size
        except (OSError, ValueError):  # what is wrong with it is said when it is opened
            size = 0
    return max(1 << 18, _WHAT_A_PIXEL_WEIGHS * size)


def joined(pieces: list[Audio]) -> Audio:
    """Return pieces of sound as one."""
    if len(pieces) == 1:
        return pieces[0]
    return Audio(np.concatenate([p.samples for p in pieces], 1), pieces[0].sample_rate)


def _count_up(pieces: Iterable[Audio], check: Callable[[int], None]) -> Iterator[Audio]:
    length = 0
    for piece in pieces:
        length += piece.samples.shape[1]
        check(length)
        yield piece


def _begin(pieces: Iterator[Audio]) -> tuple[list[Audio], bool]:
    """Take pieces until they are too many to be held; return them, and whether that was all."""
    first: list[Audio] = []
    held = 0
    for piece in pieces:
        first.append(piece)
        held += piece.samples.size
        if held > WHOLE_SAMPLES:
            return first, False
    return first, True


def _medium(samples: NDArray[np.float32], rate: int) -> Medium:
    """Return samples `(T, C)` as sound, in pieces if there are many."""
    step = max(1, round(PIECE_SECONDS * rate))
    starts = range(0, max(1, len(samples)), step)
    pieces = (Audio(np.ascontiguousarray(samples[at : at + step].T), rate) for at in starts)
    return joined(list(pieces)) if samples.size <= WHOLE_SAMPLES else Sound(pieces)


class _Store:
    """Bytes that are put together in memory, and in a file without a name when they are many."""

    def __init__(self, scratch: Path) -> None:
        self.nbytes = 0
        self._scratch = scratch
        self._held = bytearray()
        self._file: Any = None

    def __enter__(self) -> _Store:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, values: NDArray[Any]) -> None:
        """Add the bytes of an array; raises `OSError` when the disk is full."""
        data = np.ascontiguousarray(values)
        self.nbytes += data.nbytes
        if self._file is None and self.nbytes > IN_MEMORY:
            self._file = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115
            self._file.write(self._held)
            self._held = bytearray()
        if self._file is None:
            self._held += data.tobytes()
        else:
            self._file.write(data.data)

    def array(self, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return all of it; from a file it is mapped, and stays so when that is closed."""
        if self._file is None:
            return np.frombuffer(self._held, dtype).reshape(shape)
        self._file.flush()
        found: NDArray[Any] = np.memmap(self._file, dtype, "r").reshape(shape)
        return found


def _file(part: Part) -> FileSource:
    return part.data


def _content(part: Part) -> bytes:
    if isinstance(part.data, bytes):
        return part.data
    with _reading():
        return part.data.read_bytes()


class _reading:  # noqa: N801  # as the context managers of contextlib
    """Turns the system's errors about a file into `InvalidInput`, without the file's path."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError | ValueError):
            reason = getattr(error, "strerror", None) or str(error)
            raise InvalidInput(f"cannot read the file: {reason}") from error
