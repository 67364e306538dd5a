from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.documents import Item, Reject
from omnicodec.service.batch.sources.names import hidden, shown

from .reading import read, slices_of, source_of, told


def fill(folder: Path, *names: str, size: int = 3) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name[-1:].encode() * size)
    return folder


def keys(found: list[Item | Reject]) -> list[str]:
    return [one.key for one in found]


def test_a_folder_s_own_files_come_before_those_of_its_folders(tmp_path: Path) -> None:
    fill(
        tmp_path, "b.jpg", "a/x.wav", "a.txt", "B.png", "a/a/y.mp4", "ä.npy", "c/.x.jpg", ".d/x.jpg"
    )
    found = read(tmp_path, items=2)
    names = ["B.png", "a.txt", "b.jpg", "ä.npy", "a/x.wav", "a/a/y.mp4"]
    assert [one.position for one in found] == [f"{tmp_path}/{name}" for name in names]
    assert keys(found) == [name.rpartition(".")[0] for name in names]
    parts = [part for one in found if isinstance(one, Item) for part in one.parts]
    modalities = ["image", "text", "image", "series", "audio", "video"]
    assert [part.modality for part in parts] == modalities
    assert [part.name for part in parts] == names
    assert [part.read() for part in parts] == [(tmp_path / name).read_bytes() for name in names]


def test_unknown_names_are_no_items_unless_told(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "b.bin", "c")
    assert keys(read(tmp_path)) == ["a"]
    assert keys(read(tmp_path, modality="audio")) == ["a", "b", "c"]
    with pytest.raises(InvalidInput, match="no files of a known kind"):
        read(fill(tmp_path / "d", "b.bin"), kind="folder")


@pytest.mark.parametrize(
    "columns", [{"txt": "text", "jpg": "image"}, {"jpg": "image", "txt": "text"}]
)
def test_files_of_one_name_are_one_item_in_the_order_of_columns(
    tmp_path: Path, columns: dict[str, str]
) -> None:
    # "a.b.jpg" stands between "a.jpg" and "a.txt", and "a.k" is a folder between them.
    fill(
        tmp_path, "a.jpg", "a.txt", "a.b.jpg", "a.k/z.txt", "b.JPG", "c.json", "d/a.txt", "d/a.jpg"
    )
    found = read(tmp_path, items=1, columns=columns)
    assert keys(found) == ["a", "a.b", "b", "a.k/z", "d/a"]
    names = [[part.name for part in one.parts] for one in found if isinstance(one, Item)]
    both = [f"a.{end}" for end in columns]
    assert names == [both, ["a.b.jpg"], ["b.JPG"], ["a.k/z.txt"], [f"d/{name}" for name in both]]
    assert found == read(tmp_path, items=3, columns=columns)


def test_two_files_of_one_suffix_are_a_reject(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "a.JPG", "b.jpg")
    reject, item = read(tmp_path, columns={"jpg": "image"})
    assert told(reject) == "InvalidInput: two files of one suffix"
    assert item.key == "b"


def test_the_longest_suffix_is_a_file_s(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "a.seg.png")
    (item,) = read(tmp_path, columns={"seg.png": "image", "png": "image"})
    assert isinstance(item, Item)
    assert [part.name for part in item.parts] == ["a.seg.png", "a.png"]


