"""Data sets to look at: pictures with captions, texts, and what is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from omnicodec.codecs import Image
from omnicodec.service.batch.prepare import Wishes, prepare
from omnicodec.service.batch.run import tokenize

from .here import Here

ITEMS = 12
HOSTILE = "../../<script>alert(1)</script>"


def caption(number: int) -> str:
    return f"picture <b>{number}</b>: " + "much grey & little else " * (number % 4)


def write_items(folder: Path) -> Path:
    """Write pictures, and the JSON lines of items with them; returns the path of these.

    Of every four items one is a picture, one a text, and two are both; the last two are broken.
    """
    folder.mkdir()
    lines: list[dict[str, Any]] = []
    for number in range(ITEMS):
        size = 16 + 8 * (number % 3)
        y, x = np.mgrid[:size, :size]
        grey = np.stack([y * 5 + number, x * 5, y + x], 2).astype(np.uint8)
        Image(grey).save(folder / f"{number}.png")
        line: dict[str, Any] = {"id": f"items/{number}.png" if number else HOSTILE}
        if number % 4 != 1:
            line["image"] = f"{number}.png"
        if number % 4 != 2:
            line["text"] = caption(number)
        lines.append(line)
    (folder / "broken.png").write_bytes(b"\x89PNG<img src=x onerror=alert(1)>")
    lines.append({"id": "broken", "image": "broken.png"})
    lines.append({"id": "gone", "image": "gone.png", "text": "no picture"})
    source = folder / "items.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return source


def shown_data_set(source: Path, out: Path, **wishes: Any) -> Path:
    """Tokenize the items in shards of five, and return the folder of the data set.

    The codec of pictures is the one of the fixture `blocks`, which needs no network.
    """
    common: dict[str, Any] = {"codecs": ["text/bytes", "image/coarse"], "shard_items": 5}
    job, vocabulary = prepare(Wishes(sources=[str(source)], **{**common, **wishes}))
    tokenize(job, vocabulary, out, engine=Here())
    return out
