"""Video: 8-bit RGB frames at a fixed rate, maybe with sound, read and written through PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import limits
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import Source
from omnicodec.codecs.limits import check_count, check_pixels
from omnicodec.codecs.media.audio import Audio
from omnicodec.codecs.media.base import Media, frozen_array
from omnicodec.codecs.media.raw_video import RawVideo
from omnicodec.codecs.media.video_writer import VideoWriter

if TYPE_CHECKING:
    from omnicodec.codecs.media.video_reader import VideoReader

_AT_ONCE: Final = 16  # frames


@dataclass(frozen=True, eq=False)
class Video(Media):
    """A clip: `frames` is uint8 of shape `(T, H, W, 3)`, RGB, at `fps` frames a second.

    `T`, `H` and `W` may be 0. `fps` may be given as any positive number and is kept as the
    exact `Fraction` of it. `audio`, where there is any, begins with the first frame.
    """

    frames: NDArray[np.uint8]
    fps: Fraction
    audio: Audio | None = None

    # GIF is left to Image: by its suffix alone, a file has one modality.
    suffixes: ClassVar[tuple[str, ...]] = (".mp4", ".mkv", ".mov", ".m4v", ".webm", ".avi", ".y4m")

    def __post_init__(self) -> None:
        frames = frozen_array(self.frames, np.uint8, 4, "frames")
        if frames.shape[3] != 3:
            raise InvalidInput(f"frames must have 3 channels (RGB), not {frames.shape[3]}")
        check_pixels(frames.shape[1], frames.shape[2])
        check_count(frames.size // 3, limits.MAX_VIDEO_PIXELS, "pixels of video")
        try:
            fps = Fraction(self.fps)
        except (TypeError, ValueError, ArithmeticError):
            fps = Fraction(0)
        if fps <= 0:
            raise InvalidInput(f"fps must be a positive number, not {self.fps!r}")
        if not isinstance(self.audio, Audio | None):
            raise InvalidInput(f"audio must be Audio or None, not {type(self.audio).__name__}")
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "fps", fps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Video):
            return NotImplemented
        same_rest = self.fps == other.fps and self.audio == other.audio
        return same_rest and np.array_equal(self.frames, other.frames)

    __hash__ = None  # type: ignore[assignment]  # holds an array, which is mutable

    @property
    def nbytes(self) -> int:
        return int(self.frames.nbytes) + (self.audio.nbytes if self.audio else 0)

    @classmethod
    def _from_bytes(cls, data: bytes) -> Self:
        """Read the first video stream and the first audio stream.

        Frames are turned upright and get their mean rate where it varies; pixels are taken
        to be square, and sound to begin with the first frame. A Matroska or AVI file that
        was cut off gives the frames before the cut, any other is refused.
        """
        return cls._read(data, None)

    @classmethod
    def from_raw(cls, source: Source, raw: RawVideo) -> Self:
        """Read frames that are plain bytes: `RawVideo` says how they lie in them.

        Raises `InvalidInput` when they do not end with a whole frame, `LimitExceeded` for too
        many.
        """
        return cls._read(source, raw)

    @staticmethod
    def stream(source: Source, *, frames: int = 16, raw: RawVideo | None = None) -> VideoReader:
        """Return a reader of a file or pipe in pieces of so many frames, in constant memory.

        It is an iterator and a context manager, see `VideoReader`.
        """
        from omnicodec.codecs.media.video_reader import VideoReader

        return VideoReader(source, frames=frames, raw=raw)

    def to_bytes(self, suffix: str | None = None) -> bytes:
        """Return the file's bytes, of one of these kinds.

        * .mp4, also without a suffix: H.264 at crf 18, and AAC, or FLAC where AAC lacks the
          rate or the channels. Odd sizes become 4:4:4, which fewer players know. AAC adds up
          to 1023 samples at the end.
        * .mkv loses nothing: FFV1, and samples as they are.
        * .webm: VP9 at crf 20, and Opus, which comes back at 48 kHz.
        * .gif: 256 colours a frame, and no sound; times are hundredths of a second.
        * .y4m: 4:4:4 without sound, for other encoders; a level is lost now and then.

        Colours of .mp4 and .webm are BT.709 in studio range, and said to be. Sound of 0
        samples is left out. Raises `InvalidInput` for 0 pixels, a rate outside 1/65535..65535
        (above 50 in .gif), more than 8 channels in .webm and a suffix that cannot be written.
        """
        out = io.BytesIO()
        sound = self.audio if self.audio is not None and self.audio.samples.size else None
        height, width = self.frames.shape[1:3]
        if not self.frames.size:
            height = 0
        with VideoWriter(
            out,
            self.fps,
            height,
            width,
            suffix=suffix or ".mp4",
            sample_rate=sound.sample_rate if sound else 0,
            channels=len(sound.samples) if sound else 0,
        ) as file:
            for piece in self.pieces(_AT_ONCE):
                file.write(piece)
        return out.getvalue()

    def to_raw(self, form: str) -> bytes:
        """Return the frames as plain bytes, in one of `PIXEL_FORMATS`; sound is left out.

        YCbCr has the matrix that is usual at this size, 709 above 576 lines and else 601, and
        studio range.
        """
        out = io.BytesIO()
        height, width = self.frames.shape[1:3]
        with VideoWriter(out, self.fps, height, width, raw=form) as file:
            file.write(self)
        return out.getvalue()

    def pieces(self, frames: int) -> Iterator[Video]:
        """Yield the video in pieces of so many frames, each with the sound that goes with it.

        The last has all the sound that is left. There is one piece at least.
        """
        count, heard = len(self.frames), 0
        for start in range(0, max(1, count), frames):
            stop, audio = start + frames, None
            if self.audio is not None:
                until = round(stop * self.audio.sample_rate / self.fps)
                end = until if stop < count else self.audio.samples.shape[1]
                samples = np.ascontiguousarray(self.audio.samples[:, heard : max(heard, end)])
                audio = Audio(samples, self.audio.sample_rate)
                heard = max(heard, end)
            yield Video(self.frames[start:stop], self.fps, audio)

    @classmethod
    def _read(cls, source: Source, raw: RawVideo | None) -> Self:
        from omnicodec.codecs.media.video_reader import VideoReader

        with VideoReader(source, raw=raw) as file:
            pixels = bytearray()  # grows in place; a list of frames would need twice the memory
            shape, count = (file.height, file.width, 3), 0
            while len(frame := file.read(1)):
                count += 1
                taken = count * file.height * file.width
                check_count(taken, limits.MAX_VIDEO_PIXELS, "pixels of video")
                pixels += frame.tobytes()
            audio = Audio(file.read_sound(), file.sample_rate) if file.channels else None
            return cls(np.frombuffer(pixels, np.uint8).reshape(count, *shape), file.fps, audio)
