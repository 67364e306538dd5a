"""What is measured for each modality: units, rates, speeds, metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from omnicodec.codecs import Audio, Image, InvalidInput, Video
from omnicodec.service.evaluate import sound_metrics, video_metrics
from omnicodec.service.evaluate.environment import package_version
from omnicodec.service.evaluate.figures import Speed
from omnicodec.service.evaluate.haarpsi import HAARPSI_SIDE, haarpsi
from omnicodec.service.evaluate.metrics import MS_SSIM_SIDE, ms_ssim, psnr
from omnicodec.service.evaluate.table import number


@dataclass(frozen=True)
class Metric:
    """A figure of quality; `compute` takes what `Modality.prepare` makes of two media.

    Larger is better, unless `falling`. Curves and BD-rates take a figure that ends at 1 as
    `nines`, in dB: -10 log10(1 - x), so that 0.9, 0.99 and 0.999 are equally far apart.
    `requires` maps the modules that it needs to what is to be installed; without them it is
    None for every item.
    """

    name: str
    title: str
    unit: str
    digits: int
    compute: Callable[[Any, Any], float | None]
    falling: bool = False
    nines: bool = False
    requires: Mapping[str, str] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        return f"{self.title} {self.unit}".rstrip()

    def phrase(self, value: float | None) -> str:
        """Return a value with its name and unit."""
        return f"{self.title} {number(value, self.digits)} {self.unit}".rstrip()

    def goodness(self, value: float) -> float:
        """Return a figure of which more is better."""
        return -value if self.falling else value

    def scaled(self, value: float) -> float:
        """Return a figure as curves have it: more is better, as many dB as it has nines."""
        if self.nines:
            return -10 * math.log10(1 - value) if value < 1 else math.inf
        return self.goodness(value)

    def unscaled(self, scaled: float) -> float:
        """Return the figure that `scaled` was made of."""
        return 1 - 10 ** (-scaled / 10) if self.nines else self.goodness(scaled)

    def missing(self) -> str | None:
        """Return a sentence that says what to install, or None when nothing is missing."""
        for module, install in self.requires.items():
            try:
                import_module(module)
            except ImportError:
                return f"{self.title} was not measured; it needs: pip install {install}"
        return None

    def version(self) -> str:
        """Return what is required with its version, as "name 1.2"."""
        return ", ".join(f"{name} {package_version(name)}" for name in self.requires)


@dataclass(frozen=True)
class SpeedColumn:
    """How a speed is shown; `of` gives the number under the heading."""

    heading: str
    of: Callable[[Speed], float]


@dataclass(frozen=True, kw_only=True)
class Modality:
    """How media of one modality are measured.

    `units` counts what rates and speeds refer to (pixels, bytes), `size` describes an item
    in a word, `speeds` are the columns of tables, of which items have the first. Rates are
    means of the items' own rates and speeds are medians; or, with `pooled`, all bits over all
    units and all units over all seconds. The first metric that was measured is the one that
    ranks items and matches anchors. `prepare` makes of an original and a decoded item what
    metrics take, and `series`, which gives figures of each frame; `frames` counts these.
    `exact` says whether an item came back as it was.
    """

    items: str
    unit: str
    speeds: tuple[SpeedColumn, ...]
    rate: str
    rate_digits: int = 4
    units: Callable[[Any], int]
    size: Callable[[Any], str]
    metrics: tuple[Metric, ...] = ()
    prepare: Callable[[Any, Any], tuple[Any, Any]] = lambda original, decoded: (original, decoded)
    frames: Callable[[Any], int] = lambda _: 1
    series: Callable[[Any, Any], Mapping[str, tuple[float | None, ...]]] = lambda *_: {}
    exact: Callable[[Any, Any], bool] = lambda original, decoded: bool(decoded == original)
    pooled: bool = False
    notes: tuple[str, ...] = ()

    def ranking(self, quality: Mapping[str, float | None]) -> Metric | None:
        """Return the first metric that a summary has, if any."""
        return next((m for m in self.metrics if quality[m.name] is not None), None)


def _psnr(original: Image, decoded: Image) -> float:
    return psnr(original.pixels, decoded.pixels)


def _ms_ssim(original: Image, decoded: Image) -> float | None:
    return ms_ssim(original.pixels, decoded.pixels)


def _haarpsi(original: Image, decoded: Image) -> float | None:
    return haarpsi(original.pixels, decoded.pixels)


def _speeds(million: str, items: str) -> tuple[SpeedColumn, ...]:
    return (
        SpeedColumn(f"{million}/s", lambda speed: speed.million),
        SpeedColumn(f"{items}/s", lambda speed: speed.items),
    )


def _milliseconds(audio: Audio) -> int:
    return max(1, round(1000 * audio.duration))


def _sound_size(audio: Audio) -> str:
    channels = len(audio.samples)
    plural = "channel" if channels == 1 else "channels"
    return f"{audio.duration:.1f} s, {audio.sample_rate / 1000:g} kHz, {channels} {plural}"


def _video_size(video: Video) -> str:
    count, height, width = video.frames.shape[:3]
    return f"{width}x{height}, {count} frames at {float(video.fps):.4g}/s"


MODALITIES: Final[Mapping[str, Modality]] = {
    "image": Modality(
        items="pictures",
        unit="pixel",
        speeds=_speeds("MP", "pictures"),
        rate="bits per pixel",
        units=lambda image: image.height * image.width,
        size=lambda image: f"{image.width}x{image.height}",
        metrics=(
            Metric("psnr", "PSNR", "dB", 2, _psnr),
            Metric("ms_ssim", "MS-SSIM", "", 4, _ms_ssim, nines=True),
            Metric("haarpsi", "HaarPSI", "", 4, _haarpsi),
        ),
        notes=(
            "Rates, PSNR, MS-SSIM and HaarPSI are means over pictures of each picture's own "
            "figure, speeds are medians.",
            "PSNR is taken over 8-bit RGB, all channels together; MS-SSIM over RGB, "
            f"each channel on its own, where both sides have {MS_SSIM_SIDE} pixels or more. "
            f"HaarPSI is the perceptual one (from {HAARPSI_SIDE} pixels a side): it weighs edges "
            "as eyes do, and 1 means alike.",
        ),
    ),
    "audio": Modality(
        items="clips",
        unit="millisecond",
        # A million milliseconds in a second are a thousand times real time.
        speeds=(SpeedColumn("x real time", lambda speed: 1000 * speed.million),),
        rate="kbps",  # bits in a millisecond
        rate_digits=2,
        units=_milliseconds,
        size=_sound_size,
        prepare=sound_metrics.comparable,
        metrics=(
            Metric(
                "pesq",
                "PESQ",
                "",
                2,
                sound_metrics.pesq,
                requires={"pesq": '"omnicodec[pesq]" (built from source by a C compiler)'},
            ),
            Metric(
                "stoi",
                "STOI",
                "",
                3,
                sound_metrics.stoi,
                requires={"pystoi": '"omnicodec[eval]"'},
            ),
            Metric("mel", "mel distance", "", 2, sound_metrics.mel_distance, falling=True),
            Metric("si_sdr", "SI-SDR", "dB", 1, sound_metrics.si_sdr),
        ),
        pooled=True,
        notes=(
            "Rates are all bits over all seconds of sound, speeds all seconds of sound over all "
            "seconds of work; quality is the mean over clips. Every clip is a file of its own, "
            "headers included.",
            "Sounds are compared at 24 kHz, each channel on its own, decoded ones moved by up to "
            "5 ms to where they fit best. PESQ is wide band at 16 kHz (ITU-T P.862.2), made for "
            "speech; STOI is for speech too. The mel distance, smaller is better, is the mean "
            "difference of natural logarithms of mel band amplitudes over windows of 512, 1024 "
            "and 2048 samples, silence being -105 dB: 1 is 8.7 dB. It counts what is cut off "
            "far more than what is wrong.",
        ),
    ),
    "video": Modality(
        items="clips",
        unit="pixel",
        speeds=(
            SpeedColumn("frames/s", lambda speed: speed.items),
            SpeedColumn("MP/s", lambda speed: speed.million),
        ),
        rate="bits per pixel",
        units=lambda video: video.frames.size // 3,
        size=_video_size,
        frames=lambda video: len(video.frames),
        prepare=video_metrics.comparable,
        exact=video_metrics.same_frames,
        series=video_metrics.series,
        metrics=(
            Metric("psnr", "PSNR", "dB", 2, video_metrics.mean_psnr),
            Metric("psnr_yuv", "PSNR YUV", "dB", 2, video_metrics.whole_psnr_yuv),
            Metric("ms_ssim", "MS-SSIM", "", 4, video_metrics.mean_ms_ssim, nines=True),
        ),
        notes=(
            "Rates and quality are means over clips of each clip's own figure, speeds are "
            "medians. Rates are of the picture alone, without sound: whole .omc files, and bare "
            "streams with all their headers.",
            "PSNR is over 8-bit RGB, all channels of a frame together, and the mean over frames; "
            "exact frames count as 100 dB. PSNR YUV is over all samples of a clip in 4:2:0, as "
            "FFmpeg's filter averages it. MS-SSIM is over RGB, each channel on its own, the mean "
            f"over frames, from {MS_SSIM_SIDE} pixels a side. The formats have only 4:2:0, which "
            "limits what they reach in RGB.",
        ),
    ),
    "text": Modality(
        items="texts",
        unit="byte",
        speeds=_speeds("MB", "texts"),
        rate="bits per byte",
        units=lambda text: len(text.data),
        size=lambda text: f"{len(text.data):,} bytes",
        pooled=True,
        notes=(
            "The rate is all bits over all bytes, speeds are all bytes over all seconds; every "
            "text is a file of its own.",
        ),
    ),
}


def modality_of(codec: str, name: str) -> Modality:
    """Return how codec `codec` of modality `name` is measured, or raise `InvalidInput`."""
    try:
        return MODALITIES[name]
    except KeyError:
        covered = ", ".join(sorted(MODALITIES))
        raise InvalidInput(
            f"{codec} is a codec of {name}, which is not evaluated yet; covered: {covered}"
        ) from None
