"""What tokens cost: core-seconds of each codec, of opening files, and bytes of tokens stored."""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from benches._batch_media import jpegs, texts

from omnicodec.codecs import Audio, Image, Media, Text, Video, available, describe, load
from omnicodec.service.batch.documents import Item, Part
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.prepare import Wishes, prepare
from omnicodec.service.batch.shards import write_entries
from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.table import markdown, number

_SOUND_SECONDS: Final = 20
_CLIP: Final = (8, 64, 96)  # frames, height, width
_FEWER: Final = {"image/inr": 4}
_TIMES: Final = 3
"""Every figure is the median of so many."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--codecs", default="", help="default: all")
    parser.add_argument("--items", type=int, default=24, help="of each codec; default: %(default)s")
    parser.add_argument("--side", type=int, default=512, help="of pictures; default: %(default)s")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    _use_one_thread()
    names = options.codecs.split(",") if options.codecs else list(available())
    opening = {kind: _opening(kind, options) for kind in ("image", "audio")}
    codecs = {name: _codec(name, options) for name in names}
    storing = {
        f"{name} {form}": _storing(name, form, options)
        for name, form in (("image/vq", "parquet"), ("image/vq", "megatron"),
                           ("audio/rvq", "megatron"), ("text/bpe", "megatron"))
        if name in names
    }  # fmt: skip
    rows = [
        [name, found["item"], *(number(found[key]) for key in
         ("tokens", "core_seconds", "core_seconds_per_million_tokens")), found["unit"],
         number(1e6 * found["core_seconds_per_unit"])]
        for name, found in codecs.items()
    ]  # fmt: skip
    header = [
        "codec",
        "an item",
        "tokens",
        "core-seconds",
        "of 10^6 tokens",
        "unit",
        "of 10^6 units",
    ]
    opened = [[k, number(1e6 * v["core_seconds_per_unit"]), v["unit"]] for k, v in opening.items()]
    stored = [
        [name, number(v["bytes_per_token"]), number(1e6 * v["core_seconds_per_token"])]
        for name, v in storing.items()
    ]
    text = "\n\n".join(
        (
            markdown(header, rows),
            markdown(["opening", "core-seconds of 10^6", "unit"], opened),
            markdown(["storing", "bytes a token", "core-seconds of 10^6 tokens"], stored),
            str(Environment.here("cpu")),
        )
    )
    return text + "\n", {"codecs": codecs, "opening": opening, "storing": storing}


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    os.environ.update(OMNICODEC_THREADS="1", RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")


def _codec(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what an item, a token and a unit of its medium cost, in seconds of one core."""
    codec = load(name, device="cpu")
    count = max(1, options.items // _FEWER.get(name, 1))
    media, what, unit, units = _media(codec.spec.modality, count, options)
    if codec.spec.modality == "video":
        media = media[:1]
    tokens = codec.encode(media[:1])
    seconds = _cpu_seconds(
        lambda: tokens.append(codec.encode(media)), 1 if unit == "pixel of a frame" else _TIMES
    )
    made = tokens[-1] if isinstance(tokens[-1], list) else tokens
    total = sum(each.ids.size for each in made)
    whole = units * len(media)
    return {
        "item": what,
        "items": len(media),
        "effort": (codec.spec.efforts or ("",))[0],
        "tokens": total / len(media),
        "core_seconds": seconds / len(media),
        "core_seconds_per_million_tokens": 1e6 * seconds / total,
        "unit": unit,
        "core_seconds_per_unit": seconds / whole,
        "tokens_per_unit": total / whole,
    }


def _media(
    modality: str, count: int, options: argparse.Namespace
) -> tuple[list[Any], str, str, float]:
    """Return items, what one is, and what is counted in it, with how many of that it has."""
    side = options.side
    if modality == "image":
        with tempfile.TemporaryDirectory() as name:
            jpegs(Path(name) / "a", count, side)
            found = [Image.open(path) for path in sorted((Path(name) / "a").iterdir())]
        return found, f"{side}x{side} pixels", "pixel", side * side
    if modality == "audio":
        sounds = [_sound(n) for n in range(max(1, count // 8))]
        return sounds, f"{_SOUND_SECONDS} seconds, mono", "second", _SOUND_SECONDS
    if modality == "video":
        frames, height, width = _CLIP
        clip = Video(_frames(), Fraction(24))
        return (
            [clip],
            f"{frames} frames of {width}x{height}",
            "pixel of a frame",
            frames * height * width,
        )
    values = [Text(text) for text in texts(40 * count)]
    nbytes = sum(len(text.data) for text in values)
    return values, "2 KB of text", "byte", nbytes / len(values)


def _frames() -> Any:
    frames, height, width = _CLIP
    t, y, x = np.mgrid[0:frames, 0:height, 0:width].astype(float)
    planes = [128 + 90 * np.sin((x + 2 * t) / 9 + c) * np.cos(y / (7 + c)) for c in range(3)]
    return np.stack(planes, -1).round().astype(np.uint8)


def _sound(seed: int) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(24_000 * _SOUND_SECONDS) / 24_000
    waves = sum(0.1 * np.sin(2 * np.pi * pitch * t) for pitch in rng.uniform(80, 900, 4))
    return Audio((waves + rng.normal(0, 0.01, len(t)))[None].astype(np.float32), 24_000)


def _opening(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what opening a file costs, JPEG or FLAC, and how large it is."""
    with tempfile.TemporaryDirectory() as name:
        if kind == "image":
            nbytes = jpegs(Path(name) / "a", 8, options.side)
            files = [path.read_bytes() for path in (Path(name) / "a").iterdir()]
            opener: Callable[[bytes], Media] = Image.open
            unit, units = "pixel", 8 * options.side**2
        else:
            file = Path(name) / "a.flac"
            _sound(0).save(file)
            files, opener = [file.read_bytes()], Audio.open
            nbytes, unit, units = len(files[0]), "second", _SOUND_SECONDS
    seconds = _cpu_seconds(lambda: [opener(data) for data in files], 2 * _TIMES)
    return {
        "unit": unit,
        "core_seconds_per_unit": seconds / units,
        "bytes_per_unit": nbytes / units,
    }


def _storing(name: str, form: str, options: argparse.Namespace) -> dict[str, float]:
    """Return what a shard costs beside its codec, and the bytes of its files, a token."""
    job, vocabulary = prepare(Wishes(sources=["."], codecs=[name], format=form, device="cpu"))
    modality = describe(name).modality
    media, *_ = _media(modality, options.items, options)
    items = []
    for number_of, each in enumerate(media):
        part = Part(modality, each.data if isinstance(each, Text) else _file(each))
        items.append(Item(str(number_of), str(number_of), (part,)))
    codec = load(name, device="cpu")
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place))
        folder.make()
        sizes: list[int] = []

        def shard() -> None:
            temporary = folder.temporary(str(len(sizes)))
            record, _ = write_entries(
                job, vocabulary, items, temporary, len(sizes),
                tell=lambda _: None, at=lambda _: None, blamed={}, device="cpu", threads=1,
                careful=False, cancel=None,
            )  # fmt: skip
            sizes.append(record.tokens)

        whole = _cpu_seconds(shard, _TIMES)
        alone = _cpu_seconds(lambda: codec.encode([_open(i.parts[0]) for i in items]), _TIMES)
        stored = sum(f.stat().st_size for f in Path(place).rglob("*") if f.is_file()) / len(sizes)
    return {
        "bytes_per_token": stored / sizes[0],
        "core_seconds_per_token": max(0.0, whole - alone) / sizes[0],
        "stored_tokens_per_item": sizes[0] / len(items),
    }


def _file(media: Media) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / ("a.jpg" if isinstance(media, Image) else "a.flac")
        if isinstance(media, Image):
            from PIL import Image as Pictures

            file = io.BytesIO()
            Pictures.fromarray(media.pixels).save(file, "jpeg", quality=90)
            return file.getvalue()
        media.save(path)
        return path.read_bytes()


def _open(part: Part) -> Any:
    data = part.read()
    return {"image": Image.open, "audio": Audio.open, "text": Text}[part.modality](data)


def _cpu_seconds(step: Callable[[], object], times: int) -> float:
    """Return the seconds of a core that a step takes, after one for warming up."""
    if times > 1:
        step()
    taken = []
    for _ in range(times):
        began = time.process_time()
        step()
        taken.append(time.process_time() - began)
    return median(taken)
