"""What is read from files, folders and shards, and what is left out."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput, Media, Text
from omnicodec.service.evaluate.data import Source

Make = Callable[..., Image]


def names(path: Path, media_type: type[Media] = Image) -> list[str]:
    return [name for name, _ in Source(path, media_type, lambda _: None)]


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_folders_are_read_at_all_levels_in_order(pictures: Path) -> None:
    assert names(pictures) == ["a.png", "b.PNG", "more/c.webp"]
    assert names(pictures, Text) == ["notes.txt"]


def test_shards_alone_and_in_folders(pictures: Path, picture: Make) -> None:
    members = {"k/0.png": picture().to_bytes(), "k/0.txt": b"a caption"}
    path = shard(pictures / "s.tar", members)
    assert names(path) == ["k/0.png"]
    assert names(pictures)[-1] == "s.tar/k/0.png"


def test_one_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "enwik").write_bytes(b"text")
    assert list(Source(tmp_path / "enwik", Text, print)) == [("enwik", Text(b"text"))]


def test_one_file_that_is_no_picture_is_an_error(pictures: Path) -> None:
    with pytest.raises(InvalidInput, match=r"notes\.txt"):
        names(pictures / "notes.txt")


def test_damaged_and_empty_files_are_left_out_with_a_reason(pictures: Path) -> None:
    (pictures / "broken.png").write_bytes(b"\x89PNG and no more")
    lines: list[str] = []
    source = Source(pictures, Image, lines.append)
    assert len(list(source)) == 3
    assert [line.split(":")[0] for line in source.skipped] == ["broken.png"]
    assert lines == [f"left out {line}" for line in source.skipped]
    (pictures / "empty.txt").write_bytes(b"")
    assert names(pictures, Text) == ["notes.txt"]


def test_what_is_not_there_or_no_shard(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a file, a folder or a tar shard"):
        names(tmp_path / "nothing")
    (tmp_path / "bad.tar").write_bytes(b"no shard" * 200)
    with pytest.raises(InvalidInput, match="is not a readable tar shard"):
        names(tmp_path / "bad.tar")


def test_pictures_of_no_pixels_never_reach_a_measurement(tmp_path: Path) -> None:
    assert Image(np.zeros((0, 5, 3), np.uint8)).nbytes == 0  # what Source goes by
    assert names(tmp_path) == []
