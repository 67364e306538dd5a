"""Video files, written in pieces."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, Self

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import atomic_file
from omnicodec.codecs.media.audio import Audio, blocks
from omnicodec.codecs.media.colour import Colours, FromRGB, Pixels
from omnicodec.codecs.media.ffmpeg import import_av, reason
from omnicodec.codecs.media.raw_video import RawVideo

if TYPE_CHECKING:
    from omnicodec.codecs.media.video import Video

_HIGHEST: Final = 65535  # frames a second, and seconds a frame, that files have room for
_GIF_HIGHEST: Final = 50  # frames a second: shorter ones are shown for longer


@dataclass(frozen=True, kw_only=True)
class _Format:
    """A kind of file that is written: FFmpeg's names and options for it.

    `odd` is the layout of pictures of odd sizes, where `layout` halves them. `sound` names the
    encoder for a rate and channels, where the file has sound.
    """

    kind: str
    encoder: str
    layout: str
    odd: str = ""
    rgb: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    sound: Callable[[Any, int, int], str] | None = None
    lossless: bool = False
    seeks: bool = False


def _mp4_sound(av: Any, rate: int, channels: int) -> str:
    """Return AAC, or FLAC where AAC lacks the rate or the channels."""
    return "aac" if channels <= 2 and rate in av.Codec("aac", "w").audio_rates else "flac"


def _mkv_sound(*_: Any) -> str:
    return "pcm_f32le"


def _webm_sound(_av: Any, _rate: int, channels: int) -> str:
    if channels > 8:
        raise InvalidInput(f"WebM cannot hold sound of {channels} channels")
    return "libopus"


WRITABLE: Final = {
    ".mp4": _Format(
        kind="mp4", encoder="libx264", layout="yuv420p", odd="yuv444p", options={"crf": "18"},
        sound=_mp4_sound, seeks=True,
    ),
    ".mkv": _Format(
        kind="matroska", encoder="ffv1", layout="bgr0", rgb=True, lossless=True,
        sound=_mkv_sound,
    ),
    ".webm": _Format(
        kind="webm", encoder="libvpx-vp9", layout="yuv420p",
        options={"crf": "20", "b": "0", "deadline": "good", "cpu-used": "3", "row-mt": "1"},
        sound=_webm_sound,
    ),
    ".gif": _Format(kind="gif", encoder="gif", layout="pal8", rgb=True),
    ".y4m": _Format(kind="yuv4mpegpipe", encoder="wrapped_avframe", layout="yuv444p"),
}  # fmt: skip


class VideoWriter:
    """A file or pipe that video is written to in pieces.

        with VideoWriter("out.mp4", 25, 360, 640, sample_rate=48_000, channels=2) as file:
            file.write(piece)

    See `Video.to_bytes` for what each kind of file keeps. A path appears when the writer is
    closed, whole, and not at all when the `with` block ends with an error. Memory holds what
    the encoder looks ahead. MP4 reaches a pipe when it is whole, the others as they come.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | IO[bytes],
        fps: Fraction | int,
        height: int,
        width: int,
        *,
        suffix: str | None = None,
        raw: str | None = None,
        sample_rate: int = 0,
        channels: int = 0,
    ) -> None:
        """Write to a path or an open file; `suffix` is by default that of the path, else .mp4.

        `raw` is one of `PIXEL_FORMATS`: plain frames without any header. With `channels`, the
        pieces have sound, which GIF, y4m and plain frames leave out. Raises `InvalidInput`
        for what the format has no room for.
        """
        if suffix is None and isinstance(target, str | os.PathLike):
            suffix = Path(target).suffix or None
        self.fps, self.height, self.width = Fraction(fps), height, width
        self.sample_rate, self.channels = sample_rate, channels
        self.written = 0
        """Frames so far."""

        self._form = form = None if raw else _form(suffix)
        if not height * width:
            raise InvalidInput("a video of 0 pixels has no file format")
        if not Fraction(1, _HIGHEST) <= self.fps <= _HIGHEST:
            raise InvalidInput(f"a video of {float(fps):g} frames a second has no file format")
        if form and form.kind == "gif" and self.fps > _GIF_HIGHEST:
            raise InvalidInput(f"GIF has at most {_GIF_HIGHEST} frames a second, not {self.fps}")
        av = import_av("video files")
        self._errors = (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError)
        with contextlib.ExitStack() as stack, self._failing():
            file = target
            if isinstance(file, str | os.PathLike):
                file = stack.enter_context(atomic_file(file))
            if form is None:
                plain = RawVideo(raw or "", width, height, self.fps, Colours.unstated(height))
                self._out: _Out = _RawOut(av, file, plain)
            else:
                self._out = _FileOut(av, file, form, self, stack)
            self._stack = stack.pop_all()

    def write(self, piece: Video) -> None:
        """Write the next piece; raises `InvalidInput` if it is of another size or sound."""
        shape, audio = piece.frames.shape, piece.audio
        if shape[1:3] != (self.height, self.width):
            raise InvalidInput(
                f"a file of {self.width}x{self.height} pixels cannot go on with "
                f"{shape[2]}x{shape[1]}"
            )
        if audio is not None and self.channels:
            if (len(audio.samples), audio.sample_rate) != (self.channels, self.sample_rate):
                raise InvalidInput(
                    f"a file of {self.channels} channels at {self.sample_rate} Hz cannot go on "
                    f"with {len(audio.samples)} at {audio.sample_rate} Hz"
                )
            with self._failing():
                self._out.hear(audio)
        with self._failing():
            for pixels in piece.frames:
                self._out.show(pixels)
                self.written += 1

    def close(self) -> None:
        """Finish the file; raises `InvalidInput` where it cannot be."""
        with self._stack, self._failing():  # the first of which takes the file away
            if not self.written and self._form is not None:
                raise InvalidInput("a video of 0 pixels has no file format")
            self._out.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self.close()
        else:
            self._stack.__exit__(*error)

    @contextlib.contextmanager
    def _failing(self) -> Any:
        try:
            yield
        except self._errors as e:
            kind = self._form.kind if self._form else "raw video"
            raise InvalidInput(f"cannot write this video as {kind}: {reason(e)}") from e


