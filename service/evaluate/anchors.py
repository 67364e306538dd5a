"""Anchors: well-known file formats that a codec is measured against."""

from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import numpy as np

from omnicodec.codecs import Audio, Image, InvalidInput, Text, Unavailable
from omnicodec.service.evaluate.environment import package_version
from omnicodec.service.evaluate.sound_formats import (
    MP3,
    OPUS,
    AVFormat,
    decode_av,
    encode_vorbis,
)
from omnicodec.service.evaluate.video_formats import SVT_AV1, X264, X265, VideoFormat


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A file format with a ladder of settings, lowest rate first.

    `setting` is how a step of the ladder reads, with {} for its number. `encode` takes media
    and a setting and gives a file's bytes; `decode` is its inverse. `options` says how the
    format is run, `version` by what. `requires` maps modules to the
    distributions that they come from. `frame_bits` gives the bits of each frame of a video.
    """

    name: str
    title: str
    modality: str
    options: str = ""
    ladder: tuple[int, ...]
    setting: str
    encode: Callable[[Any, int], bytes]
    decode: Callable[[bytes], Any]
    requires: Mapping[str, str] = field(default_factory=dict)
    version: Callable[[], str] = lambda: ""
    frame_bits: Callable[[bytes], tuple[float, ...]] | None = None


def choose(modality: str, names: Sequence[str]) -> list[Anchor]:
    """Return the anchors of these names, ready to run.

    Raises `InvalidInput` for a name that this modality does not have and `Unavailable` for
    one whose library is not installed, before anything is measured.
    """
    known = {anchor.name: anchor for anchor in ANCHORS if anchor.modality == modality}
    chosen = []
    for name in dict.fromkeys(names):
        if name not in known:
            raise InvalidInput(f"no anchor {name!r} for {modality}; known: {', '.join(known)}")
        for module, distribution in known[name].requires.items():
            try:
                import_module(module)
            except ImportError as e:
                raise Unavailable(
                    f'{name} needs {distribution}: pip install "omnicodec[eval]"'
                ) from e
        if name == "avif":
            _check_avif()
        chosen.append(known[name])
    return chosen


def _check_avif() -> None:
    from PIL import features

    if not features.check("avif"):
        raise Unavailable("this Pillow was built without AVIF; its wheels have it since 11.3")


def _picture_format(
    name: str,
    title: str,
    described: str,
    ladder: tuple[int, ...],
    library: str,
    options: Mapping[str, int | bool | str],
    requires: Mapping[str, str] | None = None,
) -> Anchor:
    """Return the anchor of a format that Pillow, or a plugin of it, writes and reads."""
    form = name.upper()

    def encode(image: Image, quality: int) -> bytes:
        from PIL import Image as Pillow

        out = io.BytesIO()
        try:
            Pillow.fromarray(image.pixels).save(out, form, quality=quality, **options)
        except (OSError, ValueError) as e:
            raise InvalidInput(f"{title} cannot hold this picture: {e}") from e
        return out.getvalue()

    def decode(data: bytes) -> Image:
        from PIL import Image as Pillow

        with Pillow.open(io.BytesIO(data), formats=[form]) as file:
            return Image(np.array(file.convert("RGB"), np.uint8))

    def version() -> str:
        from PIL import features

        if requires:
            return " ".join(f"{d} {package_version(d)}" for d in requires.values())
        return f"{library.replace('_', '-')} {features.version(library)}"

    return Anchor(
        name=name,
        title=title,
        modality="image",
        options=described,
        ladder=ladder,
        setting="quality {}",
        encode=encode,
        decode=decode,
        requires=requires or {},
        version=version,
    )


def _sound_format(name: str, form: AVFormat, described: str, ladder: tuple[int, ...]) -> Anchor:
    """Return the anchor of a format that FFmpeg's libraries write and read."""
    return Anchor(
        name=name,
        title=form.title,
        modality="audio",
        options=described,
        ladder=ladder,
        setting="{} kbps",
        encode=form.encode,
        decode=decode_av,
        requires={"av": "av"},
        version=form.version,
    )


def _video_format(name: str, form: VideoFormat, described: str, ladder: tuple[int, ...]) -> Anchor:
    """Return the anchor of a codec that FFmpeg's libraries run."""
    return Anchor(
        name=name,
        title=form.title,
        modality="video",
        options=f"{described}, 4:2:0, constant rate factor",
        ladder=ladder,
        setting="crf {}",
        encode=form.encode,
        decode=form.decode,
        requires={"av": "av"},
        version=form.version,
        frame_bits=form.frame_bits,
    )


def _zstandard() -> ModuleType:
    return import_module("zstandard")


def _zstd_decode(data: bytes) -> Text:
    return Text(_zstandard().ZstdDecompressor().decompress(data))


ANCHORS: Final[tuple[Anchor, ...]] = (
    _picture_format(
        "jpeg",
        "JPEG",
        "4:2:0, optimized tables",
        (1, 5, 10, 20, 40, 75),
        "libjpeg_turbo",
        {"optimize": True, "subsampling": "4:2:0"},
    ),
    _picture_format("webp", "WebP", "method 6", (0, 10, 30, 55, 75, 90), "webp", {"method": 6}),
    _picture_format(
        "avif",
        "AVIF",
        "4:2:0, speed 4",
        (0, 15, 30, 40, 50, 70),
        "avif",
        {"speed": 4, "subsampling": "4:2:0"},
    ),
    _picture_format(
        "jxl",
        "JPEG XL",
        "effort 7",
        (1, 10, 25, 50, 75, 90),
        "jxl",
        {"effort": 7},
        {"pillow_jxl": "pillow-jxl-plugin"},
    ),
    _sound_format(
        "opus",
        OPUS,
        "in Ogg, VBR, 20 ms, general audio, kbps a channel",
        (6, 8, 12, 16, 24),
    ),
    _sound_format("mp3", MP3, "at 24 kHz or less, kbps a channel", (16, 24, 32)),
    Anchor(
        name="vorbis",
        title="Vorbis",
        modality="audio",
        options="in Ogg, at 24 kHz or less; 4 KB of each file are its codebooks",
        ladder=(0, 3),
        setting="quality {}",
        encode=encode_vorbis,
        decode=Audio.open,
        requires={"soundfile": "soundfile"},
        version=lambda: f"libvorbis in soundfile {package_version('soundfile')}",
    ),
    _video_format("x264", X264, "preset medium", (42, 36, 31, 26, 20)),
    _video_format("x265", X265, "preset medium", (42, 36, 31, 26, 20)),
    _video_format("svtav1", SVT_AV1, "preset 6", (60, 52, 43, 33, 22)),
    Anchor(
        name="gzip",
        title="gzip",
        modality="text",
        ladder=(9,),
        setting="level {}",
        encode=lambda text, level: gzip.compress(text.data, level, mtime=0),
        decode=lambda data: Text(gzip.decompress(data)),
    ),
    Anchor(
        name="xz",
        title="xz",
        modality="text",
        ladder=(9,),
        setting="preset {}",
        encode=lambda text, preset: lzma.compress(text.data, preset=preset),
        decode=lambda data: Text(lzma.decompress(data)),
    ),
    Anchor(
        name="zstd",
        title="zstd",
        modality="text",
        ladder=(19,),
        setting="level {}",
        encode=lambda text, level: _zstandard().ZstdCompressor(level=level).compress(text.data),
        decode=_zstd_decode,
        requires={"zstandard": "zstandard"},
        version=lambda: f"zstandard {package_version('zstandard')}",
    ),
)
