"""A process that opens untrusted files for a server, and can be killed when one takes too long.

Decoders are C libraries: a thread that is inside of one cannot be stopped, and one that crashes
takes its process along. So the server keeps a few processes that do nothing else. They are told
what a file may become, look at its header first, and decode it only if that is within the limits.

Both sides send frames over a socket: two lengths, a JSON object, and bytes. `main` reads
    {"modality": "image", "pixels": 536870912, "seconds": 14400.0, "cost": 4294967296}  FILE
and answers with one of
    {"kind": "image", "shape": [480, 640, 3], ...}  PIXELS
    {"needs": 123456789}                            more than `cost`, known from the header
    {"error": "InvalidInput", "message": "..."}
Large arrays go through memory that both share, where the system has it: over a socket each piece of
them costs a switch between the processes.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import (
    Audio,
    Image,
    LimitExceeded,
    Media,
    OmnicodecError,
    Series,
    Video,
    limits,
)

COST_OF_UNIT: Final = 16
"""Bytes of working memory for a pixel, a sample, a value, a byte of text: as it came, as an
array, as what the codec is given, as tokens and as an answer."""

_HEAD: Final = struct.Struct("<IQ")
_PIECE: Final = 1 << 22
_PIECE_SECONDS: Final = 10.0
_SHARED_BYTES: Final = 1 << 16
_READY: Final = {"ready": True}


@dataclass(frozen=True)
class Limits:
    """What one item may be: pixels of all frames together, seconds, bytes of working memory."""

    pixels: int
    seconds: float
    cost: int

    def check(self, *, pixels: float = 0, seconds: float = 0.0, units: float = 0) -> None:
        """Raise `LimitExceeded`, or `NeedsMore` where another time it could be allowed."""
        if pixels > self.pixels:
            raise LimitExceeded(f"{pixels:,} pixels are over the limit of {self.pixels:,}")
        if seconds > self.seconds:
            raise LimitExceeded(
                f"{seconds:,.1f} seconds are over the limit of {self.seconds:,g} seconds"
            )
        if COST_OF_UNIT * units > self.cost:
            raise NeedsMore(math.ceil(COST_OF_UNIT * units))


class NeedsMore(Exception):
    """An item needs `cost` bytes of working memory, more than it was given."""

    def __init__(self, cost: int) -> None:
        super().__init__(cost)
        self.cost = cost


def open_limited(data: bytes, modality: str, most: Limits) -> Media:
    """Return the media in a file, no more than `most`.

    What the header says is checked before anything is decoded, and what comes out while it does.
    Raises `InvalidInput`, `LimitExceeded` or `NeedsMore`.
    """
    return _OPENERS[modality](data, most)


def _open_image(data: bytes, most: Limits) -> Image:
    from PIL import Image as Pillow

    from omnicodec.codecs.media.image import READABLE

    Pillow.init()
    Pillow.MAX_IMAGE_PIXELS = None  # the limits here are stricter, and errors no warnings
    formats = [kind for kind in READABLE if kind in Pillow.OPEN]
    size = 0
    # What is wrong with a file, `Image.open` says better.
    with contextlib.suppress(Exception), Pillow.open(io.BytesIO(data), formats=formats) as file:
        size = file.height * file.width
    most.check(pixels=size, units=size)
    return Image.open(data)


def _open_audio(data: bytes, most: Limits) -> Audio:
    with Audio.stream(data, seconds=_PIECE_SECONDS) as sound:
        rate, channels = sound.sample_rate, sound.channels

        def check(steps: int) -> None:
            limits.check_count(steps * channels, limits.MAX_SAMPLES, "samples of audio")
            most.check(seconds=steps / rate, units=steps * channels)

        check(sound.length or 0)
        pieces, steps = [], 0
        for piece in sound:
            steps += piece.samples.shape[1]
            check(steps)
            pieces.append(piece.samples)
    return Audio(pieces[0] if len(pieces) == 1 else np.concatenate(pieces, 1), rate)


def _open_video(data: bytes, most: Limits) -> Video:
    with Video.stream(data) as film:
        size, rate = film.height * film.width, film.sample_rate

        def check(frames: int) -> None:
            pixels = frames * size
            limits.check_count(pixels, limits.MAX_VIDEO_PIXELS, "pixels of video")
            most.check(pixels=pixels, seconds=float(frames / film.fps), units=pixels)

        check(film.length or 0)
        count, found = 0, bytearray()
        while len(frame := film.read(1)):
            count += 1
            check(count)
            found += frame.tobytes()
        frames = np.frombuffer(found, np.uint8).reshape(count, film.height, film.width, 3)
        if not film.channels:
            return Video(frames, film.fps)
        # Of the sound behind the last frame the reader takes all there is, up to this.
        allowed = (most.cost // COST_OF_UNIT, math.ceil(most.seconds * rate * film.channels))
        before = limits.MAX_SAMPLES
        limits.MAX_SAMPLES = min(before, *allowed)  # type: ignore[misc]
        try:
            samples = film.read_sound()
        finally:
            limits.MAX_SAMPLES = before  # type: ignore[misc]
        return Video(frames, film.fps, Audio(samples, rate))


def _open_series(data: bytes, most: Limits) -> Series:
    series = Series.open(data)
    most.check(units=series.values.size)
    return series


_OPENERS: Final[Mapping[str, Callable[[bytes, Limits], Media]]] = {
    "image": _open_image,
    "audio": _open_audio,
    "video": _open_video,
    "series": _open_series,
}

MODALITIES: Final = frozenset(_OPENERS)
"""Those whose files have to be decoded; text is bytes already."""


def pack(media: Media) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return what makes an item, beside the numbers of its arrays, and the arrays."""
    match media:
        case Image():
            return {"kind": "image", "shape": media.pixels.shape}, [media.pixels]
        case Audio():
            shape = media.samples.shape
            return {"kind": "audio", "shape": shape, "rate": media.sample_rate}, [media.samples]
        case Series():
            shape = media.values.shape
            return {"kind": "series", "shape": shape, "rate": media.rate}, [media.values]
        case Video():
            facts = {"kind": "video", "shape": media.frames.shape, "fps": str(media.fps)}
            if media.audio is None:
                return facts, [media.frames]
            sound, (samples,) = pack(media.audio)
            return {**facts, "sound": sound}, [media.frames, samples]
        case _:
            raise TypeError(type(media).__name__)


