"""Video as streams of well-known codecs, in memory: H.264, HEVC and AV1 by PyAV."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import Any, Final

import numpy as np

from omnicodec.codecs import InvalidInput, Video
from omnicodec.codecs.media.colour import Colours, FromRGB, ToRGB
from omnicodec.service.evaluate.environment import package_version

# SVT-AV1 prints its settings to stderr unless it is told otherwise here.
_QUIET: Final = {"SVT_LOG": "1"}


@dataclass(frozen=True)
class VideoFormat:
    """A codec that FFmpeg's libraries run: its bare stream, encoder and options.

    Frames are 4:2:0 in studio range; those of odd sizes get a row or a column more.
    """

    title: str
    container: str
    encoder: str
    options: Mapping[str, str]

    def encode(self, video: Video, crf: int) -> bytes:
        """Return the stream of a video at a constant rate factor, headers and all."""
        av: Any = import_module("av")
        if not video.frames.size:
            raise InvalidInput(f"{self.title} cannot hold a video of 0 pixels")
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        height, width = video.frames.shape[1:3]
        colours = Colours.unstated(height)
        from_rgb = FromRGB(av, "yuv420p", colours)
        room = ((0, height % 2), (0, width % 2), (0, 0))
        out = io.BytesIO()
        try:
            with av.open(out, "w", format=self.container) as file:
                stream = file.add_stream(
                    self.encoder,
                    video.fps.limit_denominator(65535),
                    options={**self.options, "crf": str(crf)},
                )
                stream.width, stream.height = width + width % 2, height + height % 2
                stream.pix_fmt = "yuv420p"
                colours.of_stream(stream.codec_context)
                for index, pixels in enumerate(video.frames):
                    frame = from_rgb(np.pad(pixels, room, "edge"))
                    frame.pts = index
                    file.mux(stream.encode(frame))
                file.mux(stream.encode())
        except (av.FFmpegError, ValueError) as e:
            raise InvalidInput(f"{self.title} cannot hold this video: {e}") from e
        return out.getvalue()

    def decode(self, data: bytes) -> Video:
        """Return the frames of a stream; their rate is not in it, and 25 here."""
        to_rgb = ToRGB(import_module("av"))
        frames = [to_rgb(frame) for frame, _ in self._decoded(data)]
        return Video(np.stack(frames), Fraction(25))

    def frame_bits(self, data: bytes) -> tuple[float, ...]:
        """Return the bits of each frame as it is shown; headers go with the frame behind them."""
        return tuple(bits for _, bits in self._decoded(data))

    def version(self) -> str:
        codec: str = ".".join(map(str, import_module("av").library_versions["libavcodec"]))
        return f"{self.encoder} in PyAV {package_version('av')}, libavcodec {codec}"

    def _decoded(self, data: bytes) -> Iterator[tuple[Any, float]]:
        av: Any = import_module("av")
        sizes: list[int] = []
        with av.open(io.BytesIO(data), format=self.container) as file:
            stream = file.streams.video[0]
            stream.thread_type = "AUTO"
            for packet in file.demux(stream):
                if packet.size:  # frames get the number of the packet that they come from
                    packet.pts = packet.dts = len(sizes)
                    sizes.append(packet.size)
                for frame in packet.decode():
                    yield frame, 8.0 * sizes[frame.pts]


X264: Final = VideoFormat("x264", "h264", "libx264", {"preset": "medium"})
X265: Final = VideoFormat(
    "x265", "hevc", "libx265", {"preset": "medium", "x265-params": "log-level=error"}
)
SVT_AV1: Final = VideoFormat("SVT-AV1", "obu", "libsvtav1", {"preset": "6"})
