"""Anchors: their files are real ones, and what is missing is said before any work."""

from __future__ import annotations

import gzip
import io
import lzma
import sys
from collections.abc import Callable

import pytest
from PIL import Image as Pillow

from omnicodec.codecs import Audio, Image, InvalidInput, Text, Unavailable
from omnicodec.service.evaluate.anchors import ANCHORS, Anchor, choose
from omnicodec.service.evaluate.measure import measure_anchor
from omnicodec.service.evaluate.modality import MODALITIES

Make = Callable[..., Image]

TEXT = Text("one and one and one is three. " * 100)


def anchor(name: str) -> Anchor:
    (modality,) = (a.modality for a in ANCHORS if a.name == name)
    for module, distribution in choose_requirements(name):
        pytest.importorskip(module, reason=f"needs {distribution}")
    return choose(modality, [name])[0]


def choose_requirements(name: str) -> list[tuple[str, str]]:
    return [pair for a in ANCHORS if a.name == name for pair in a.requires.items()]


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif", "jxl"])
def test_rates_of_pictures_are_those_of_real_files(name: str, picture: Make) -> None:
    form, image, kind = anchor(name), picture(), MODALITIES["image"]
    rates = []
    for setting in (form.ladder[0], form.ladder[-1]):
        data = form.encode(image, setting)
        with Pillow.open(io.BytesIO(data)) as file:
            assert file.format is not None
            assert file.format.lower() == name
            assert file.size == (64, 48)
        measured = measure_anchor(form, setting, kind, "x", image).item
        assert measured.file_bytes == len(data)
        assert measured.rate == pytest.approx(8 * len(data) / (64 * 48))
        rates.append((measured.rate, measured.quality["psnr"]))
    assert rates == sorted(rates)  # the ladder goes up, in rate and in quality


@pytest.mark.parametrize(
    ("name", "magic"), [("opus", b"OpusHead"), ("mp3", b"ID3"), ("vorbis", b"\x01vorbis")]
)
def test_rates_of_sounds_are_those_of_real_files(
    name: str, magic: bytes, sound: Callable[..., Audio]
) -> None:
    form, clip, kind = anchor(name), sound(1.5), MODALITIES["audio"]
    rates = []
    for setting in (form.ladder[0], form.ladder[-1]):
        data = form.encode(clip, setting)
        assert magic in data[:64]
        measured = measure_anchor(form, setting, kind, "x", clip).item
        assert measured.file_bytes == len(data)
        assert measured.rate == pytest.approx(8 * len(data) / 1500)
        rates.append((measured.rate, -(measured.quality["mel"] or 0)))
    assert rates == sorted(rates)
    assert form.title in {"Opus", "MP3", "Vorbis"}
    assert form.version()


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
def test_rates_of_texts_are_those_of_real_files(name: str) -> None:
    form = anchor(name)
    measured = measure_anchor(form, form.ladder[0], MODALITIES["text"], "x", TEXT).item
    assert measured.exact
    assert measured.file_bytes == len(form.encode(TEXT, form.ladder[0]))
    assert measured.units == 3000


def test_texts_are_compressed_as_the_tools_do() -> None:
    assert gzip.decompress(anchor("gzip").encode(TEXT, 9)) == TEXT.data
    assert anchor("xz").encode(TEXT, 9) == lzma.compress(TEXT.data, preset=9)


def test_names_of_another_modality_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"no anchor 'gzip' for image; known: jpeg, webp"):
        choose("image", ["jpeg", "gzip"])


def test_each_anchor_is_run_once() -> None:
    assert [a.name for a in choose("text", ["xz", "gzip", "xz"])] == ["xz", "gzip"]


@pytest.mark.parametrize(
    ("name", "module"), [("jxl", "pillow_jxl"), ("zstd", "zstandard"), ("opus", "av")]
)
def test_a_missing_library_is_named(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (modality,) = (a.modality for a in ANCHORS if a.name == name)
    with pytest.raises(Unavailable, match=r'pip install "omnicodec\[eval\]"'):
        choose(modality, [name])


def test_pictures_that_a_format_cannot_hold() -> None:
    import numpy as np

    wide = Image(np.zeros((1, 20000, 3), np.uint8))
    with pytest.raises(InvalidInput, match="WebP cannot hold"):
        anchor("webp").encode(wide, 50)
