"""Which codec a file gets when none is named, and settings checked before any work."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from omnicodec.service.cli.console import UsageError
from omnicodec.service.cli.naming import STDIN

if TYPE_CHECKING:
    from omnicodec.codecs import CodecSpec, Media
    from omnicodec.codecs.codec import Settings


def named(codec: str) -> str | Path:
    """Return the codec of `--codec`: a name, or what is not known by name but lies on disk."""
    from omnicodec.codecs import available

    known = codec.partition("@")[0] in available()
    return Path(codec) if codec and not known and Path(codec).exists() else codec


def check_settings(codec: str | Path, settings: Settings) -> None:
    """Raise `UnknownCodec` or `UsageError` for what would fail alike for every file."""
    from omnicodec.codecs import describe

    if codec:
        require(describe(codec), settings)


def require(spec: CodecSpec, settings: Settings) -> None:
    """Raise `UsageError` unless the codec has this quality, effort and method."""
    for what, value, known in (
        ("quality", settings.quality, spec.qualities),
        ("effort", settings.effort, spec.efforts),
        ("method", settings.method, spec.methods),
    ):
        if value is not None and value not in known:
            choices = ", ".join(map(str, known)) or f"none, it has one fixed {what}"
            raise UsageError(f"{spec.name} has no {what} {value!r}; known: {choices}")


def open_media(
    file: str, data: bytes, codec: str | Path, settings: Settings
) -> tuple[CodecSpec, Media]:
    """Return the item in a file's bytes and the spec of the codec that it gets.

    Raises what the codec's media raise, or `UsageError` for settings it does not have.
    """
    from omnicodec.codecs import MODALITIES, describe

    spec = describe(codec or choose_codec(file, data))
    require(spec, settings)
    return spec, MODALITIES[spec.modality].open(data)


def choose_codec(file: str, data: bytes) -> str:
    """Return the default codec for a file: by its ending, else by its content."""
    from omnicodec.codecs import MODALITIES, default_codec

    ending = "" if file == STDIN else Path(file).suffix.lower()
    for modality, kind in MODALITIES.items():
        if ending in kind.suffixes:
            return default_codec(modality)
    return default_codec("image" if _begins_as_picture(data) else "text")


def _begins_as_picture(data: bytes) -> bool:
    """Return whether this is a picture by its header, which may still be damaged behind it."""
    from PIL import Image as Pillow

    from omnicodec.codecs.media.image import READABLE

    Pillow.init()
    try:
        with Pillow.open(io.BytesIO(data), formats=[k for k in READABLE if k in Pillow.OPEN]):
            return True
    except Pillow.DecompressionBombError:
        return True  # too large, which its reader will say
    except Exception:  # plugins raise nearly anything on what is not theirs
        return False
