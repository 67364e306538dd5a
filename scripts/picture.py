"""Make docs/images/reconstruction.png: a photograph beside what a codec makes of it.

The photographs come with scikit-image, inside its wheel: `astronaut` is NASA's and in the
public domain, `chelsea` and `coffee` are CC0.
Usage: python scripts/picture.py [--photo NAME] [--codec CODEC] [--out FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from omnicodec.codecs import Image, OmnicodecError, load
from omnicodec.codecs.stream import write_tokens
from omnicodec.service.evaluate import psnr

OUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "reconstruction.png"
PHOTOS = ("astronaut", "chelsea", "coffee")
WIDTH = 1100  # of the whole, in pixels
GAP = 12
LINE = 40  # height of the captions


def side_by_side(original: Image, decoded: Image, captions: tuple[str, str]) -> Image:
    """Return both pictures beside each other, `WIDTH` pixels wide, with captions below."""
    width = (WIDTH - GAP) // 2
    height = round(original.height * width / original.width)
    page = Pillow.new("RGB", (WIDTH, height + LINE), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=19)
    for picture, caption, x in zip((original, decoded), captions, (0, width + GAP), strict=True):
        scaled = Pillow.fromarray(picture.pixels).resize((width, height), Pillow.Resampling.LANCZOS)
        page.paste(scaled, (x, 0))
        middle = (x + width // 2, height + LINE // 2)
        draw.text(middle, caption, "black", font=font, anchor="mm")
    return Image(np.asarray(page, np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", choices=PHOTOS, default=PHOTOS[0])
    parser.add_argument("--codec", default="image/vq")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    from skimage import data

    original = Image(np.ascontiguousarray(getattr(data, options.photo)()[..., :3]))
    try:
        codec = load(options.codec)
        tokens = codec.encode([original])
        (decoded,) = codec.decode(tokens)
        rate = 8 * len(write_tokens(tokens[0], codec)) / (original.height * original.width)
        quality = psnr(original.pixels, decoded.pixels)
        captions = (
            "original, 24 bits per pixel",
            f"{options.codec}, {rate:.3f} bits per pixel, PSNR {quality:.1f} dB",
        )
        options.out.parent.mkdir(parents=True, exist_ok=True)
        side_by_side(original, decoded, captions).save(options.out)
    except OmnicodecError as e:
        sys.exit(f"picture: {e}")


if __name__ == "__main__":
    main()
