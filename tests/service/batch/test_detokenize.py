"""Data sets back to files: names that are safe, all layouts, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import FingerprintMismatch, Image, InvalidInput, load
from omnicodec.service.batch.contents import Contents
from omnicodec.service.batch.detokenize import choose_rows, detokenize, safe_name

from .shown import HOSTILE, ITEMS, caption, shown_data_set, write_items

pytestmark = pytest.mark.usefixtures("blocks")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_items(tmp_path_factory.mktemp("detokenize") / "items")


@pytest.fixture
def raw(source: Path, tmp_path: Path) -> Path:
    return shown_data_set(source, tmp_path / "raw")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def written(data_set: Path, out: Path, **options: Any) -> dict[str, bytes]:
    with Contents.open(data_set) as contents:
        detokenize(contents, out, range(len(contents)), **options)
    return files(out)


def test_files_have_what_the_codecs_give_back(raw: Path, source: Path, tmp_path: Path) -> None:
    made = written(raw, tmp_path / "out")
    codec = load("image/coarse")
    for number in range(1, ITEMS):
        name = f"items_{number}"
        text, picture = caption(number).encode(), Image.open(source.parent / f"{number}.png")
        (restored,) = codec.decode(codec.encode([picture]))
        if number % 4 == 1:
            assert made.pop(f"{name}.txt") == text
        elif number % 4 == 2:
            assert Image.open(made.pop(f"{name}.png")) == restored
        else:  # in the order of the record's members
            assert Image.open(made.pop(f"{name}/0001.png")) == restored
            assert made.pop(f"{name}/0002.txt") == text
    left = sorted(made)
    assert [Path(name).name for name in left] == ["0001.png", "0002.txt", "index.html"]
    assert len(Path(left[0]).parts) == 2  # a hostile key names a folder in here, and no other


def test_the_page_shows_all_in_order_and_obeys_none(raw: Path, tmp_path: Path) -> None:
    page = written(raw, tmp_path / "out")["index.html"].decode()
    assert page.count("<section>") == ITEMS
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    places = [page.index(f"items/{number}.png") for number in range(1, ITEMS)]
    assert places == sorted(places)
    assert 'src="items_2.png"' in page


@pytest.mark.parametrize(
    ("form", "wishes"),
    [
        ("megatron", {}),
        ("wds", {"layout": "document", "pattern": "parallel"}),
        ("parquet", {"length": 64, "packing": "concatenate"}),
        ("torchtitan", {"length": 100}),
        ("mds", {"length": 48, "packing": "best-fit", "patch": 2}),
    ],
)
def test_every_layout_gives_the_same_media(
    raw: Path, source: Path, tmp_path: Path, form: str, wishes: dict[str, Any]
) -> None:
    data_set = shown_data_set(source, tmp_path / "set", format=form, **wishes)
    made = written(data_set, tmp_path / "out")
    expected = written(raw, tmp_path / "expected")
    for media in (made, expected):
        del media["index.html"]
    assert sorted(made.values()) == sorted(expected.values())


def test_rows_by_number_chance_and_key(raw: Path, tmp_path: Path) -> None:
    with Contents.open(raw) as contents:
        total = len(contents)
        assert choose_rows(total, items=slice(-3, None)) == range(total - 3, total)
        chosen = choose_rows(total, count=4, seed=7)
        assert list(chosen) == sorted(set(chosen))
        assert len(chosen) == 4
        assert chosen == choose_rows(total, count=4, seed=7)
        assert len({tuple(choose_rows(total, count=4, seed=seed)) for seed in range(9)}) > 1
        with pytest.raises(InvalidInput, match="none of these are among its 12 rows"):
            choose_rows(total, items=slice(50, 60))
        outcome = detokenize(contents, tmp_path / "two", range(2, 4))
        assert (outcome.rows, outcome.documents, outcome.files) == (2, 2, 3)
        detokenize(contents, tmp_path / "key", range(total), key="items/5.png")
        assert sorted(files(tmp_path / "key")) == ["index.html", "items_5.txt"]
        with pytest.raises(InvalidInput, match="no item with the key 'items/99'"):
            detokenize(contents, tmp_path / "none", range(total), key="items/99")
        assert files(tmp_path / "none") == {}


def test_a_piece_from_the_middle_is_recovered_as_far_as_it_goes(
    source: Path, tmp_path: Path
) -> None:
    data_set = shown_data_set(source, tmp_path / "set", length=32, packing="concatenate")
    with Contents.open(data_set) as contents:
        one = next(n for n in range(len(contents)) if contents.rows[n].positions[0] > 0)  # type: ignore[union-attr]
        outcome = detokenize(contents, tmp_path / "out", [one])
    assert outcome.cut
    assert "cut by packing" in (tmp_path / "out" / "index.html").read_text()


def test_what_is_refused_before_anything_is_written(
    raw: Path, source: Path, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()
    with Contents.open(raw) as contents, pytest.raises(InvalidInput, match="is not empty"):
        detokenize(contents, full, range(2))
    packed = shown_data_set(source, tmp_path / "packed", length=64)
    with Contents.open(packed) as contents, pytest.raises(InvalidInput, match="keeps no keys"):
        detokenize(contents, tmp_path / "new", range(1), key="items/1.png")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InvalidInput, match="is no data set"):
        Contents.open(full)


def test_another_codec_is_refused_with_one_line(raw: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("data", "vocabulary.json", "plan.jsonl"):
        (other / name).symlink_to(raw / name)
    manifest = json.loads((raw / "manifest.json").read_text())
    for codec in manifest["job"]["codecs"]:
        if codec["name"] == "image/coarse":
            codec["fingerprint"] = "0123456789abcdef"
    (other / "manifest.json").write_text(json.dumps(manifest))
    with (
        Contents.open(other) as contents,
        pytest.raises(FingerprintMismatch, match="coarse here is .*begun with 0123456789abcdef"),
    ):
        detokenize(contents, tmp_path / "out", range(1))
    assert not (tmp_path / "out").exists()


def test_equal_keys_have_files_of_their_own(tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    lines = [{"id": key, "text": f"text {n}"} for n, key in enumerate(("a", "a.txt", "A", "b/c"))]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = written(shown_data_set(source, tmp_path / "set"), tmp_path / "out")
    del made["index.html"]
    assert sorted(made.values()) == [b"text 0", b"text 1", b"text 2", b"text 3"]
    assert made["a.txt"] == b"text 0"
    assert made["b_c.txt"] == b"text 3"


@given(st.text())
def test_every_key_is_a_safe_name(key: str) -> None:
    name = safe_name(key)
    assert name
    assert name == os.path.basename(name)  # noqa: PTH119
    assert name.isprintable()
    assert not name.startswith((".", " "))
    assert len(name.encode("utf-8", "replace")) <= 150
    assert name not in ("", ".", "..")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("photos/cat.jpg", "photos_cat"),
        ("cat.tar.gz", "cat.tar.gz"),
        (".hidden", "hidden"),
        ("..", "item"),
        (HOSTILE, "_.._ script_alert(1)__script_".replace(" ", "_")),
        ("a\x00b\nc\u202ed", "a_b_c_d"),
        ("\u00e4\u4e2d", "\u00e4\u4e2d"),
    ],
)
def test_names_of_keys(key: str, name: str) -> None:
    assert safe_name(key) == name


def test_shards_of_rows(source: Path, tmp_path: Path) -> None:
    data_set = shown_data_set(source, tmp_path / "set", shard_bytes=300)
    with Contents.open(data_set) as contents:
        shards = [contents.shard_of(row) for row in range(len(contents))]
        rows = [shard["rows"] for shard in contents.manifest.shards]
    assert len(rows) > 2
    assert shards == [shard for shard, count in enumerate(rows) for _ in range(count)]
