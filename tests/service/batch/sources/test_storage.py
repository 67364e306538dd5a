from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import InvalidInput, Unavailable
from omnicodec.service.batch.documents import Item
from omnicodec.service.batch.sources import kind_of, storage
from omnicodec.service.batch.sources.storage import RemoteStorage, persist

from .reading import read, slices_of, source_of, told

fsspec = pytest.importorskip("fsspec")


def mixed(folder: Path) -> Path:
    """Make files of all kinds in a folder."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    for name in ("b.jpg", "a.jpg", "a.txt", "c/d.jpg", ".h.jpg", "c/notes.bin"):
        (folder / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / name).write_bytes(name.encode())
    with tarfile.open(folder / "a.tar", "w") as file:
        for name in ("0.jpg", "0.txt", "1.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 5
            file.addfile(info, io.BytesIO(name.encode()))
    table = pa.table({"text": [str(n) for n in range(10)]})
    pq.write_table(table, folder / "a.parquet", row_group_size=4)
    with (
        pa.OSFile(str(folder / "a.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table, max_chunksize=3)
    lines = b"".join(json.dumps({"text": str(n)}).encode() + b"\n" for n in range(10))
    (folder / "a.jsonl").write_bytes(lines + b'{"image": "files/a.jpg"}\n')
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    return folder


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed(tmp_path_factory.mktemp("storage"))


@pytest.fixture(scope="module")
def there(here: Path) -> Iterator[str]:
    """Return the URL of a copy of the folder in the memory that fsspec keeps."""
    files = fsspec.filesystem("memory")
    name = f"/{uuid.uuid4().hex}/data"
    for path in sorted(here.rglob("*")):
        if path.is_file():
            files.pipe(f"{name}/{path.relative_to(here)}", path.read_bytes())
    yield f"memory:/{name}"
    files.rm(name, recursive=True)


LOCATIONS = [
    "files", "files/a.jpg", "files/**/*.jpg", "a.tar", "a.parquet", "a.arrow", "a.jsonl",
    "a.jsonl.gz", "files/{a,b}.jpg", "a.{parquet}",
]  # fmt: skip


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_url_gives_what_the_same_files_give(here: Path, there: str, location: str) -> None:
    local, remote = read(here / location, items=3), read(f"{there}/{location}", items=3)
    assert [told(one) for one in remote] == [told(one) for one in local]
    assert [one.key for one in remote] == [one.key for one in local]
    assert [one.position.replace(there, str(here)) for one in remote] == [
        one.position for one in local
    ]
    assert all(isinstance(one, Item) for one in remote)
    assert read(f"file://{here}/{location}", items=3) == local
    assert [piece.to_json() for piece in source_of(f"{there}/{location}").slices(3, 1 << 20)] == [
        piece.to_json() for piece in source_of(here / location).slices(3, 1 << 20)
    ]


def test_columns_and_limits_at_a_url(there: str) -> None:
    found = read(f"{there}/files", columns={"txt": "text", "jpg": "image"}, max_bytes=9)
    assert told(found[0]) == "LimitExceeded: 10 bytes are over the limit of 9"
    assert told(found[1]) == [("image", b"b.jpg")]


def test_what_is_gone_from_a_storage_is_a_reject(here: Path) -> None:
    files = fsspec.filesystem("memory")
    name = f"/{uuid.uuid4().hex}"
    for kind in ("a.parquet", "a.jsonl", "a.tar"):
        files.pipe(f"{name}/{kind}", (here / kind).read_bytes())
    for kind, count in (("a.parquet", 10), ("a.jsonl", 1), ("a.tar", 1)):
        source = source_of(f"memory:/{name}/{kind}")
        pieces = slices_of(source)
        files.rm(f"{name}/{kind}")
        found = [told(one) for piece in pieces for one in source.read(piece)]
        assert len(found) == count
        assert all("InvalidInput: cannot read" in reason for reason in found)
    with pytest.raises(InvalidInput, match="cannot read"):
        slices_of(source_of(f"memory:/{name}/nothing.jsonl"))


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.tar", "files", "a.arrow"])
def test_a_location_that_is_gone_gives_rejects_at_the_same_places(
    here: Path, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / name
    if (here / name).is_dir():
        shutil.copytree(here / name, copy)
    else:
        shutil.copy(here / name, copy)
    pieces = slices_of(source_of(copy))
    places = [one.position for piece in pieces for one in source_of(copy).read(piece)]
    copy.rename(tmp_path / "elsewhere")
    kind = kind_of(str(here / name))
    found = [one for piece in pieces for one in source_of(copy, kind=kind).read(piece)]
    assert all("No such file" in told(one) for one in found)
    if pieces[0].items is not None:
        assert [one.position for one in found] == places
    else:
        assert len(found) == 1
    with pytest.raises(InvalidInput, match="No such file"):
        slices_of(source_of(copy, kind=kind))


class Flaky:
    """A file system of fsspec's that fails a number of times before each thing it does."""

    def __init__(self, files: Any, failures: int) -> None:
        self.files, self.failures, self.left = files, failures, failures

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.files, name)
        if name.startswith("_"):
            return found

        def work(*args: Any, **fields: Any) -> Any:
            if self.left:
                self.left -= 1
                raise ConnectionError("the cable is out")
            self.left = self.failures
            return found(*args, **fields)

        return work


