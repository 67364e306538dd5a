"""Video: 8-bit RGB frames at a fixed rate, maybe with sound, read and written through PyAV."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import limits
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.limits import check_count, check_pixels
from omnicodec.codecs.media.audio import Audio, blocks
from omnicodec.codecs.media.base import Media, frozen_array
from omnicodec.codecs.media.ffmpeg import import_av, open_file, reason

_READABLE: Final = "mov,matroska,avi,gif,yuv4mpegpipe"  # others open further files by name
_WRITABLE: Final = {".mp4": "mp4", ".mkv": "matroska"}

# FFmpeg's SWS_BICUBIC, _ACCURATE_RND, _FULL_CHR_H_INT and _FULL_CHR_H_INP: right to the last
# level, where the fast defaults are 2 levels off.
_SCALER: Final = 0x4 | 0x40000 | 0x2000 | 0x4000


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
    suffixes: ClassVar[tuple[str, ...]] = (*_WRITABLE, ".mov", ".m4v", ".webm", ".avi", ".y4m")

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
        was cut off gives the frames before the cut.
        """
        av = import_av("video files")
        try:
            most = str(limits.MAX_PIXELS)
            with open_file(av, io.BytesIO(data), _READABLE, max_pixels=most) as file:
                return cls(*_decode(av, file))
        except (av.FFmpegError, OSError, ValueError, MemoryError) as e:
            raise InvalidInput(f"not a video that can be read: {reason(e)}") from e

    def to_bytes(self, suffix: str | None = None) -> bytes:
        """Return the file's bytes: .mp4 without a suffix (H.264, crf 18), or lossless .mkv.

        Odd sizes become 4:4:4 in .mp4, which fewer players know. Sound is AAC in .mp4, or
        FLAC where AAC lacks the rate or the channels; float PCM in .mkv. AAC adds up to 1023
        samples at the end; 0 samples are left out. Raises `InvalidInput` for 0 pixels, a rate
        outside 1/65535..65535 and a suffix that cannot be written.
        """
        kind = _WRITABLE.get((suffix or ".mp4").lower())
        if kind is None:
            raise InvalidInput(f"cannot write video as {suffix!r}; known: {', '.join(_WRITABLE)}")
        if self.frames.size == 0:
            raise InvalidInput("a video of 0 pixels has no file format")
        if not Fraction(1, 65535) <= self.fps <= 65535:
            raise InvalidInput(f"a video of {float(self.fps):g} frames a second has no file format")
        av, out = import_av("video files"), io.BytesIO()
        try:
            # No limit on the interleaving: all of the sound is written before the picture.
            options = {"max_interleave_delta": "0"}
            with av.open(out, "w", format=kind, container_options=options) as file:
                _encode(av, file, self, lossless=kind == "matroska")
        except (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError) as e:
            raise InvalidInput(f"cannot write this video as {kind}: {reason(e)}") from e
        return out.getvalue()


def _decode(av: Any, file: Any) -> tuple[NDArray[np.uint8], Fraction, Audio | None]:
    covers = av.stream.Disposition.attached_pic
    videos = [s for s in file.streams.video if s.codec_context and not s.disposition & covers][:1]
    sounds = [s for s in file.streams.audio if s.codec_context][:1]
    if not videos:
        raise InvalidInput("there is no video in this file")
    check_pixels(videos[0].codec_context.height, videos[0].codec_context.width)
    videos[0].thread_type = "AUTO"
    to_float = av.AudioResampler(format="flt")
    pixels = bytearray()  # grows in place; a list of frames would need twice the memory
    shapes: list[tuple[int, ...]] = []
    pieces: list[NDArray[np.float32]] = []
    samples = 0
    for frame in file.decode(videos + sounds):
        if isinstance(frame, av.VideoFrame):
            count = (len(shapes) + 1) * frame.height * frame.width
            check_count(count, limits.MAX_VIDEO_PIXELS, "pixels of video")
            rgb = _to_rgb(frame)
            shapes.append(rgb.shape)
            pixels += rgb.tobytes()
        else:
            channels = frame.layout.nb_channels
            samples += frame.samples * channels
            check_count(samples, limits.MAX_SAMPLES, "samples of audio")
            for piece in to_float.resample(frame):
                pieces.append(piece.to_ndarray().reshape(-1, channels).T)
    if len(set(shapes)) != 1:
        raise InvalidInput("the picture changes its size" if shapes else "there are no frames")
    frames = np.frombuffer(pixels, np.uint8).reshape(len(shapes), *shapes[0])
    audio = Audio(np.concatenate(pieces, axis=1), sounds[0].rate) if pieces else None
    return frames, _exact(videos[0].average_rate or Fraction(25)), audio


def _exact(rate: Fraction) -> Fraction:
    """Undo the rounding of Matroska's whole nanoseconds, as in 60000/1001 to 19001/317."""
    ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    return ntsc if abs(rate - ntsc) < rate / 2_000_000 else rate


def _to_rgb(frame: Any) -> NDArray[np.uint8]:
    """Return `(H, W, 3)` pixels, by the frame's own colour matrix, range and rotation."""
    # Like players, take a frame that names no matrix (2) for BT.709 above standard definition.
    matrix = "ITU709" if frame.colorspace == 2 and frame.height > 576 else None
    # PyAV before 17 heeds the matrix only beside another one, which means nothing for RGB.
    rgb = frame.reformat(
        format="rgb24", src_colorspace=matrix, dst_colorspace="ITU601", interpolation=_SCALER
    )
    return np.rot90(rgb.to_ndarray(), round(frame.rotation / 90))


def _encode(av: Any, file: Any, video: Video, lossless: bool) -> None:
    height, width = video.frames.shape[1:3]
    codec, layout = ("ffv1", "bgr0") if lossless else ("libx264", "yuv420p")
    if not lossless and (height % 2 or width % 2):
        layout = "yuv444p"
    rate = video.fps.limit_denominator(65535)
    stream = file.add_stream(codec, rate, options={} if lossless else {"crf": "18"})
    stream.width, stream.height, stream.pix_fmt = width, height, layout
    if not lossless:  # say that it is BT.709 with black at 16 and white at 235
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 1
    if video.audio is not None and video.audio.samples.size:
        _encode_sound(av, file, video.audio, lossless)
    for i, pixels in enumerate(video.frames):
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
            format=layout, dst_colorspace=None if lossless else "ITU709",
            dst_color_range=None if lossless else "MPEG", interpolation=_SCALER,
        )  # fmt: skip
        frame.pts = i
        file.mux(stream.encode(frame))
    file.mux(stream.encode())


def _encode_sound(av: Any, file: Any, audio: Audio, lossless: bool) -> None:
    channels, rate = audio.samples.shape[0], audio.sample_rate
    aac = channels <= 2 and rate in av.Codec("aac", "w").audio_rates
    stream = file.add_stream("pcm_f32le" if lossless else "aac" if aac else "flac", rate)
    # Any number of channels without names, or FFmpeg's default names for that number.
    stream.layout = layout = f"{channels} channels" if lossless else f"{channels}c"
    if aac and not lossless:  # FFmpeg's encoder is poor at its default rate
        stream.bit_rate = 160_000 * channels
    done = 0
    for block in blocks(audio.samples):
        frame = av.AudioFrame.from_ndarray(block.T.reshape(1, -1), "flt", layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), done
        file.mux(stream.encode(frame))
        done += block.shape[1]
    file.mux(stream.encode())