def _form(suffix: str | None) -> _Format:
    form = WRITABLE.get((suffix or ".mp4").lower())
    if form is None:
        raise InvalidInput(f"cannot write video as {suffix!r}; known: {', '.join(WRITABLE)}")
    return form


class _Out(Protocol):
    def show(self, pixels: Pixels) -> None:
        """Write a frame `(H, W, 3)`."""

    def hear(self, audio: Audio) -> None:
        """Write sound."""

    def finish(self) -> None:
        """Write what is left."""


class _RawOut:
    """Frames without a header."""

    def __init__(self, av: Any, file: IO[bytes], raw: RawVideo) -> None:
        self._file, self._raw = file, raw
        colours = None if raw.format in ("rgb24", "bgr24") else raw.colours
        self._from_rgb = FromRGB(av, raw.format, colours)

    def show(self, pixels: Pixels) -> None:
        _write(self._file, self._raw.to_bytes(self._from_rgb(pixels)))

    def hear(self, audio: Audio) -> None:
        """Leave it out."""

    def finish(self) -> None:
        self._file.flush()


class _FileOut:
    """A file that FFmpeg writes; where it goes back in it, a pipe gets a copy."""

    def __init__(
        self, av: Any, file: IO[bytes], form: _Format, facts: VideoWriter, stack: Any
    ) -> None:
        self._av, self._target, self._spool = av, file, file
        if form.seeks and not file.seekable():
            self._spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._container = stack.enter_context(av.open(self._spool, "w", format=form.kind))
        layout = form.layout
        if form.odd and (facts.height % 2 or facts.width % 2):
            layout = form.odd
        rate = facts.fps.limit_denominator(_HIGHEST)
        self._stream = stream = self._container.add_stream(
            form.encoder, rate, options=dict(form.options)
        )
        stream.width, stream.height, stream.pix_fmt = facts.width, facts.height, layout
        colours = None
        if not form.rgb:
            # Files of y4m say no matrix, and are taken for what is usual at their size.
            plain = form.kind == "yuv4mpegpipe"
            colours = Colours.unstated(facts.height) if plain else Colours("709")
            colours.of_stream(stream.codec_context)
        self._palettes = _Palettes(av, facts) if layout == "pal8" else None
        self._from_rgb = FromRGB(av, layout, colours)
        self._sound = None
        if form.sound and facts.channels:
            encoder = form.sound(av, facts.sample_rate, facts.channels)
            self._sound = _Sound(av, self._container, encoder, facts, form.lossless)
        self._shown = 0

    def show(self, pixels: Pixels) -> None:
        frame = (self._palettes or self._from_rgb)(pixels)
        frame.pts, frame.time_base = self._shown, 1 / self._stream.codec_context.framerate
        self._shown += 1
        self._container.mux(self._stream.encode(frame))

    def hear(self, audio: Audio) -> None:
        if self._sound:
            self._sound.write(audio)

    def finish(self) -> None:
        self._container.mux(self._stream.encode())
        if self._sound:
            self._sound.finish()
        self._container.close()
        if self._spool is not self._target:
            self._spool.seek(0)
            shutil.copyfileobj(self._spool, self._target)
        self._target.flush()


