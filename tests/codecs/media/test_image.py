"""Images: what a viewer shows is what is read; damaged and huge files are refused."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms, PngImagePlugin

from omnicodec.codecs.errors import InvalidInput, LimitExceeded
from omnicodec.codecs.media import Image

Pixels = NDArray[np.uint8]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def file_of(picture: Pillow.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG made by hand: `colour` as in its header, chunks after the header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    out = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        crc = struct.pack(">I", zlib.crc32(name + data))
        out += struct.pack(">I", len(data)) + name + data + crc
    return out


def scene(height: int = 48, width: int = 64) -> Pixels:
    """Return a smooth picture whose four corners differ."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return (np.stack([x, y, (1 - x) * (1 - y)], 2) * 255).astype(np.uint8)


def assert_close(data: bytes, expected: Pixels, tolerance: float) -> None:
    """Assert that the file shows `expected`, on average within `tolerance` levels."""
    pixels = Image.open(data).pixels
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() <= tolerance


# Round trips.


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".tif", ".ppm", ".PNG", None])
def test_lossless_formats_are_exact(suffix: str | None) -> None:
    image = Image(np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8))
    assert Image.open(image.to_bytes(suffix)) == image


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".avif"])
def test_lossy_formats_are_close(suffix: str) -> None:
    assert_close(Image(scene()).to_bytes(suffix), scene(), 2.0)


def test_gif_keeps_few_colours_exactly() -> None:
    pixels = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
    assert Image.open(Image(pixels).to_bytes(".gif")) == Image(pixels)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff(compression: str) -> None:
    data = file_of(Pillow.fromarray(scene()), "TIFF", compression=compression)
    assert Image.open(data) == Image(scene())


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9).map(
    lambda shape: (*shape, 3))))  # fmt: skip
@settings(deadline=None, max_examples=50)
def test_any_pixels_round_trip_through_png(pixels: Pixels) -> None:
    assert np.array_equal(Image.open(Image(pixels).to_bytes(".png")).pixels, pixels)


# What a viewer shows.

