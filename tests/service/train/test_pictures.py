"""Training crops: a function of the seed, in range, and drawn by weight."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import zstandard

from omnicodec.codecs import Image, InvalidInput
from omnicodec.service.train.files import read_files
from omnicodec.service.train.pictures import crops, read_pictures


def solid(value: int, height: int = 40, width: int = 40) -> Image:
    return Image(np.full((height, width, 3), value, np.uint8))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A tar shard `red` with one picture, and a folder `blue` with one, and junk in both."""
    with tarfile.open(tmp_path / "red.tar", "w") as tar:
        for name, data in (("red/a.png", solid(255).to_bytes()), ("red/b.txt", b"junk")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (tmp_path / "blue").mkdir()
    solid(0).save(tmp_path / "blue" / "c.png")
    (tmp_path / "blue" / "d.txt").write_text("junk")
    return tmp_path


def test_files_of_folders_and_shards(shard: Path) -> None:
    found = [(group, len(data) > 4) for group, data in read_files(shard)]
    assert found == [("blue", True), ("blue", False), ("red", True), ("red", False)]
    assert [group for group, _ in read_files(shard / "red.tar")] == ["red", "red"]


def test_unreadable_sources(tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no tar at all" * 100)
    (tmp_path / "bad.zst").write_bytes(b"no zstandard")
    for name in ("bad.tar", "bad.zst", "missing"):
        with pytest.raises(InvalidInput):
            list(read_files(tmp_path / name))


def test_packed_files_that_are_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "words.txt.zst"
    text = b"lorem ipsum " * 1000
    packed = zstandard.compress(text)
    file.write_bytes(packed + packed)  # one behind the other, as files are put together
    assert list(read_files(file)) == [("words", text + text)]
    for size in (len(packed) - 1, len(packed) // 2, len(packed) + 5):
        file.write_bytes((packed + packed)[:size])
        with pytest.raises(InvalidInput, match=r"words\.txt\.zst.*has no end"):
            list(read_files(file))


def test_crops_are_a_function_of_the_seed(shard: Path) -> None:
    pictures = read_pictures(shard, {}, 16)

    def some(seed: int) -> torch.Tensor:
        return torch.stack(list(islice(crops(pictures, 16, 3, seed, 1.5), 4)))

    assert torch.equal(some(1), some(1))
    assert not torch.equal(some(1), some(2))
    assert some(1).shape == (4, 3, 3, 16, 16)
    assert some(1).abs().max() < 1 + 1e-5  # scaling may round


def test_groups_are_drawn_by_weight(shard: Path) -> None:
    pictures = read_pictures(shard, {"red": 3.0}, 16)
    drawn = next(crops(pictures, 8, 2000, 0, 1.2))
    counts = Counter(drawn[:, 0, 4, 4].round().int().tolist())
    assert counts[1] / counts[-1] == pytest.approx(3, rel=0.2)


def test_small_pictures_are_left_out(shard: Path) -> None:
    with pytest.raises(InvalidInput, match="no pictures of 41 pixels"):
        read_pictures(shard, {}, 41)
