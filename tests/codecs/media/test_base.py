"""What all media share: opening from anywhere, saving whole files or none, and refusals."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs.errors import InvalidInput, LimitExceeded
from omnicodec.codecs.media import MODALITIES, Audio, Image, Media, Series, Text, Video
from omnicodec.codecs.media.base import frozen_array

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)

ITEMS: list[Media] = [
    Audio(np.zeros((1, 4), np.float32), 8000),
    Image(PIXELS),
    Series(np.zeros((1, 4), np.float32), 1.0),
    Text(b"four"),
    Video(PIXELS[None], 25),  # type: ignore[arg-type]
]


def test_every_modality_is_registered_under_its_name() -> None:
    assert {name: kind.__name__.lower() for name, kind in MODALITIES.items()} == {
        name: name for name in ("audio", "image", "series", "text", "video")
    }


def test_no_suffix_belongs_to_two_modalities() -> None:
    suffixes = [suffix for kind in MODALITIES.values() for suffix in kind.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert all(s.startswith(".") and s == s.lower() for s in suffixes)


def test_opens_from_bytes_a_file_and_a_path_alike(tmp_path: Path) -> None:
    image = Image(PIXELS)
    data = image.to_bytes(".png")
    path = tmp_path / "picture"  # the content decides, not the name
    path.write_bytes(data)
    assert Image.open(data) == image
    assert Image.open(bytearray(data)) == image  # type: ignore[arg-type]
    assert Image.open(io.BytesIO(data)) == image
    assert Image.open(path) == image
    assert Image.open(str(path)) == image


def test_the_ending_of_the_path_chooses_the_format(tmp_path: Path) -> None:
    Image(PIXELS).save(tmp_path / "a.PNG")
    Image(PIXELS).save(tmp_path / "a.bmp")
    Image(PIXELS).save(tmp_path / "a.bmp.x", ".png")
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.bmp").read_bytes().startswith(b"BM")
    assert (tmp_path / "a.bmp.x").read_bytes().startswith(b"\x89PNG")


def test_saves_to_an_open_file() -> None:
    out = io.BytesIO()
    Image(PIXELS).save(out, ".bmp")
    assert out.getvalue() == Image(PIXELS).to_bytes(".bmp")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(InvalidInput):
        Image(np.zeros((0, 3, 3), np.uint8)).save(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_saving_into_no_folder_is_invalid_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot write"):
        Text(b"x").save(tmp_path / "absent" / "a.txt")


@pytest.mark.parametrize("kind", [Audio, Image, Series, Video])
def test_errors_name_the_file(kind: type[Media], tmp_path: Path) -> None:
    path = tmp_path / "broken.bin"
    path.write_bytes(b"\x00 not media")
    with pytest.raises(InvalidInput, match=r"broken\.bin"):
        kind.open(path)
    with pytest.raises(InvalidInput, match=r"^cannot read .*absent\.bin"):
        kind.open(tmp_path / "absent.bin")


@pytest.mark.parametrize("kind", [Audio, Image, Series, Video])
def test_an_empty_file_is_refused(kind: type[Media]) -> None:
    with pytest.raises(InvalidInput):
        kind.open(b"")


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_media_are_frozen(item: Media) -> None:
    field = dataclasses.fields(item)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(item, field, None)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_media_differ_from_other_media_and_from_anything_else(item: Media) -> None:
    assert item == dataclasses.replace(item)  # type: ignore[type-var]
    assert item not in list[object]([1, None, "four"])
    assert [other for other in ITEMS if other == item] == [item]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_an_unknown_suffix_is_refused_with_the_known_ones(item: Media) -> None:
    if isinstance(item, Text):
        assert item.to_bytes(".zzz") == item.data  # all endings of text mean the same
        return
    with pytest.raises(InvalidInput, match=item.suffixes[0]):
        item.to_bytes(".zzz")


def test_raw_sizes() -> None:
    sizes = {type(item).__name__: item.nbytes for item in ITEMS}
    assert sizes == {"Audio": 8, "Image": 18, "Series": 16, "Text": 4, "Video": 18}


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 2), np.float32),
        np.zeros(2, np.uint8),
        np.zeros((2, 2), ">u2"),
        [[1, 2], [3]],
        None,
    ],
    ids=["type", "rank", "byte order", "ragged", "none"],
)
def test_arrays_of_another_type_or_rank_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="thing must be"):
        frozen_array(value, np.uint8, 2, "thing")


def test_arrays_come_out_contiguous() -> None:
    array = frozen_array(np.zeros((4, 6), np.uint8)[::2, ::3], np.uint8, 2, "thing")
    assert array.flags.c_contiguous
    assert array.shape == (2, 2)


def test_limits_hold_for_media_made_in_memory() -> None:
    with pytest.raises(LimitExceeded):
        Image(np.zeros((1 << 14, 1 << 14, 3), np.uint8))  # zeros that nothing has touched