# How EXIF's eight orientations store a picture that is seen upright: 6, for one, stores
# the visual right column as its first row, from the top down.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[:, ::-1].transpose(1, 0, 2),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a[::-1].transpose(1, 0, 2),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    stored = Pillow.fromarray(np.ascontiguousarray(STORED[orientation](scene())))
    data = file_of(stored, kind, exif=exif, quality=95, lossless=True)
    assert_close(data, scene(), 0 if kind in {"PNG", "TIFF", "WEBP"} else 2.0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_nonsense_orientation_is_ignored(orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    assert Image.open(file_of(Pillow.fromarray(scene()), "PNG", exif=exif)) == Image(scene())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("end", [6, 12, 20, 30])
def test_damaged_exif_is_ignored(end: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    block = exif.tobytes()
    broken = block[:end] + b"\xff" * (len(block) - end)
    assert_close(file_of(Pillow.fromarray(scene()), "JPEG", exif=broken, quality=95), scene(), 2)


def test_a_palette_with_a_transparent_entry_is_shown_over_white() -> None:
    picture = Pillow.new("P", (3, 1))
    picture.putpalette([*RED, *GREEN, *BLUE])
    picture.putdata([0, 1, 2])
    for kind in ("PNG", "GIF"):
        data = file_of(picture, kind, transparency=1)
        assert Image.open(data).pixels.tolist() == [[list(RED), list(WHITE), list(BLUE)]]


def test_a_palette_with_half_transparent_entries() -> None:
    picture = Pillow.new("P", (2, 1))
    picture.putpalette([*RED, *BLUE])
    picture.putdata([0, 1])
    data = file_of(picture, "PNG", transparency=bytes([255, 128]))
    assert Image.open(data).pixels.tolist() == [[[255, 0, 0], [127, 127, 255]]]


def test_grey_and_grey_with_alpha() -> None:
    grey = Pillow.fromarray(np.array([[0, 100, 255]], np.uint8))
    assert Image.open(file_of(grey, "PNG")).pixels[0, :, 0].tolist() == [0, 100, 255]
    grey.putalpha(Pillow.fromarray(np.array([[0, 128, 255]], np.uint8)))
    assert grey.mode == "LA"
    shown = Image.open(file_of(grey, "PNG")).pixels
    assert shown[0, 0].tolist() == [255] * 3
    assert abs(int(shown[0, 1, 0]) - (100 * 128 + 255 * 127) / 255) <= 1
    assert shown[0, 2].tolist() == [255] * 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_rgba_is_shown_over_white(kind: str) -> None:
    rgba = np.array([[(0, 0, 0, 0), (10, 20, 30, 255), (0, 0, 0, 128)]], np.uint8)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    shown = Image.open(file_of(Pillow.fromarray(rgba), kind, **options)).pixels
    assert shown.tolist() == [[[255] * 3, [10, 20, 30], [127] * 3]]


@pytest.mark.parametrize(
    ("depth", "colour", "key", "row", "expected"),
    [
        (8, 2, (1, 2, 3), bytes([1, 2, 3, 4, 5, 6]), [[255] * 3, [4, 5, 6]]),
        (1, 0, (1,), b"\x40", [[0] * 3, [255] * 3]),
        (1, 0, (0,), b"\x40", [[255] * 3, [255] * 3]),
        (16, 0, (32768,), struct.pack(">2H", 32768, 32767), [[255] * 3, [127] * 3]),
    ],
    ids=["rgb", "bit 1", "bit 0", "grey16"],
)
def test_a_transparent_colour_is_shown_as_white(
    depth: int, colour: int, key: tuple[int, ...], row: bytes, expected: list[list[int]]
) -> None:
    transparent = (b"tRNS", struct.pack(f">{len(key)}H", *key))
    data = png(2, 1, depth, colour, transparent, (b"IDAT", zlib.compress(b"\0" + row)))
    assert Image.open(data).pixels.tolist() == [expected]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    cmyk = {(0, 255, 255, 0): RED, (255, 0, 255, 0): GREEN, (0, 0, 0, 0): WHITE,
            (0, 0, 0, 255): (0, 0, 0)}  # fmt: skip
    for ink, colour in cmyk.items():
        data = file_of(Pillow.new("CMYK", (16, 16), ink), kind)
        expected = np.broadcast_to(np.array(colour, np.uint8), (16, 16, 3))
        assert_close(data, expected, 2.0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    values = np.array([[0, 128, 129, 256, 32768, 65406, 65535]], np.uint16)
    shown = Image.open(file_of(Pillow.fromarray(values), kind)).pixels
    assert shown[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255]
    assert np.array_equal(shown[..., 0], shown[..., 2])


def test_16_bit_big_endian_tiff() -> None:
    picture = Pillow.frombytes("I;16B", (3, 1), struct.pack(">3H", 0, 32768, 65535))
    assert Image.open(file_of(picture, "TIFF")).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_16_bit_colour_png() -> None:
    row = b"\0" + struct.pack(">6H", 0, 32768, 65535, 65535, 0, 256)
    shown = Image.open(png(2, 1, 16, 2, (b"IDAT", zlib.compress(row)))).pixels
    assert shown.tolist() == [[[0, 128, 255], [255, 0, 1]]]


def test_float_tiff() -> None:
    values = np.array([[0.0, 0.5, 1.0, np.nan]], np.float32)
    assert Image.open(file_of(Pillow.fromarray(values), "TIFF")).pixels[0, :, 0].tolist() == [
        0, 128, 255, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_1_bit(kind: str) -> None:
    picture = Pillow.new("1", (2, 1))
    picture.putpixel((1, 0), 1)
    assert Image.open(file_of(picture, kind)).pixels.tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    frames = [Pillow.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = file_of(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert getattr(Pillow.open(io.BytesIO(data)), "n_frames", 1) == 3
    assert np.array_equal(Image.open(data).pixels, np.full((8, 8, 3), RED, np.uint8))


# Colour profiles.

# Columns are the primaries in XYZ, adapted to the white of profiles (D50).
SRGB = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
D50 = np.array([0.9642, 1.0, 0.8249])


def profile(gamma: float, primaries: NDArray[np.float64] | None) -> bytes:
    """Return an ICC profile of RGB with these primaries, or of grey, by the specification."""

    def xyz(value: NDArray[np.float64]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(v) * 65536) for v in value))

    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    tags = {b"wtpt": xyz(D50)}
    if primaries is None:
        tags[b"kTRC"] = curve
    else:
        tags |= {
            name + b"XYZ": xyz(c) for name, c in zip((b"r", b"g", b"b"), primaries.T, strict=True)
        }
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    header = struct.pack(">I4sI4s4s4s12x4s", offset + len(body), b"", 0x02400000, b"mntr",
                         b"GRAY" if primaries is None else b"RGB ", b"XYZ ", b"acsp")  # fmt: skip
    header += bytes(28) + struct.pack(">3i", *(round(float(v) * 65536) for v in D50))
    return header.ljust(128, b"\0") + table + body


def encode_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = linear.clip(0, 1)
    low = linear <= 0.0031308
    return np.where(low, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055) * 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_an_srgb_profile_changes_nothing(kind: str) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"lossless": True} if kind == "WEBP" else {}
    data = file_of(Pillow.fromarray(scene()), kind, icc_profile=icc, **options)
    assert np.abs(Image.open(data).pixels.astype(int) - scene()).max() <= 1


@pytest.mark.parametrize(
    ("gamma", "primaries"), [(1.0, SRGB), (2.2, P3)], ids=["linear", "display-p3"]
)
def test_a_profile_is_converted_to_srgb(gamma: float, primaries: NDArray[np.float64]) -> None:
    pixels = np.array([[(200, 100, 50), (55, 55, 55), (90, 120, 100), (255, 255, 255)]], np.uint8)
    linear = (pixels / 255) ** gamma @ primaries.T @ np.linalg.inv(SRGB).T
    expected = encode_srgb(linear)
    assert np.abs(expected - pixels).max() > 10  # the profile matters
    data = file_of(Pillow.fromarray(pixels), "PNG", icc_profile=profile(gamma, primaries))
    assert np.abs(Image.open(data).pixels - expected).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_a_grey_profile_is_converted_also_beside_alpha_and_in_16_bits(mode: str) -> None:
    levels = np.array([[0, 55, 128, 255]], np.uint8)
    picture = Pillow.fromarray(levels.astype(np.uint16) * 257 if mode == "I;16" else levels)
    if mode == "LA":
        picture.putalpha(255)
    assert picture.mode == mode
    data = file_of(picture, "PNG", icc_profile=profile(1.0, None))
    shown = Image.open(data).pixels
    assert np.abs(shown[..., 0] - encode_srgb(levels / 255)).max() <= 2


def test_alpha_is_kept_through_a_profile() -> None:
    rgba = np.array([[(0, 0, 0, 0), (55, 55, 55, 255)]], np.uint8)
    data = file_of(Pillow.fromarray(rgba), "PNG", icc_profile=profile(1.0, SRGB))
    shown = Image.open(data).pixels
    assert shown[0, 0].tolist() == [255] * 3
    assert np.abs(shown[0, 1] - encode_srgb(np.array(55 / 255))).max() <= 2


@pytest.mark.parametrize("icc", [b"nonsense", profile(1.0, None), profile(1.0, SRGB)[:150]])
def test_a_broken_or_mismatched_profile_is_ignored(icc: bytes) -> None:
    data = file_of(Pillow.fromarray(scene()), "PNG", icc_profile=icc)
    assert Image.open(data) == Image(scene())


# Refusals.


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tiff", ".bmp"])
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
def test_a_file_that_was_cut_off_is_refused(suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    data = Image(noise).to_bytes(suffix)
    with pytest.raises(InvalidInput):
        Image.open(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>", b"\0" * 999])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a picture"):
        Image.open(data)


@pytest.mark.parametrize("side", [50_000, 12_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_huge_picture_is_refused_before_it_is_decoded(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: object) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    with pytest.raises(LimitExceeded):
        Image.open(png(side, side, 8, 2, (b"IDAT", b"")))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tiff", ".gif"])
def test_damage_never_raises_anything_else(suffix: str) -> None:
    rng = np.random.default_rng(1)
    data = Image(scene(16, 16)).to_bytes(suffix)
    refused = 0
    for _ in range(60):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 6):
            broken[place] = rng.integers(0, 256)
        try:
            Image.open(bytes(broken))
        except (InvalidInput, LimitExceeded):
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3), np.float32)],
)
def test_arrays_that_are_no_rgb_are_refused(pixels: Pixels) -> None:
    with pytest.raises(InvalidInput):
        Image(pixels)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0, 3)])
def test_an_empty_picture_exists_but_has_no_file(shape: tuple[int, int, int]) -> None:
    image = Image(np.zeros(shape, np.uint8))
    assert (image.height, image.width, image.nbytes) == (*shape[:2], 0)
    with pytest.raises(InvalidInput, match="0 pixels"):
        image.to_bytes(".png")


@pytest.mark.parametrize("suffix", [".webp", ".jpg", ".gif", ".avif"])
def test_a_picture_too_wide_for_its_format_is_invalid_input(suffix: str) -> None:
    with pytest.raises(InvalidInput, match="cannot write this picture"):
        Image(np.zeros((1, 70_000, 3), np.uint8)).to_bytes(suffix)
