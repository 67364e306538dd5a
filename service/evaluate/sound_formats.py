"""Sound as files of well-known formats, in memory: Opus and MP3 by PyAV, Vorbis by soundfile."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import Any, Final

import numpy as np

from omnicodec.codecs import Audio, InvalidInput
from omnicodec.service.evaluate.environment import package_version
from omnicodec.service.evaluate.sound_metrics import RATE, resampled


@dataclass(frozen=True)
class AVFormat:
    """A format that FFmpeg's libraries write: container, encoder, and the rates it takes."""

    title: str
    container: str
    encoder: str
    rates: tuple[int, ...]
    options: Mapping[str, str]

    def encode(self, audio: Audio, kbps: int) -> bytes:
        """Return a file of `kbps` kilobits a second for each channel.

        A clip above 24 kHz is brought there first, which is what these rates are for and
        where the result is compared; MP3 takes rates as low as these at no other.
        """
        av: Any = import_module("av")
        channels = len(audio.samples)
        if channels > 2:
            raise InvalidInput(f"{self.title} is measured with 1 or 2 channels, not {channels}")
        layout = "mono" if channels == 1 else "stereo"
        rate = next((r for r in self.rates if r >= min(audio.sample_rate, RATE)), RATE)
        samples = resampled(audio.samples, audio.sample_rate, rate)
        out = io.BytesIO()
        with av.open(out, "w", format=self.container) as file:
            stream = file.add_stream(self.encoder, rate=rate, options=dict(self.options))
            stream.layout, stream.bit_rate = layout, 1000 * kbps * channels
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        return out.getvalue()

    def version(self) -> str:
        codec: str = ".".join(map(str, import_module("av").library_versions["libavcodec"]))
        return f"{self.encoder} in PyAV {package_version('av')}, libavcodec {codec}"


def decode_av(data: bytes) -> Audio:
    """Return the sound of a file that `AVFormat` made, its encoder's delay taken away."""
    av: Any = import_module("av")
    with av.open(io.BytesIO(data)) as file:
        frames = [frame.to_ndarray() for frame in file.decode(audio=0)]
        rate = int(file.streams.audio[0].rate)
    return Audio(np.concatenate(frames, 1).astype(np.float32, copy=False), rate)


def encode_vorbis(audio: Audio, quality: int) -> bytes:
    """Return an Ogg Vorbis file of quality 0 to 10 at no more than 24 kHz."""
    soundfile: Any = import_module("soundfile")
    rate = min(audio.sample_rate, RATE)
    samples = resampled(audio.samples, audio.sample_rate, rate)
    out = io.BytesIO()
    try:
        with soundfile.SoundFile(
            out, "w", rate, len(samples), "VORBIS", format="OGG", compression_level=1 - quality / 10
        ) as file:
            for start in range(0, samples.shape[1], RATE):  # libsndfile fails on large pieces
                file.write(samples[:, start : start + RATE].T)
    except (soundfile.SoundFileError, ValueError) as e:
        raise InvalidInput(f"Vorbis cannot hold this clip: {e}") from e
    return out.getvalue()


OPUS: Final = AVFormat(
    "Opus", "ogg", "libopus", (8_000, 12_000, 16_000, 24_000),
    {"vbr": "on", "compression_level": "10", "application": "audio", "frame_duration": "20"},
)  # fmt: skip
MP3: Final = AVFormat(
    "MP3", "mp3", "libmp3lame", (8_000, 11_025, 12_000, 16_000, 22_050, 24_000),
    {"compression_level": "2"},
)  # fmt: skip
