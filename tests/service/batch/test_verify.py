from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from omnicodec.codecs import CorruptStream, InvalidInput
from omnicodec.service.batch.folder import Folder, file_facts
from omnicodec.service.batch.run import tokenize
from omnicodec.service.batch.sinks import FORMATS
from omnicodec.service.batch.verify import verify

from .here import Here, small_job, table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    job, vocabulary = small_job(table(path / "texts.parquet", 25))
    tokenize(job, vocabulary, path / "out", engine=Here())
    return path / "out"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out"))


def append(path: Path, data: bytes = b"\n") -> None:
    path.write_bytes(path.read_bytes() + data)


def flip(path: Path, at: int = 10) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def foreign_record(out: Path) -> None:
    shutil.copy(out / "records" / "00000000.json", out / "records" / "00000009.json")


def foreign_folder(out: Path) -> None:
    (out / "data" / "more").mkdir()
    (out / "data" / "more" / "x").touch()


def reject_line(out: Path) -> bytes:
    return (out / "rejects.jsonl").read_bytes().splitlines(keepends=True)[0]


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte": (
        lambda out: flip(out / "data" / "00000001.parquet"),
        "data/00000001.parquet is damaged: its SHA-256 is another one",
    ),
    "the end": (
        lambda out: append(out / "data" / "00000001.parquet"),
        "data/00000001.parquet has .* bytes instead of",
    ),
    "a file": (
        lambda out: (out / "data" / "00000001.parquet").unlink(),
        "data/00000001.parquet is missing",
    ),
    "a foreign file": (
        lambda out: (out / "data" / "x.parquet").touch(),
        "data/x.parquet is not in the manifest",
    ),
    "a foreign file in a folder": (
        foreign_folder,
        "data/more/x is not in the manifest",
    ),
    "a foreign folder": (lambda out: (out / "more").mkdir(), "more is no file of a data set"),
    "a record": (
        lambda out: (out / "records" / "00000001.json").unlink(),
        "records/00000001.json is missing",
    ),
    "a record's end": (
        lambda out: (out / "records" / "00000001.json").write_bytes(b"{"),
        "00000001.json: not the record of a shard",
    ),
    "a record's counts": (
        lambda out: edit(out / "records" / "00000001.json", '"rows": ', '"rows": 1'),
        "manifest.json: rows does not follow from the records",
    ),
    "a record's items": (
        lambda out: edit(out / "records" / "00000001.json", '"items": 10', '"items": 11'),
        "shard 1 had 11 items, of which",
    ),
    "a record's file": (
        lambda out: edit(out / "records" / "00000001.json", '"sha256": "', '"sha256": "0'),
        "data/00000001.parquet: the record of shard 1 says otherwise",
    ),
    "a foreign record": (foreign_record, "records/00000009.json is no record of this data set"),
    "a shard's rejects": (
        lambda out: append(out / "records" / "00000000.rejects.jsonl", reject_line(out)),
        "00000000.rejects.jsonl: 2 rejects, the record says 1",
    ),
    "a shard's rejects are gone": (
        lambda out: (out / "records" / "00000000.rejects.jsonl").unlink(),
        "00000000.rejects.jsonl: 0 rejects, the record says 1",
    ),
    "all rejects": (
        lambda out: append(out / "rejects.jsonl", b"{}\n"),
        "rejects.jsonl is not that of the shards",
    ),
    "the job": (
        lambda out: edit(out / "job.json", '"shard_items": 10', '"shard_items": 11'),
        "job.json is not that of the manifest",
    ),
    "no job": (lambda out: (out / "job.json").unlink(), "job.json is missing"),
    "the plan": (lambda out: flip(out / "plan.jsonl", 2), "plan.jsonl is not that of the manifest"),
    "no plan": (lambda out: (out / "plan.jsonl").unlink(), "plan.jsonl is missing"),
    "the vocabulary": (
        lambda out: append(out / "vocabulary.json"),
        "vocabulary.json is not that of the manifest",
    ),
    "the manifest's counts": (
        lambda out: edit(out / "manifest.json", '"written": ', '"written": 1'),
        "manifest.json: written does not follow from the records",
    ),
    "the manifest's job": (
        lambda out: edit(out / "manifest.json", '"length": 0', '"length": 1'),
        "the job in manifest.json has digest",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_all_damage_is_found(out: Path, what: str) -> None:
    assert verify(out).ok
    damage, says = DAMAGE[what]
    damage(out)
    found = verify(out)
    assert any(re.search(says, problem) for problem in found.problems), found.problems
    assert all("\n" not in problem for problem in found.problems)


def test_every_byte_counts(out: Path) -> None:
    """Flip one bit in each file, at its beginning, middle and end."""
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        if path.name == ".lock":
            continue
        whole = path.read_bytes()
        for at in {0, len(whole) // 2, len(whole) - 1}:
            flip(path, at)
            try:
                assert not verify(out).ok, (path, at)
            except CorruptStream:
                assert path.name == "manifest.json"
            path.write_bytes(whole)
    assert verify(out).ok


def test_folders_that_are_no_finished_data_sets(out: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is no data set"):
        verify(tmp_path)
    (out / "manifest.json").write_bytes(b"[]")
    with pytest.raises(CorruptStream, match=r"manifest.json': not the manifest"):
        verify(out)
    (out / "manifest.json").unlink()
    with pytest.raises(InvalidInput, match="is not finished"):
        verify(out)


@pytest.mark.parametrize("form", FORMATS)
def test_all_rows_of_each_format_are_opened(tmp_path: Path, form: str) -> None:
    job, vocabulary = small_job(table(tmp_path / "texts.parquet", 25), format=form)
    manifest = tokenize(job, vocabulary, tmp_path / "out", engine=Here())
    seen: list[tuple[int, int]] = []
    found = verify(tmp_path / "out", deep=True, watch=lambda done, of: seen.append((done, of)))
    assert found.ok, found.problems
    assert found.opened == found.rows == manifest.rows > 0
    assert found.files == len(manifest.files)
    assert seen[-1] == (manifest.rows, manifest.rows)
    assert json.loads(json.dumps(found.to_json()))["ok"]


def test_rows_that_do_not_unpack_are_found(out: Path) -> None:
    """A file that is damaged together with all its checksums still has rows that are wrong."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Folder(out)
    file = folder.data / "00000000.parquet"
    rows = pq.read_table(file)
    changed = json.loads(json.dumps(rows.to_pylist()).replace('"ids": [', '"ids": [99999, '))
    pq.write_table(pa.Table.from_pylist(changed, schema=rows.schema), file)
    facts = verify(out)
    assert [p.split()[0] for p in facts.problems] == ["data/00000000.parquet"]
    record = json.loads(folder.record_of(0).read_bytes())
    old = record["files"]["00000000.parquet"]
    new = file_facts(file)
    for path in (folder.record_of(0), folder.manifest):
        edit(path, old["sha256"], new.sha256)
        edit(path, f'"nbytes": {old["nbytes"]}', f'"nbytes": {new.nbytes}')
    assert verify(out).ok
    found = verify(out, deep=True)
    assert any(problem.startswith("row 0: ") for problem in found.problems), found.problems