def test_a_storage_that_fails_is_tried_again_and_ends_the_run_at_last(
    there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_PAUSES", (0.0, 0.0, 0.0))
    source = source_of(f"{there}/files")
    (piece,) = slices_of(source)
    place = source.location.storage
    assert isinstance(place, RemoteStorage)
    whole = list(source.read(piece))
    place._files = Flaky(place._files, 2)
    assert list(source.read(piece)) == whole
    place._files.left = 100
    with pytest.raises(Unavailable, match="the cable is out"):
        list(source.read(piece))


def test_neither_is_a_record_whose_file_s_storage_fails_a_reject(
    there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_PAUSES", ())
    source = source_of(f"{there}/a.jsonl")
    (piece,) = slices_of(source)
    found = source.read(piece)
    texts = [next(found) for _ in range(10)]
    assert all(isinstance(one, Item) for one in texts)
    source.location.storage._files = Flaky(source.location.storage._files, 100)
    with pytest.raises(Unavailable, match="the cable is out"):
        next(found)


def test_reads_of_a_file_go_on_where_they_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.BytesIO):
        fails = 2

        def read(self, count: int | None = -1, /) -> bytes:
            data = super().read(count)
            if self.fails and data:
                self.fails -= 1
                raise TimeoutError("too slow")  # though the position has moved on
            return data

    file = storage._Persistent(Broken(b"0123456789"), "x")
    monkeypatch.setattr(storage, "_PAUSES", (0.0, 0.0, 0.0))
    assert io.BufferedReader(file, 4).read() == b"0123456789"


def test_what_is_not_there_is_not_tried_again() -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(InvalidInput, match="cannot read 'x': No such file"):
        persist(work, "x", lambda _: pytest.fail("it waits"))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("url", "error"), [("nosuch://a/b.jsonl", InvalidInput), ("adl://a/b.jsonl", Unavailable)]
)
def test_protocols_that_are_not_there(url: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=url.partition(":")[0]):
        source_of(url)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["a.jpg", "b.txt"], "folder"),
        (["a.txt", "b.md"], "folder"),
        (["data/train-0.parquet", "README.md", "LICENSE.txt"], "parquet"),
        (["a.tar", "b.tar", "c.jpg"], "tar"),
        (["a.jpg", "b.jpg", "metadata.jsonl"], "folder"),
        (["a.jpg", "metadata.jsonl"], "jsonl"),
        (["a.arrow", "info.json"], "arrow"),
        (["a.ndjson.zst", "b.jsonl.gz"], "jsonl"),
        (["state.json", "a.arrow"], "hf"),
        (["dataset_dict.json", "train/state.json"], "hf"),
        ([], "folder"),
    ],
)
def test_a_folder_s_kind_is_that_of_most_files(tmp_path: Path, names: list[str], kind: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert kind_of(str(tmp_path)) == kind
    for name in names:
        if name.endswith((".parquet", ".tar", ".jsonl", ".arrow")):
            assert kind_of(str(tmp_path / name)) == name.rpartition(".")[2]


def test_the_kind_of_a_pattern(tmp_path: Path) -> None:
    assert kind_of(f"{tmp_path}/{{0..3}}.tar") == "tar"
    assert kind_of(f"{tmp_path}/*.parquet") == "parquet"
