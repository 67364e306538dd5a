"""Make docs/images/cuts.png: a sentence as each text codec cuts it.

Usage: python scripts/text_picture.py [--text TEXT] [--out FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from omnicodec.codecs import Image, OmnicodecError, Text, load
from omnicodec.codecs.prior.mixer import INFORMATION_UNIT, byte_model

OUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "cuts.png"
TEXT = "The lighthouse keeper counted the ships, and the ships counted on him: 1,024 of them."
LEFT, STEP, ROW, MARGIN = 216, 11, 44, 14
COLOURS = ("#cfe3f7", "#f9dfb8")


def ends(codec_name: str, data: bytes, method: str | None = None) -> list[int]:
    """Return where each token of a text ends, in bytes."""
    codec = load(codec_name)
    if codec_name == "text/patch":
        return list(accumulate(int(n) for n in codec.patches(data, method=method)))
    if codec_name == "text/info":
        # A window ends before the first byte for which another one is needed.
        counts = [max(0, byte_model().to_windows(data[:n]).size - 1) for n in range(len(data) + 1)]
        return [n for n in range(1, len(data)) if counts[n + 1] > counts[n]] + [len(data)]
    (tokens,) = codec.encode([Text(data)], method=method)
    pieces = []
    for token in tokens.ids.T:
        one = type(tokens)(tokens.codec, tokens.fingerprint, token[:, None], (1,))
        pieces.append(len(codec.decode([one])[0].data))
    return list(accumulate(pieces))


def rows(data: bytes) -> list[tuple[str, list[int]]]:
    """Return the name and the ends of each way to cut."""
    ways: list[tuple[str, str, str | None]] = [("text/bytes", "text/bytes", None)]
    ways += [(f"patch, {m}", "text/patch", m) for m in load("text/patch").spec.methods]
    ways += [(m, "text/bpe", m) for m in load("text/bpe").spec.methods]
    ways += [("text/info", "text/info", None)]
    return [(label, ends(name, data, method)) for label, name, method in ways]


def draw(data: bytes, cuts: Sequence[tuple[str, list[int]]]) -> Image:
    """Return the picture: a row for each way, and the information of each byte below."""
    surprisal = byte_model().surprisal(data) / INFORMATION_UNIT
    width = LEFT + STEP * len(data) + MARGIN
    height = ROW * len(cuts) + 110 + MARGIN
    page = Pillow.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    label, letter = ImageFont.load_default(size=15), ImageFont.load_default(size=14)
    for index, (name, stops) in enumerate(cuts):
        top = MARGIN + index * ROW
        pen.text((MARGIN, top + 15), name, "black", font=label, anchor="lm")
        count = f"{len(data) / len(stops):.1f} bytes"
        pen.text((LEFT - 8, top + 15), count, "#777777", font=letter, anchor="rm")
        for k, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
            box = (LEFT + start * STEP, top, LEFT + stop * STEP - 2, top + 30)
            pen.rectangle(box, fill=COLOURS[k % 2])
        for k, byte in enumerate(data):
            middle = (LEFT + k * STEP + STEP // 2 - 1, top + 15)
            pen.text(middle, chr(byte), "black", font=letter, anchor="mm")
    base = height - MARGIN
    pen.text((MARGIN, base - 45), "bits of each byte", "black", font=label, anchor="lm")
    for k, bits in enumerate(surprisal):
        box = (LEFT + k * STEP, base - min(90, round(bits * 9)), LEFT + (k + 1) * STEP - 3, base)
        pen.rectangle(box, fill="#8aa7c4")
    return Image(np.asarray(page))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--text", default=TEXT, help="plain ASCII")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    try:
        data = args.text.encode("ascii")
        args.out.parent.mkdir(parents=True, exist_ok=True)
        draw(data, rows(data)).save(args.out)
    except (OmnicodecError, UnicodeError) as e:
        print(f"text_picture: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
