from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest

from omnicodec.codecs import InvalidInput

from .reading import read, slices_of, source_of, told

datasets = pytest.importorskip("datasets")
Pillow = pytest.importorskip("PIL.Image")


def picture(value: int) -> bytes:
    file = io.BytesIO()
    Pillow.new("L", (2, 2), value).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a saved `Dataset` "one" and a saved `DatasetDict` "two"."""
    folder = tmp_path_factory.mktemp("saved")
    features = datasets.Features(
        {
            "photo": datasets.Image(),
            "more": datasets.Sequence(datasets.Image()),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["a", "b"]),
        }
    )
    rows = [
        {
            "photo": {"bytes": picture(n), "path": f"{n}.png"},
            "more": [{"bytes": picture(n + 1), "path": None}] * (n % 3),
            "text": f"text {n}",
            "label": n % 2,
        }
        for n in range(10)
    ]
    one = datasets.Dataset.from_list(rows, features=features)
    one.save_to_disk(folder / "one", num_shards=3)
    splits = {"train": one.select(range(4)), "test": one.select([7, 5])}
    datasets.DatasetDict(splits).save_to_disk(folder / "two")
    return folder


def wanted(*numbers: int) -> list[object]:
    return [
        [
            ("image", picture(n)),
            *[("image", picture(n + 1))] * (n % 3),
            ("text", f"text {n}".encode()),
        ]
        for n in numbers
    ]


def test_features_tell_what_columns_are(saved: Path) -> None:
    found = read(saved / "one", items=2)
    assert [told(one) for one in found] == wanted(*range(10))
    assert found[0].position == f"{saved}/one/data-00000-of-00003.arrow#0"
    assert [piece.path for piece in slices_of(source_of(saved / "one"))] == [
        f"data-0000{n}-of-00003.arrow" for n in range(3)
    ]


def test_all_splits_or_one(saved: Path) -> None:
    assert [told(one) for one in read(saved / "two")] == wanted(0, 1, 2, 3, 7, 5)
    assert [told(one) for one in read(saved / "two/test")] == wanted(7, 5)


def test_columns_can_be_told(saved: Path) -> None:
    found = read(saved / "two/test", columns={"text": "text", "label": "key"})
    assert [(one.key, told(one)) for one in found] == [
        ("1", [("text", b"text 7")]),
        ("1", [("text", b"text 5")]),
    ]


def test_features_in_parquet_tell_the_same(saved: Path, tmp_path: Path) -> None:
    datasets.load_from_disk(str(saved / "one")).to_parquet(tmp_path / "a.parquet")
    assert [told(one) for one in read(tmp_path / "a.parquet")] == wanted(*range(10))


def test_damaged_datasets(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    shutil.copytree(saved / "one", folder)
    state = json.loads((folder / "state.json").read_text())
    _, second, third = (folder / one["filename"] for one in state["_data_files"])
    second.unlink()
    third.write_bytes(third.read_bytes()[:-300])
    found = [told(one) for one in read(folder)]
    assert found[:4] == wanted(*range(4))
    assert "No such file" in found[4]
    assert len(found) == 6
    assert "cut off" in found[5]
    for broken in (
        b"{",
        b"[]",
        b"{}",
        b'{"_data_files": [{"filename": "../../etc/passwd"}]}',
        b'{"_data_files": [3]}',
        b'{"_data_files": [{"filename": "a"}], "_indices_files": [{"filename": "b"}]}',
    ):
        (folder / "state.json").write_bytes(broken)
        with pytest.raises(InvalidInput, match=r"state\.json"):
            list(source_of(folder).slices(10, 1000))
    (folder / "dataset_dict.json").write_text('{"splits": ["../one"]}')
    with pytest.raises(InvalidInput, match="names of splits"):
        list(source_of(folder).slices(10, 1000))