def unpack(facts: Mapping[str, Any], read: Callable[[memoryview], None]) -> Media:
    """Return the item that `pack` was given; `read` fills the arrays, one after the other."""

    def array(dtype: type[np.generic], shape: Sequence[int]) -> NDArray[Any]:
        found = np.empty(shape, dtype)
        if found.size:
            read(memoryview(found.data).cast("B"))
        return found

    match facts["kind"]:
        case "image":
            return Image(array(np.uint8, facts["shape"]))
        case "audio":
            return Audio(array(np.float32, facts["shape"]), facts["rate"])
        case "series":
            return Series(array(np.float32, facts["shape"]), facts["rate"])
        case _:
            frames = array(np.uint8, facts["shape"])
            sound = unpack(facts["sound"], read) if "sound" in facts else None
            assert sound is None or isinstance(sound, Audio)  # for the type checker
            return Video(frames, Fraction(facts["fps"]), sound)


def _bytes_of(part: Any) -> memoryview:
    """Return the bytes of an array or of bytes; those without elements cannot be cast."""
    view = memoryview(part)
    return view.cast("B") if view.nbytes else memoryview(b"")


def send(channel: socket.socket, facts: Mapping[str, Any], *parts: Any) -> None:
    """Send a frame; `parts` are bytes or arrays."""
    views = [_bytes_of(part) for part in parts]
    head = json.dumps(facts).encode()
    channel.sendall(_HEAD.pack(len(head), sum(view.nbytes for view in views)) + head)
    for view in views:
        channel.sendall(view)