class _Sound:
    """The sound of a file that FFmpeg writes."""

    def __init__(
        self, av: Any, container: Any, encoder: str, facts: VideoWriter, lossless: bool
    ) -> None:
        channels, self._rate = facts.channels, facts.sample_rate
        rate = 48_000 if encoder == "libopus" else self._rate
        self._av, self._container = av, container
        self._stream = stream = container.add_stream(encoder, rate)
        # Any number of channels without names, or FFmpeg's default names for that number.
        self._layout = f"{channels} channels" if lossless else f"{channels}c"
        stream.layout = self._layout
        if encoder in ("aac", "libopus"):  # the default rates are poor
            stream.bit_rate = (160_000 if encoder == "aac" else 96_000) * channels
        self._done = 0

    def write(self, audio: Audio) -> None:
        for block in blocks(audio.samples):
            frame = self._av.AudioFrame.from_ndarray(block.T.reshape(1, -1), "flt", self._layout)
            frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
            frame.pts = self._done
            self._container.mux(self._stream.encode(frame))
            self._done += block.shape[1]

    def finish(self) -> None:
        self._container.mux(self._stream.encode())


class _Palettes:
    """Frames in 256 colours, each in its own."""

    def __init__(self, av: Any, facts: VideoWriter) -> None:
        self._av, self._fps = av, facts.fps.limit_denominator(_HIGHEST)
        self._size = facts.width, facts.height

    def __call__(self, pixels: Pixels) -> Any:
        graph = self._av.filter.Graph()
        source = graph.add_buffer(
            width=self._size[0], height=self._size[1], format="rgb24", time_base=1 / self._fps
        )
        split = graph.add("split")
        palette = graph.add("palettegen", "reserve_transparent=0:stats_mode=full")
        use, sink = graph.add("paletteuse"), graph.add("buffersink")
        source.link_to(split)
        split.link_to(palette, 0, 0)
        split.link_to(use, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        graph.push(self._av.VideoFrame.from_ndarray(pixels, "rgb24"))
        graph.push(None)
        return graph.pull()


def _write(file: IO[bytes], data: bytes) -> None:
    # With PYTHONUNBUFFERED, stdout is a raw file, and those may take less than all.
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
