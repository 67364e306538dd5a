"""Data sets of every kind that `omnicodec tokenize` reads, made of the files in a folder."""

from __future__ import annotations

import base64
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
SOUNDS = (".flac", ".wav", ".ogg", ".opus")
CLIPS = (".mp4", ".mkv", ".y4m")
TEXTS = (".txt", ".md")
EXCERPT = 4000
"""Bytes that are taken of each text."""


@dataclass(frozen=True)
class Made:
    """A source that was made: how `omnicodec tokenize` is told of it, and its items."""

    name: str
    location: str
    items: int


def make(data: Path, folder: Path, count: int) -> list[Made]:
    """Make all kinds of sources in `folder` of the `count` smallest files of each modality."""
    folder.mkdir(parents=True)
    pictures, sounds = _smallest(data, PICTURES, count), _smallest(data, SOUNDS, count)
    clips, texts = _smallest(data, CLIPS, 1), [_excerpt(p) for p in _smallest(data, TEXTS, count)]
    texts = (texts or ["No text is there."]) * count
    return [
        _folder(folder / "folder", [*pictures, *sounds, *clips], texts[:count]),
        _broken(folder / "broken"),
        _tar(folder / "captions.tar", pictures, texts),
        _parquet(folder / "rows.parquet", pictures, texts),
        _arrow(folder / "rows.arrow", sounds),
        _json_lines(folder / "lines.jsonl", pictures, texts),
        _saved(folder / "saved", pictures, texts),
        _documents(folder / "documents.jsonl", pictures, texts),
        _obelics(folder / "obelics.parquet", pictures, texts),
        _url(folder / "url", sounds),
    ]


def _smallest(data: Path, suffixes: tuple[str, ...], count: int) -> list[Path]:
    found = [p for p in data.rglob("*") if p.suffix.lower() in suffixes and p.stat().st_size]
    return sorted(found, key=lambda p: (p.stat().st_size, p))[:count]


def _excerpt(path: Path) -> str:
    return path.read_bytes()[:EXCERPT].decode(errors="replace")


def _folder(folder: Path, files: list[Path], texts: list[str]) -> Made:
    """Make a folder with folders in it, names in other scripts among them."""
    (folder / "Bilder é 写真").mkdir(parents=True)
    for number, file in enumerate(files):
        shutil.copyfile(file, folder / "Bilder é 写真" / f"{number:03}{file.suffix}")
    for number, text in enumerate(texts):
        (folder / f"{number}.md").write_text(text)
    return Made("folder", str(folder), len(files) + len(texts))


def _broken(folder: Path) -> Made:
    """Make files that all have to be rejected."""
    folder.mkdir()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_bytes(b"This is no picture.")
    (folder / "cut.flac").write_bytes(b"fLaC\0\0\0\x22")
    return Made("broken files", str(folder), 3)


def _tar(path: Path, pictures: list[Path], texts: list[str]) -> Made:
    """Make a tar in WebDataset's layout: pictures with captions."""
    captions = path.parent / "captions"
    captions.mkdir()
    with tarfile.open(path, "w") as tar:
        for number, (picture, text) in enumerate(zip(pictures, texts, strict=False)):
            caption = captions / f"{number:06}.txt"
            caption.write_text(text)
            tar.add(picture, f"{number:06}{picture.suffix.lower()}")
            tar.add(caption, caption.name)
    return Made("WebDataset tar", str(path), len(pictures))


def _parquet(path: Path, pictures: list[Path], texts: list[str]) -> Made:
    rows = {"image": [p.read_bytes() for p in pictures], "text": texts[: len(pictures)]}
    pq.write_table(pa.table(rows), path, row_group_size=2)
    return Made("Parquet", str(path), len(pictures))


def _arrow(path: Path, sounds: list[Path]) -> Made:
    table = pa.table({"audio": [p.read_bytes() for p in sounds], "key": [p.stem for p in sounds]})
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table, max_chunksize=2)
    return Made("Arrow", str(path), len(sounds))


def _json_lines(path: Path, pictures: list[Path], texts: list[str]) -> Made:
    """Make lines with a text, or a picture in base64, or the path of one."""
    beside = path.parent / "pictures"
    beside.mkdir()
    lines: list[dict[str, Any]] = [{"text": text} for text in texts[: len(pictures)]]
    for number, picture in enumerate(pictures):
        name = f"pictures/{number}{picture.suffix}"
        shutil.copyfile(picture, path.parent / name)
        lines.append({"image": name})
        lines.append({"image": base64.b64encode(picture.read_bytes()).decode()})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Made("JSON lines", str(path), len(lines))


def _saved(folder: Path, pictures: list[Path], texts: list[str]) -> Made:
    rows = {"image": [str(p) for p in pictures], "text": texts[: len(pictures)]}
    kinds = Features({"image": ImageFeature(), "text": Value("string")})
    dataset = Dataset.from_dict(rows, features=kinds)
    dataset.save_to_disk(str(folder))
    return Made("saved by datasets", str(folder), len(pictures))


def _documents(path: Path, pictures: list[Path], texts: list[str]) -> Made:
    """Make documents as lists of parts."""
    lines = []
    for picture, text in zip(pictures, texts, strict=False):
        image = base64.b64encode(picture.read_bytes()).decode()
        half = len(text) // 2
        parts = [
            text[:half],
            {"type": "image", "image": image},
            {"type": "text", "text": text[half:]},
        ]
        lines.append({"document": parts})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Made("interleaved documents", str(path), len(lines))


def _obelics(path: Path, pictures: list[Path], texts: list[str]) -> Made:
    """Make documents as two lists side by side, each with nulls where the other has something."""
    data = [p.read_bytes() for p in pictures]
    rows = {
        "texts": [[text, None, "The end."] for text in texts[: len(data)]],
        "images": [[None, image, None] for image in data],
    }
    pq.write_table(pa.table(rows), path)
    return Made("OBELICS layout", str(path), len(data))


def _url(folder: Path, sounds: list[Path]) -> Made:
    folder.mkdir()
    for sound in sounds:
        shutil.copyfile(sound, folder / sound.name)
    return Made("URL", folder.as_uri(), len(sounds))
