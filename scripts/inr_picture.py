"""Make docs/images/inr-latents.png and inr-motion.png: what `image/inr` and `video/inr` code.

The first shows the bands of a photograph and where its bits go; the second a frame of a clip in
which a camera moves over one photograph and a part of another one crosses it. The photographs come
with scikit-image, inside its wheel: `astronaut` is NASA's and in the public domain, `chelsea` and
`coffee` are CC0.
Usage: python scripts/inr_picture.py [--image-weights FOLDER] [--video-weights FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from omnicodec.codecs import Image, OmnicodecError, Tokens, Video, load
from omnicodec.codecs.image._inr_format import front
from omnicodec.codecs.image._inr_prior import from_ids
from omnicodec.codecs.image.inr import ImageInrCodec
from omnicodec.codecs.stream import write_tokens
from omnicodec.codecs.video._inr_format import unpack
from omnicodec.codecs.video.inr import VideoInrCodec
from omnicodec.models.inr.arm import Arms, floats_of, plane_bits
from omnicodec.models.inr.exact_arm import RATE_BITS
from omnicodec.models.inr.frames import Predicted
from omnicodec.models.inr.motion.compensation import compensate
from omnicodec.models.inr.motion.field import BLOCK, SECOND, Motion
from omnicodec.models.inr.order import order
from omnicodec.models.inr.pyramid import (
    BANDS,
    CHANNELS,
    COLOURS,
    LEVELS,
    PLANES,
    padded,
    positions,
    split,
)
from omnicodec.service.evaluate import psnr

OUT: Final = Path(__file__).resolve().parent.parent / "docs" / "images"
PHOTOS: Final = ("astronaut", "chelsea", "coffee")
GAP: Final = 10
LINE: Final = 34
"""Height of captions."""

BARS: Final = 330
COLOUR_BARS: Final = ("#8aa7c4", "#e0b060", "#b58ac4")
"""Of luma and of the two colours."""

LOUDEST: Final = 4.5
"""Latents of `2**LOUDEST` steps and more are black or white."""

FRAMES: Final = 9
SHOWN: Final = 4
"""A frame between two others, which it is predicted from."""

SIDES: Final = (272, 352)


def photo(name: str) -> NDArray[np.uint8]:
    """Return a photograph of scikit-image, uint8 `(H, W, 3)`."""
    from skimage import data

    return np.ascontiguousarray(getattr(data, name)()[..., :3])


# Latents


def grays(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return latents as grays: 0 is the middle, sizes by their logarithm."""
    sizes = np.sign(values) * np.log2(1 + np.abs(values)) / LOUDEST
    return (127.5 + 127.5 * sizes.clip(-1, 1)).round().astype(np.uint8)


def nested(scales: Sequence[NDArray[np.int32]], colour: int) -> NDArray[np.uint8]:
    """Return the bands of luma or a colour, nested: across on the right, down below.

    Of colours the finest bands are not there, and so are those of this picture.
    """
    whole = grays(scales[0][colour])
    for bands in scales[1:]:
        if colour * BANDS < len(bands):
            across, down, both = map(grays, bands[colour * BANDS :][:BANDS])
            whole = np.block([[whole, across], [down, both]])
    height, width = whole.shape
    for level in range(1, LEVELS + 1):  # a line between bands
        h, w = height >> level, width >> level
        whole[h, : 2 * w] = whole[: 2 * h, w] = 60
    return whole


def bits_of(codec: ImageInrCodec, scales: Sequence[NDArray[np.int32]], quality: int) -> list[float]:
    """Return the bits of each plane, as the shared models have them."""
    models: Any = torch.nn.Module()
    models.arms = torch.nn.ModuleList(map(Arms, CHANNELS))
    models.load_state_dict(floats_of(codec.prior.arms))
    floats = [torch.from_numpy(np.ascontiguousarray(y))[None].float() for y in scales]
    with torch.no_grad():
        rate = int(codec.prior.rates[quality]) / (1 << RATE_BITS)
        return [float(bits) for bits in plane_bits(models.arms, floats, rate)]


