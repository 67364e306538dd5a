"""Make the golden streams of tests/golden, which old and new versions must open alike.

Never run this to make a failing test pass: a stream that no longer opens is a broken
promise. Run it for a codec whose weights were replaced on purpose (its fingerprint, and so
its streams, are new), or for a new codec.

Usage: python scripts/make_golden.py image/vq [text/bytes ...]
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np

from omnicodec.codecs import Image, Text, load
from omnicodec.codecs.stream import write_tokens

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden"


def picture() -> Image:
    """Return a small picture of gradients, disks and stripes, the same on every machine."""
    y, x = np.mgrid[:150, :200].astype(np.int64)
    red = x * 255 // 199
    green = y * 255 // 149
    blue = ((x // 8 + y // 12) % 2) * 160 + 40
    disk = (x - 120) ** 2 + (y - 70) ** 2 < 45**2
    pixels = np.stack([np.where(disk, 230, red), np.where(disk, 60, green), blue], 2)
    return Image(pixels.astype(np.uint8))


def text() -> Text:
    """Return a text of several scripts, with bytes that are no UTF-8."""
    words = "Every modality as tokens, exactly: 0123456789.\nДобрий день. 你好。 \U0001f600\n"
    return Text(words.encode() * 40 + bytes(range(256)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("codecs", nargs="+", help="names of codecs, such as image/vq")
    OUT.mkdir(exist_ok=True)
    for name in parser.parse_args().codecs:
        codec = load(name, device="cpu")
        media = picture() if codec.spec.modality == "image" else text()
        (tokens,) = codec.encode([media])
        stem = OUT / f"{name.replace('/', '-')}-{codec.spec.version}"
        stem.with_suffix(".omc").write_bytes(write_tokens(tokens, codec, chunk_positions=50))
        if codec.spec.lossless:
            packed = gzip.compress(media.to_bytes(), mtime=0)
            stem.with_suffix(".txt.gz").write_bytes(packed)
        else:
            tokens.save(stem.with_suffix(".npz"))
        print(f"{stem.name}: {len(tokens)} positions")


if __name__ == "__main__":
    main()
