"""Which codec a file gets when none is named, and settings checked before any work."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from omnicodec.service.cli.console import UsageError, note
from omnicodec.service.cli.naming import STDIN, shown_name
from omnicodec.service.cli.pipes import Pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omnicodec.codecs import CodecSpec, Media
    from omnicodec.codecs.codec import Settings
    from omnicodec.codecs.media.raw_video import RawVideo


def named(codec: str) -> str | Path:
    """Return the codec of `--codec`: a name, or what is not known by name but lies on disk."""
    from omnicodec.codecs import available

    known = codec.partition("@")[0] in available()
    return Path(codec) if codec and not known and Path(codec).exists() else codec


def open_published(codecs: Sequence[str] | None, device: str) -> None:
    """Open codecs that what is read may name then, as it may not name others from elsewhere."""
    from omnicodec.codecs import load

    for codec in codecs or ():
        load(named(codec), device=device)


def check_settings(codec: str | Path, settings: Settings) -> None:
    """Raise `UnknownCodec` or `UsageError` for what would fail alike for every file."""
    from omnicodec.codecs import describe

    if codec:
        require(describe(codec), settings)


def require(spec: CodecSpec, settings: Settings) -> None:
    """Raise `UsageError` unless the codec has this quality, effort and method."""
    from omnicodec.codecs.codec import listed

    for what, value, known in (
        ("quality", settings.quality, spec.qualities),
        ("effort", settings.effort, spec.efforts),
        ("method", settings.method, spec.methods),
    ):
        if value is not None and value not in known:
            choices = listed(known) or f"none, it has one fixed {what}"
            raise UsageError(f"{spec.name} has no {what} {value!r}; known: {choices}")


def open_media(
    file: str,
    data: bytes,
    codec: str | Path,
    settings: Settings,
    *,
    compressing: bool,
    raw: RawVideo | None = None,
) -> tuple[CodecSpec, Media]:
    """Return the item in a file's bytes and the spec of the codec that it gets.

    Without a codec it is the default, which may be another where the item is compressed.
    `raw` says that it is frames of video. Raises what the codec's media raise, or `UsageError`
    for settings it does not have and for raw frames given to another modality.
    """
    from omnicodec.codecs import MODALITIES, Video, default_codec, describe

    if raw is not None and not codec:
        codec = default_codec("video", compressing=compressing)
    spec = describe(codec or choose_codec(file, data, compressing=compressing))
    require(spec, settings)
    if raw is None:
        if spec.modality == "image" and (count := _pictures_in(data)) > 1:
            note(f"{shown_name(file)}: the first of {count:,} pictures; -c video/inr takes all")
        return spec, MODALITIES[spec.modality].open(data)
    if spec.modality != "video":
        raise UsageError(f"--raw is for codecs of video, and {spec.name} is none")
    return spec, Video.from_raw(data, raw)


def parse_raw(text: str) -> RawVideo | None:
    """Return what --raw says of an input; raises `UsageError`."""
    from omnicodec.codecs import OmnicodecError
    from omnicodec.codecs.media.raw_video import RawVideo

    try:
        return RawVideo.parse(text) if text else None
    except OmnicodecError as e:
        raise UsageError(f"--raw: {e}") from e


def check_raw_format(text: str) -> None:
    """Raise `UsageError` unless --raw names a format of frames."""
    from omnicodec.codecs.media.raw_video import PIXEL_FORMATS

    if text and text not in PIXEL_FORMATS:
        known = ", ".join(PIXEL_FORMATS)
        raise UsageError(f"--raw: unknown pixel format {text!r}; known: {known}")


def parse_frames(text: str) -> slice | None:
    """Return the frames that --frames names, None without; raises `UsageError`."""
    if not text:
        return None
    found = re.fullmatch(r"\s*(-?[0-9]{1,18})?\s*(?:(:)\s*(-?[0-9]{1,18})?)?\s*", text)
    if not found or not any(found.groups()):
        raise UsageError(
            f"--frames: {text!r} is not A:B, as in 100:200, :50 or -25:, counted in frames from 0"
        )
    start, stop = (int(part) if part else None for part in (found[1], found[3]))
    if not found[2] and start is not None:
        stop = start + 1 or None  # behind -1 is the end
    if start is not None and stop is not None and start >= stop and (start < 0) == (stop < 0):
        raise UsageError(
            f"--frames: {text} is no frame: A has to be before B, which is not among them"
        )
    return slice(start, stop)


def sound_codec(
    file: str,
    source: BinaryIO | Pipe,
    codec: str,
    settings: Settings,
    *,
    plain: bool,
    find: Callable[[str], CodecSpec] | None = None,
) -> str:
    """Return the codec that an opened input goes through in pieces, or "" if it does not.

    `plain` says that it is plain samples, `find` what a name means where that is not for this
    process to say. Raises `UsageError` for settings that the codec does not have.
    """
    from omnicodec.codecs import default_codec, describe
    from omnicodec.codecs.hub.reference import is_hub_name
    from omnicodec.codecs.media.audio_reader import HEAD_BYTES, is_sound

    name = codec
    if plain and not name:
        name = default_codec("audio")
    if not name and not _modality(file):
        if isinstance(source, Pipe):
            while len(source.head) < HEAD_BYTES and source.look():
                pass
            head = source.head[:HEAD_BYTES]
        else:
            head = source.read(HEAD_BYTES)
            source.seek(-len(head), os.SEEK_CUR)
        name = default_codec("audio") if is_sound(head) else ""
    elif not name:
        name = choose_codec(file, b"", compressing=True)
    if not name:
        return ""
    spec = (find or describe)(name)
    require(spec, settings)
    if not comes_in_pieces(spec):
        return ""
    return name if is_hub_name(name) else spec.name


def comes_in_pieces(spec: CodecSpec) -> bool:
    """Return whether files and pipes go through this codec piece by piece."""
    return spec.streaming and spec.modality == "audio"


def choose_codec(file: str, data: bytes, *, compressing: bool = False) -> str:
    """Return the default codec for a file: by its ending, else by its content."""
    from omnicodec.codecs import default_codec
    from omnicodec.codecs.media.audio_reader import HEAD_BYTES, is_sound

    known = _modality(file)
    if known:
        return default_codec(known, compressing=compressing)
    if is_sound(data[:HEAD_BYTES]):
        return default_codec("audio")
    modality = "image" if _begins_as_picture(data) else "text"
    return default_codec(modality, compressing=compressing)


def _modality(file: str) -> str:
    """Return the modality that a file's ending tells, or ""."""
    from omnicodec.codecs import MODALITIES

    ending = "" if file == STDIN else Path(file).suffix.lower()
    return next((name for name, kind in MODALITIES.items() if ending in kind.suffixes), "")


def _pictures_in(data: bytes) -> int:
    """Return how many frames an animated GIF has; 1 for any other file."""
    if not data.startswith(b"GIF8"):
        return 1
    from PIL import Image as Pillow

    try:
        with Pillow.open(io.BytesIO(data), formats=["GIF"]) as picture:
            return int(getattr(picture, "n_frames", 1))
    except Exception:  # its reader will say what is wrong with it
        return 1


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
