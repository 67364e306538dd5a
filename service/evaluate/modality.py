"""What is measured for each modality: units, rates, metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from omnicodec.codecs import Image, InvalidInput
from omnicodec.service.evaluate.metrics import ms_ssim, psnr
from omnicodec.service.evaluate.table import number


@dataclass(frozen=True)
class Metric:
    """A figure of quality, larger is better; `compute` takes original and decoded media."""

    name: str
    title: str
    unit: str
    digits: int
    compute: Callable[[Any, Any], float | None]

    @property
    def heading(self) -> str:
        return f"{self.title} {self.unit}".rstrip()

    def phrase(self, value: float | None) -> str:
        """Return a value with its name and unit."""
        return f"{self.title} {number(value, self.digits)} {self.unit}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Modality:
    """How media of one modality are measured.

    `units` counts what rates and speeds refer to (pixels, bytes), `size` describes an item
    in a word. Rates are means of the items' own rates and speeds are medians; or, with
    `pooled`, all bits over all units and all units over all seconds. The first metric is
    the one that ranks items and matches anchors.
    """

    items: str
    unit: str
    million: str
    rate: str
    units: Callable[[Any], int]
    size: Callable[[Any], str]
    metrics: tuple[Metric, ...] = ()
    pooled: bool = False
    notes: tuple[str, ...] = ()


def _psnr(original: Image, decoded: Image) -> float:
    return psnr(original.pixels, decoded.pixels)


def _ms_ssim(original: Image, decoded: Image) -> float | None:
    return ms_ssim(original.pixels, decoded.pixels)


MODALITIES: Final[Mapping[str, Modality]] = {
    "image": Modality(
        items="pictures",
        unit="pixel",
        million="MP",
        rate="bits per pixel",
        units=lambda image: image.height * image.width,
        size=lambda image: f"{image.width}x{image.height}",
        metrics=(
            Metric("psnr", "PSNR", "dB", 2, _psnr),
            Metric("ms_ssim", "MS-SSIM", "", 4, _ms_ssim),
        ),
        notes=(
            "Rates, PSNR and MS-SSIM are means over pictures of each picture's own figure, "
            "speeds are medians.",
            "PSNR is taken over 8-bit RGB, all channels together; MS-SSIM over RGB, "
            "each channel on its own, where both sides have 161 pixels or more.",
        ),
    ),
    "text": Modality(
        items="texts",
        unit="byte",
        million="MB",
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