def receive_facts(fill: Callable[[memoryview], None]) -> tuple[dict[str, Any], int]:
    """Return the JSON object of a frame, and how many bytes follow."""
    head = bytearray(_HEAD.size)
    fill(memoryview(head))
    length, size = _HEAD.unpack(head)
    data = bytearray(length)
    fill(memoryview(data))
    return json.loads(data), size


def fill_from(channel: socket.socket, view: memoryview) -> None:
    """Fill a view from a socket; raises `EOFError` when the other side is gone."""
    while view:
        count = channel.recv_into(view[:_PIECE])
        if not count:
            raise EOFError
        view = view[count:]


def write_shared(file: int, parts: Sequence[NDArray[Any]]) -> None:
    """Write arrays to shared memory, one behind the other."""
    at = 0
    for part in parts:
        view = _bytes_of(part)
        while view:
            count = os.pwrite(file, view, at)
            at, view = at + count, view[count:]


class SharedReader:
    """Reads shared memory from its beginning; `close` empties it."""

    def __init__(self, file: int) -> None:
        self._file, self._at = file, 0

    def fill(self, view: memoryview) -> None:
        """Fill a view with what comes next."""
        while view:
            count = os.preadv(self._file, [view], self._at)
            if not count:
                raise EOFError
            self._at, view = self._at + count, view[count:]

    def close(self) -> None:
        """Give the memory back."""
        os.ftruncate(self._file, 0)


def main() -> None:
    """Open what comes over the socket that is standard input, until it is closed."""
    channel = socket.socket(fileno=os.dup(0))
    # What libraries print may quote files, and nothing but frames may reach the socket.
    with open(os.devnull, "r+b") as nothing:
        for number in (0, 1, 2):
            os.dup2(nothing.fileno(), number)
    shared = int(sys.argv[2])
    _limit_memory(int(sys.argv[1]))
    with contextlib.suppress(ImportError):
        import_module("PIL.Image").init()  # ahead, as most files are pictures
    with contextlib.suppress(EOFError, OSError):
        send(channel, _READY)
        while True:
            asked, size = receive_facts(lambda view: fill_from(channel, view))
            data = bytearray(size)
            fill_from(channel, memoryview(data))
            answer, parts = _answer(asked, bytes(data))
            del data
            if shared >= 0 and sum(part.nbytes for part in parts) >= _SHARED_BYTES:
                write_shared(shared, parts)
                answer["shared"] = True
                parts = []
            send(channel, answer, *parts)
            del parts


def _answer(asked: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    try:
        most = Limits(asked["pixels"], asked["seconds"], asked["cost"])
        return pack(open_limited(data, asked["modality"], most))
    except NeedsMore as e:
        return {"needs": e.cost}, []
    except MemoryError:
        return {"error": LimitExceeded.__name__, "message": "the item needs too much memory"}, []
    except OmnicodecError as e:
        if isinstance(e.__cause__, MemoryError):
            message = "the item needs too much memory"
            return {"error": LimitExceeded.__name__, "message": message}, []
        kinds = [kind.__name__ for kind in type(e).__mro__ if issubclass(kind, OmnicodecError)]
        return {"error": kinds[0], "message": str(e)}, []
    except Exception as e:  # of which nobody may see more than its place
        where = [type(e).__qualname__, *traceback.format_tb(e.__traceback__)]
        return {"failed": "\n".join(where)}, []


def _limit_memory(nbytes: int) -> None:
    """Let allocations beyond what this process has now and `nbytes` fail."""
    try:
        import resource

        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # not on Linux
        return
    resource.setrlimit(resource.RLIMIT_AS, (used + nbytes, used + nbytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
