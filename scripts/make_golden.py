"""Make the golden streams of tests/golden, which old and new versions must open alike.

Never run this to make a failing test pass: a stream that no longer opens is a broken
promise. Run it for a codec whose weights were replaced on purpose (its fingerprint, and so
its streams, are new), or for a new codec.

Usage: python scripts/make_golden.py image/vq [text/bytes ...]
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
from pathlib import Path

import numpy as np

from omnicodec.codecs import Audio, Image, Text, Video, load
from omnicodec.codecs.stream import write_tokens

PROSE = """\
The lamp at the end of the pier had been lit every evening since 1874, first with oil and later
with gas, and when the cable came nobody saw a reason to take the old brass reflector down. On
clear nights the fishermen said that they could tell from its colour whether it would rain.

Le phare n'éclaire plus personne, mais on le repeint chaque printemps. Тепер там живе кіт на
ім'я Капітан, і щоранку о шостій він чекає на рибалок. 每天早上六点，渔民们都会给它带一条鱼。

    def tide(hour: float, *, height: float = 2.4) -> float:
        return height * math.cos(2 * math.pi * hour / 12.42)  # metres above the mean

| day | first | second |
|-----|-------|--------|
| Mon | 03:14 | 15:39  |
| Tue | 04:02 | 16:27  |
"""

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


def sound() -> Audio:
    """Return a second of two channels: a tone that glides, and a beat."""
    n = np.arange(22_050, dtype=np.int64)
    glide = np.sin(2 * np.pi * (200 * n / 22_050 + 300 * (n / 22_050) ** 2))
    beat = ((n // 3000) % 2) * np.sin(2 * np.pi * 440 * n / 22_050)
    return Audio((np.stack([glide, beat]) * 0.3).astype(np.float32), 22_050)


def text() -> Text:
    """Return a text of several scripts and code, with repeats and with bytes that are no UTF-8."""
    words = "Every modality as tokens, exactly: 0123456789.\nДобрий день. 你好。 \U0001f600\n"
    noise = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(6))
    return Text(PROSE.encode() + words.encode() * 2 + bytes(range(64)) + noise)


def clip() -> Video:
    """Return a dozen frames of a disk that moves over stripes, which move less."""
    y, x = np.mgrid[:72, :100].astype(np.int64)
    frames = []
    for n in range(12):
        stripes = (((x + n) // 8 + y // 12) % 2) * 120 + 60
        disk = (x - 20 - 5 * n) ** 2 + (y - 36) ** 2 < 14**2
        pairs = ((230, stripes), (60, x * 2), (40, y * 3))
        frames.append(np.stack([np.where(disk, a, b) for a, b in pairs], 2))
    return Video(np.stack(frames).astype(np.uint8), 25)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("codecs", nargs="+", help="names of codecs, such as image/vq")
    OUT.mkdir(exist_ok=True)
    makers = {"audio": sound, "image": picture, "text": text, "video": clip}
    for name in parser.parse_args().codecs:
        codec = load(name, device="cpu")
        media = makers[codec.spec.modality]()
        (tokens,) = codec.encode([media])
        stem = OUT / f"{name.replace('/', '-')}-{codec.spec.version}"
        # Some codecs code an item, or a part of it that they choose, as a whole.
        small = None if codec.chunk_size(tokens.grid) >= len(tokens) else 50
        stem.with_suffix(".omc").write_bytes(write_tokens(tokens, codec, chunk_positions=small))
        if codec.spec.lossless:
            packed = gzip.compress(media.to_bytes(), mtime=0)
            stem.with_suffix(".txt.gz").write_bytes(packed)
        else:
            tokens.save(stem.with_suffix(".npz"))
        print(f"{stem.name}: {len(tokens)} positions")


if __name__ == "__main__":
    main()
