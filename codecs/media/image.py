"""Images: 8-bit RGB, read and written through Pillow."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput, LimitExceeded
from omnicodec.codecs.limits import check_pixels
from omnicodec.codecs.media.base import Media, frozen_array

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

# An allow-list: Pillow's other readers are rare, or start other programs (EPS).
READABLE: Final[tuple[str, ...]] = (
    "AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "TIFF", "WEBP",
)  # fmt: skip

WRITABLE: Final = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".avif": "AVIF",
    ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF", ".ppm": "PPM",
}  # fmt: skip

_BACKGROUND: Final = (255, 255, 255)

# EXIF's orientation to Pillow's transposition, by number: 0 and 1 flip, 2 to 4 turn by
# 90 degrees each, 5 and 6 flip along a diagonal.
_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}

# Pillow's plugins raise these on files they cannot read or write; none is a bug here.
_DAMAGE: Final = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, AttributeError,
    OverflowError, ZeroDivisionError, MemoryError, RuntimeError, struct.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Image(Media):
    """A picture: `pixels` is uint8 of shape `(H, W, 3)`, RGB in the sRGB colour space.

    `H` and `W` may be any size, also 0.
    """

    pixels: NDArray[np.uint8]

    suffixes: ClassVar[tuple[str, ...]] = (*WRITABLE, ".jp2", ".ico", ".qoi")

    def __post_init__(self) -> None:
        pixels = frozen_array(self.pixels, np.uint8, 3, "pixels")
        if pixels.shape[2] != 3:
            raise InvalidInput(f"pixels must have 3 channels (RGB), not {pixels.shape[2]}")
        check_pixels(pixels.shape[0], pixels.shape[1])
        object.__setattr__(self, "pixels", pixels)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        return np.array_equal(self.pixels, other.pixels)

    __hash__ = None  # type: ignore[assignment]  # holds an array, which is mutable

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def nbytes(self) -> int:
        return int(self.pixels.nbytes)

    @classmethod
    def _from_bytes(cls, data: bytes) -> Self:
        from PIL import Image as Pillow
        from PIL import UnidentifiedImageError

        Pillow.init()  # registers all plugins; opening by format needs them
        formats = [kind for kind in READABLE if kind in Pillow.OPEN]
        try:
            with Pillow.open(io.BytesIO(data), formats=formats) as file:
                check_pixels(file.height, file.width)
                picture: PillowImage = file
                picture.load()
                return cls(np.array(_upright(_to_rgb(picture), picture), np.uint8))
        except LimitExceeded:
            raise
        except Pillow.DecompressionBombError as e:
            raise LimitExceeded("picture is over the limit of pixels") from e
        except UnidentifiedImageError as e:
            raise InvalidInput("not a picture that can be read") from e
        except _DAMAGE as e:
            raise InvalidInput(f"picture is damaged: {e}") from e

    def to_bytes(self, suffix: str | None = None) -> bytes:
        """Return the file's bytes; PNG without a suffix, JPEG at quality 95.

        Raises `InvalidInput` for an empty picture or a suffix that cannot be written.
        """
        from PIL import Image as Pillow

        kind = WRITABLE.get((suffix or ".png").lower())
        if kind is None:
            raise InvalidInput(f"cannot write pictures as {suffix!r}; known: {', '.join(WRITABLE)}")
        if self.pixels.size == 0:
            raise InvalidInput("a picture of 0 pixels has no file format")
        options = {"quality": 95} if kind in {"JPEG", "WEBP", "AVIF"} else {}
        out = io.BytesIO()
        try:
            Pillow.fromarray(self.pixels).save(out, kind, **options)
        except _DAMAGE as e:  # such as a size that the format has no room for
            raise InvalidInput(f"cannot write this picture as {kind}: {e}") from e
        return out.getvalue()


def _upright(picture: PillowImage, file: PillowImage) -> PillowImage:
    """Return `picture` turned as the metadata of `file` says; damaged metadata says nothing."""
    from PIL.Image import Transpose

    try:
        turn = _UPRIGHT.get(file.getexif().get(_ORIENTATION_TAG, 1))
    except _DAMAGE:
        return picture
    return picture if turn is None else picture.transpose(Transpose(turn))


def _to_rgb(picture: PillowImage) -> PillowImage:
    """Return the picture as a viewer shows it on a white page: 8-bit sRGB."""
    profile = picture.info.get("icc_profile")
    picture = _to_8_bit(picture)
    if picture.mode in {"P", "PA", "La"} or "transparency" in picture.info:
        grey = picture.mode in {"1", "L", "La"}
        picture = picture.convert("LA" if grey else "RGBA")
    elif picture.mode == "RGBa":
        picture = picture.convert("RGBA")
    if profile and picture.mode in {"RGB", "RGBA", "CMYK", "L", "LA"}:
        picture = _to_srgb(picture, profile)
    if picture.mode in {"LA", "RGBA"}:
        from PIL import Image as Pillow

        page = Pillow.new("RGBA", picture.size, (*_BACKGROUND, 255))
        picture = Pillow.alpha_composite(page, picture.convert("RGBA"))
    return picture.convert("RGB")


def _to_8_bit(picture: PillowImage) -> PillowImage:
    """Scale 16-bit, 32-bit and float grey to 8 bits; Pillow's own conversion clips them."""
    from PIL import Image as Pillow

    if picture.mode.startswith("I;16") or picture.mode == "I":
        values = np.asarray(picture, np.int64).clip(0, 65535)
        grey = Pillow.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
        if isinstance(key := picture.info.get("transparency"), int):
            grey.putalpha(Pillow.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
        return grey
    if picture.mode == "F":
        floats = np.nan_to_num(np.asarray(picture, np.float64), posinf=1.0, neginf=0.0)
        scale = 255.0 if floats.size and floats.max() <= 1.0 else 1.0
        return Pillow.fromarray((floats * scale).round().clip(0, 255).astype(np.uint8))
    return picture


def _to_srgb(picture: PillowImage, profile: bytes) -> PillowImage:
    """Apply an embedded colour profile; a broken one is ignored, as viewers do."""
    from PIL import ImageCms

    alpha = picture.getchannel("A") if picture.mode.endswith("A") else None
    colour = picture if alpha is None else picture.convert(picture.mode.removesuffix("A"))
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            colour, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
    if converted is None:
        return picture
    if alpha is not None:
        converted.putalpha(alpha)
    return converted