def latents_picture(codec: ImageInrCodec, picture: Image, quality: int) -> Pillow.Image:
    """Return the bands of a picture, and the bits of each scale."""
    (tokens,) = codec.encode([picture], quality=quality)
    (decoded,) = codec.decode([tokens])
    size = 8 * len(write_tokens(tokens, codec))
    scales = scales_of(codec, tokens)
    luma, *others = (nested(scales, colour) for colour in range(COLOURS))
    height = luma.shape[0]
    left = luma.shape[1] + 2 * GAP + others[0].shape[1]
    page = Pillow.new("RGB", (left + BARS, height + LINE), "white")
    pen = ImageDraw.Draw(page)
    page.paste(Pillow.fromarray(luma), (0, 0))
    caption(pen, "luma", 0, luma.shape[1], height)
    for k, colour in enumerate(others):
        page.paste(Pillow.fromarray(colour), (luma.shape[1] + GAP, k * (height // 2)))
    pen.rectangle((luma.shape[1], height // 2 - 2, left, height // 2 + 1), fill="white")
    caption(pen, "the two colours", luma.shape[1] + GAP, left - GAP, height)

    bits = np.zeros((LEVELS + 1, COLOURS))
    for plane, found in zip(PLANES, bits_of(codec, scales, quality), strict=True):
        colour = plane.channel if plane.scale == 0 else plane.channel // BANDS
        bits[plane.scale, colour] += found
    label, small = ImageFont.load_default(size=15), ImageFont.load_default(size=13)
    pen.text((left + GAP, 6), "where the bits go", "black", font=label)
    step = (height - 40) // (LEVELS + 1)
    for scale, row in enumerate(bits[::-1]):
        level = LEVELS - scale
        side = 1 << min(LEVELS, LEVELS + 1 - level)
        top, x = 40 + scale * step, left + GAP
        text = f"{'details' if level else 'means'} of {side}x{side} pixels"
        pen.text((x, top), f"{text}: {100 * row.sum() / bits.sum():.1f} %", "black", font=small)
        for value, fill in zip(row, COLOUR_BARS, strict=True):
            wide = round(float((BARS - 4 * GAP) * value / bits.sum(1).max()))
            pen.rectangle((x, top + 20, x + wide, top + 42), fill=fill)
            x += wide
    rate = size / (picture.height * picture.width)
    error = psnr(picture.pixels, decoded.pixels)
    text = f"quality {quality}: {rate:.3f} bits a pixel, {error:.1f} dB"
    caption(pen, text, left, left + BARS, height)
    return page


def scales_of(codec: ImageInrCodec, tokens: Tokens) -> list[NDArray[np.int32]]:
    """Return the scales that tokens of a picture hold."""
    sides = padded(tokens.extent["height"], tokens.extent["width"])
    at = front(codec.prior.sizes)
    return split(from_ids(tokens.ids[0])[at : at + positions(*sides)], *sides)


# Motion


def clip() -> Video:
    """Return a clip: a camera moves over coffee, and an astronaut's portrait crosses it."""
    ground, face = photo("coffee"), photo("astronaut")[20:180, 150:290]
    y, x = np.mgrid[: face.shape[0], : face.shape[1]]
    shape = ((y / face.shape[0] - 0.5) ** 2 + (x / face.shape[1] - 0.5) ** 2 < 0.25)[..., None]
    height, width = SIDES
    frames = []
    for n in range(FRAMES):
        top, left = 40 + 3 * n, 60 + 2 * n
        frame = ground[top : top + height, left : left + width].copy()
        place = frame[60 - 2 * n :, 40 + 9 * n :][: face.shape[0], : face.shape[1]]
        # What gets lighter cannot be predicted by motion alone.
        lit = (face * (0.8 + 0.05 * n)).clip(0, 255).astype(np.uint8)
        place[:] = np.where(shape, lit, place)
        frames.append(frame)
    return Video(np.stack(frames), Fraction(25))


def field(motion: Motion, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return motion as colours, uint8 `(H, W, 3)`: hue is direction, strength is size.

    It is that to the first reference, or where a block has the second alone, its opposite.
    """
    second = (motion.modes == SECOND).repeat(2, 0).repeat(2, 1)[..., None]
    vectors = np.where(second, -motion.vectors[-1], motion.vectors[0]).astype(np.float32)
    sizes = np.hypot(vectors[..., 0], vectors[..., 1])
    angle = np.arctan2(vectors[..., 0], vectors[..., 1]) / (2 * np.pi) % 1
    strength = 255 * np.sqrt(sizes / max(float(sizes.max()), 1.0))
    hsv = np.stack([255 * angle, strength, np.full_like(angle, 245)], -1).round().astype(np.uint8)
    drawn = np.asarray(Pillow.fromarray(hsv, "HSV").convert("RGB"))
    return drawn.repeat(BLOCK // 2, 0).repeat(BLOCK // 2, 1)[: shape[0], : shape[1]]


def motion_picture(codec: VideoInrCodec, video: Video, quality: int) -> Pillow.Image:
    """Return a frame's prediction, its motion, and its active blocks, beside each other."""
    (tokens,) = codec.encode([video], quality=quality)
    (decoded,) = codec.decode([tokens])
    count, height, width = decoded.frames.shape[:3]
    row = from_ids(tokens.ids.reshape(tokens.grid)[0])
    found = unpack(row, count, height, width, codec.prior.sizes)
    group = list(zip(order(count), found, strict=True))
    step, frame = next(pair for pair in group if pair[0].frame == SHOWN)
    assert isinstance(frame, Predicted)
    predicted = compensate([decoded.frames[k] for k in step.references], frame.motion)
    shown = decoded.frames[SHOWN]
    mask = frame.active.repeat(BLOCK, 0).repeat(BLOCK, 1)[:height, :width, None]
    active = np.where(mask, shown, 255 - (255 - shown) // 4)
    key_bits = codec.prior.frame_bits(group[0][1])
    captions = (
        f"frame {SHOWN}, predicted from {step.references[0]} and {step.references[1]}: "
        f"{psnr(video.frames[SHOWN], predicted):.1f} dB",
        "its motion: hue is direction",
        f"blocks with latents: {psnr(video.frames[SHOWN], shown):.1f} dB",
    )
    panels = (predicted, field(frame.motion, (height, width)), active)
    page = Pillow.new("RGB", (3 * width + 2 * GAP, height + 2 * LINE), "white")
    pen = ImageDraw.Draw(page)
    for k, (panel, text) in enumerate(zip(panels, captions, strict=True)):
        left = k * (width + GAP)
        page.paste(Pillow.fromarray(panel.astype(np.uint8)), (left, 0))
        caption(pen, text, left, left + width, height)
    text = (
        f"quality {quality}: {codec.prior.frame_bits(frame) / 8:,.0f} bytes for this frame, "
        f"{key_bits / 8:,.0f} for the key frame"
    )
    caption(pen, text, 0, page.width, height + LINE)
    return page


def caption(pen: ImageDraw.ImageDraw, text: str, left: int, right: int, top: int) -> None:
    """Write a line in the middle below a panel."""
    font = ImageFont.load_default(size=15)
    pen.text(((left + right) // 2, top + LINE // 2), text, "black", font=font, anchor="mm")


def save(page: Pillow.Image, path: Path, colours: int) -> None:
    """Write a PNG with a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.quantize(colours, dither=Pillow.Dither.NONE).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", choices=PHOTOS, default=PHOTOS[0])
    parser.add_argument("--quality", type=int, default=40)
    parser.add_argument("--image-weights", type=Path, help="default: those that ship")
    parser.add_argument("--video-weights", type=Path, help="default: those that ship")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    try:
        image: Any = load("image/inr") if options.image_weights is None else None
        image = image or ImageInrCodec.from_folder(options.image_weights)
        page = latents_picture(image, Image(photo(options.photo)), options.quality)
        save(page, options.out / "inr-latents.png", 64)
        video: Any = load("video/inr") if options.video_weights is None else None
        video = video or VideoInrCodec.from_folder(options.video_weights)
        save(motion_picture(video, clip(), options.quality), options.out / "inr-motion.png", 128)
    except OmnicodecError as e:
        sys.exit(f"inr_picture: {e}")


if __name__ == "__main__":
    main()
