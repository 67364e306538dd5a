"""Which codec a file gets when none is named, and settings checked before any work."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from omnicodec.service.cli.console import UsageError
from omnicodec.service.cli.naming import STDIN

if TYPE_CHECKING:
    from omnicodec.codecs import CodecSpec, Media


def check_settings(codec: str, quality: int | None, effort: str | None) -> None:
    """Raise `UnknownCodec` or `UsageError` for what would fail alike for every file."""
    from omnicodec.codecs import describe

    if codec:
        require(describe(codec), quality, effort)


def require(spec: CodecSpec, quality: int | None, effort: str | None) -> None:
    """Raise `UsageError` unless the codec has this quality and effort."""
    if quality is not None and quality not in spec.qualities:
        known = ", ".join(map(str, spec.qualities)) or "none, it has one fixed quality"
        raise UsageError(f"{spec.name} has no quality {quality}; known: {known}")
    if effort is not None and effort not in spec.efforts:
        known = ", ".join(spec.efforts) or "none, it has one fixed effort"
        raise UsageError(f"{spec.name} has no effort {effort!r}; known: {known}")


def open_media(
    file: str, data: bytes, codec: str, quality: int | None, effort: str | None
) -> tuple[CodecSpec, Media]:
    """Return the item in a file's bytes and the spec of the codec that it gets.

    Raises what the codec's media raise, or `UsageError` for settings it does not have.
    """
    from omnicodec.codecs import MODALITIES, describe

    spec = describe(codec or choose_codec(file, data))
    require(spec, quality, effort)
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