def test_names_that_are_not_utf8_are_read_and_told_apart(tmp_path: Path) -> None:
    names = [b"\xff.jpg", b"\\xff.jpg", b"\xfe.jpg", "é.jpg".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    found = read(tmp_path)
    assert [told(one) for one in found] == [[("image", name)] for name in sorted(names)]
    assert keys(found) == [r"\\xff", "é", r"\xfe", r"\xff"]
    assert [os.fsencode(hidden(one.position)) for one in found] == [
        os.fsencode(tmp_path) + b"/" + name for name in sorted(names)
    ]


@given(st.binary())
def test_shown_names_can_be_turned_back(name: bytes) -> None:
    text = os.fsdecode(name)
    assert hidden(shown(text)) == text
    shown(text).encode()


def test_what_is_no_file_of_the_folder_is_a_reject_and_never_read(tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside", "secret.txt", "more/x.txt")
    folder = fill(tmp_path / "folder", "a.txt", "sub/b.txt")
    (folder / "inside.txt").symlink_to("a.txt")
    (folder / "leads.txt").symlink_to(outside / "secret.txt")
    (folder / "up.txt").symlink_to("../outside/secret.txt")
    (folder / "broken.txt").symlink_to("nowhere")
    (folder / "more").symlink_to(outside / "more")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    found = {one.key: told(one) for one in read(folder)}
    assert found.pop("a") == found.pop("inside") == found.pop("sub/b") == [("text", b"ttt")]
    reasons = {
        "leads": "InvalidInput: a link that leads out of the folder",
        "up": "InvalidInput: a link that leads out of the folder",
        "more": "InvalidInput: a link to a folder, which is not followed",
        "loop": "InvalidInput: a link to a folder, which is not followed",
        "pipe": "InvalidInput: not a regular file",
    }
    assert "No such file" in found.pop("broken")
    assert found == reasons


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads all folders")
def test_a_folder_that_cannot_be_read_is_a_reject(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", "locked/b.txt")
    (tmp_path / "locked").chmod(0)
    try:
        found = read(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)
    assert "cannot be read" in told(found[1])


def test_files_that_are_gone_or_other_now_are_rejects(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    source = source_of(tmp_path)
    (piece,) = slices_of(source)
    (tmp_path / "b.jpg").unlink()
    (tmp_path / "c.jpg").unlink()
    (tmp_path / "c.jpg").mkdir()
    found = [told(one) for one in source.read(piece)]
    assert found[0] == found[3] == [("image", b"ggg")]
    assert "No such file or directory" in found[1]
    assert "folder" in found[2]


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "big.jpg", "wb") as file:
        file.truncate(1 << 40)
    fill(tmp_path, "small.jpg")
    big, small = read(tmp_path, max_bytes=3)
    assert told(big) == "LimitExceeded: 1,099,511,627,776 bytes are over the limit of 3"
    assert isinstance(small, Item)


def test_one_file_may_be_a_link_as_its_user_named_it(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/link.txt").symlink_to("../a.txt")
    (item,) = read(tmp_path / "sub/link.txt")
    assert told(item) == [("text", b"ttt")]


def test_globs_and_braces(tmp_path: Path) -> None:
    fill(
        tmp_path, *(f"{n:02d}.txt" for n in range(12)), "a/b/x.jpg", "a/y.jpg", "[z].jpg", ".h.jpg"
    )
    assert keys(read(f"{tmp_path}/*.txt")) == [f"{n:02d}" for n in range(12)]
    assert keys(read(f"{tmp_path}/0[!13-9].txt")) == ["00", "02"]
    assert keys(read(f"{tmp_path}/?1.txt")) == ["01", "11"]
    assert keys(read(f"{tmp_path}/**/*.jpg")) == ["[z]", "a/y", "a/b/x"]
    assert keys(read(f"{tmp_path}/a/*.jpg")) == ["y"]
    assert keys(read(f"{tmp_path}/[z].jpg")) == ["[z]"]
    assert keys(read(f"{tmp_path}/{{03..01}}.txt")) == ["03", "02", "01"]
    assert keys(read(f"{tmp_path}/a/{{y,b/x}}.jpg")) == ["y", "b/x"]
    assert keys(read(f"{tmp_path}/a/{{y,b/{{x}}}}.jpg")) == ["y", "b/x"]
    with pytest.raises(InvalidInput, match=r"12\.txt"):
        read(f"{tmp_path}/{{11..12}}.txt")
    with pytest.raises(InvalidInput, match="stands for more"):
        read(f"{tmp_path}/{{0..99999999}}.txt")
    with pytest.raises(InvalidInput, match="No such file"):
        read(tmp_path / "nowhere.jpg")


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    items=st.integers(1, 12),
    nbytes=st.integers(1, 100),
)
def test_slices_hold_all_files_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], items: int, nbytes: int
) -> None:
    folder = tmp_path_factory.mktemp("files")
    for number, size in enumerate(sizes):
        (folder / f"{number:02d}.txt").write_bytes(b"x" * size)
    pieces = slices_of(source_of(folder), items, nbytes)
    assert [name for piece in pieces for name in piece.files] == [
        f"{n:02d}.txt" for n in range(len(sizes))
    ]
    for piece in pieces:
        assert piece.items == len(piece.files) <= items
        assert piece.nbytes <= nbytes or piece.items == 1
