from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from omnicodec.codecs import (
    CorruptStream,
    FingerprintMismatch,
    InvalidInput,
    LimitExceeded,
    Unavailable,
)
from omnicodec.service.batch import folder as folder_module
from omnicodec.service.batch.folder import Folder, locked
from omnicodec.service.batch.job import Job, differences
from omnicodec.service.batch.manifest import Manifest
from omnicodec.service.batch.prepare import Wishes, prepare
from omnicodec.service.batch.records import Record
from omnicodec.service.batch.run import MaxRejects, Status, Watch, tokenize
from omnicodec.service.batch.verify import verify

from .here import Here, small_job, table, tree

FORMATS = ("parquet", "megatron", "mds")


class Seen(Watch):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.statuses: list[Status] = []

    def planning(self) -> None:
        self.said.append("planning")

    def going(self, status: Status) -> None:
        self.statuses.append(status)

    def repeated(self, shard: int, reason: str) -> None:
        self.said.append(f"{shard}: {reason}")

    def finishing(self) -> None:
        self.said.append("finishing")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return table(tmp_path / "texts.parquet", 45)


def test_data_set_and_its_manifest(tmp_path: Path, source: Path) -> None:
    job, vocabulary = small_job(source)
    seen = Seen()
    manifest = tokenize(job, vocabulary, tmp_path / "out", engine=Here(), watch=seen)
    rejected = len([n for n in range(45) if n % 7 == 3])
    assert (manifest.items, manifest.rejects) == (45, rejected)
    assert manifest.written == manifest.rows == 45 - rejected
    assert sum(manifest.reasons.values()) == rejected
    text = manifest.codecs["text/bytes"]
    assert (text["modality"], text["parts"]) == ("text", 45 - rejected)
    assert text["tokens"] == manifest.tokens == text["nbytes"]
    assert [shard["rows"] for shard in manifest.shards] == [9, 8, 9, 8, 5]
    assert Manifest.load(tmp_path / "out") == manifest
    lines_of = (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines_of] == [str(n) for n in range(3, 45, 7)]
    assert verify(tmp_path / "out", deep=True).ok
    assert seen.said == ["planning", "finishing"]
    last = seen.statuses[-1]
    assert (last.shards, last.left, last.items, last.rejects) == (5, 0, 45, rejected)
    counts = [status.items for status in seen.statuses]
    assert counts == sorted(counts)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert ".tmp" not in names
    assert str(tmp_path / "out") not in (tmp_path / "out" / "job.json").read_text()


@pytest.mark.parametrize("form", FORMATS)
def test_any_order_and_any_end_give_the_same_bytes(tmp_path: Path, source: Path, form: str) -> None:
    job, vocabulary = small_job(source, format=form)
    tokenize(job, vocabulary, tmp_path / "whole", engine=Here())
    whole = tree(tmp_path / "whole")

    class EndedError(BaseException):
        pass

    for ended in range(5):
        engine = Here(lambda shards: shards[::-1])

        def after(_: int, engine: Here = engine, ended: int = ended) -> None:
            if len(engine.wrote) > ended:
                raise EndedError

        engine._after = after
        out = tmp_path / str(ended)
        with pytest.raises(EndedError):
            tokenize(job, vocabulary, out, engine=engine)
        assert not (out / ".tmp").exists()
        rest = Here()
        tokenize(job, vocabulary, out, engine=rest)
        assert sorted(engine.wrote + rest.wrote) == [0, 1, 2, 3, 4]
        assert tree(out) == whole


def test_sources_are_not_needed_to_go_on(tmp_path: Path, source: Path) -> None:
    """The plan is what counts: a source that has gone is rejects, and none is listed again."""
    job, vocabulary = small_job(source)
    engine = Here(after=lambda _: (_ for _ in ()).throw(LimitExceeded("enough")))
    with pytest.raises(LimitExceeded):
        tokenize(job, vocabulary, tmp_path / "out", engine=engine)
    source.unlink()
    manifest = tokenize(job, vocabulary, tmp_path / "out", engine=Here())
    assert manifest.items == manifest.written + manifest.rejects
    assert manifest.written == 9
    assert verify(tmp_path / "out").ok


def test_finished_data_set_is_only_looked_at(tmp_path: Path, source: Path) -> None:
    job, vocabulary = small_job(source, format="megatron")
    out = tmp_path / "out"
    first = tokenize(job, vocabulary, out, engine=Here())
    before = tree(out)
    superfluous = out / "data" / next(iter(Folder(out).record(0).files))
    superfluous.touch()  # as if a run had ended just before it removed this one
    engine = Here()
    assert tokenize(job, vocabulary, out, engine=engine) == first
    assert engine.wrote == []
    assert tree(out) == before
    file = out / "data" / next(iter(first.files))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptStream, match=r"damaged or missing; `omnicodec verify"):
        tokenize(job, vocabulary, out, engine=engine)


def test_other_jobs_are_refused(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    job, vocabulary = small_job(source)
    tokenize(job, vocabulary, out, engine=Here())
    before = tree(out)
    other, other_vocabulary = small_job(source, codecs=["text/bpe"])
    with pytest.raises(FingerprintMismatch, match="codecs.text.name was 'text/bytes', is 'text/b"):
        tokenize(other, other_vocabulary, out, engine=Here())
    for wishes, says in (
        ({"shard_items": 11}, "shard_items was 10, is 11"),
        ({"format": "mds"}, "format was 'parquet', is 'mds'"),
        ({"layout": "document"}, "layout was 'raw', is 'document'"),
        ({"columns": {"text": "text"}}, "sources.1.columns.1.1 was None, is 'text'"),
    ):
        other, vocabulary = small_job(source, **wishes)
        with pytest.raises(InvalidInput, match=f"begun otherwise: {says}"):
            tokenize(other, vocabulary, out, engine=Here())
    assert tree(out) == before


def test_differences_are_named(source: Path) -> None:
    job, _ = small_job(source)
    assert differences(job, job) == []
    assert differences(job, small_job(source, source)[0])[0][0].startswith("sources.2")
    again = Job.from_json(json.loads(job.to_bytes()))
    assert (again, again.digest) == (job, job.digest)


def test_folders_of_anything_else_are_refused(tmp_path: Path, source: Path) -> None:
    job, vocabulary = small_job(source)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(InvalidInput, match=r"no folder of a data set: it has 'a.jpg'"):
        tokenize(job, vocabulary, tmp_path / "photos", engine=Here())
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]
    with pytest.raises(InvalidInput, match="cannot use"):
        tokenize(job, vocabulary, source, engine=Here())
    with pytest.raises(InvalidInput, match="cannot write '/proc/none"):
        tokenize(job, vocabulary, Path("/proc/none/out"), engine=Here())


def test_nothing_is_left_of_a_run_that_could_not_begin(tmp_path: Path) -> None:
    job, vocabulary = small_job(tmp_path / "none.parquet")
    with pytest.raises(InvalidInput, match="none.parquet"):
        tokenize(job, vocabulary, tmp_path / "out", engine=Here())
    assert not (tmp_path / "out").exists()


def test_second_run_is_refused(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_PATIENCE", 0.0)
    job, vocabulary = small_job(source)
    folder = Folder(tmp_path / "out")
    folder.make()
    with locked(folder), pytest.raises(Unavailable, match="another run is writing"):
        tokenize(job, vocabulary, folder.path, engine=Here())


def test_lost_and_damaged_shards_are_written_again(tmp_path: Path, source: Path) -> None:
    job, vocabulary = small_job(source)
    whole = tmp_path / "whole"
    tokenize(job, vocabulary, whole, engine=Here())
    wanted = tree(whole)
    (whole / "manifest.json").unlink()
    folder = Folder(whole)
    (folder.data / next(iter(folder.record(1).files))).unlink()
    folder.record_of(2).write_bytes(b"{}")
    file = folder.data / next(iter(folder.record(3).files))
    file.write_bytes(file.read_bytes() + b"\0")
    engine, seen = Here(), Seen()
    tokenize(job, vocabulary, whole, engine=engine, watch=seen)
    assert engine.wrote == [1, 2, 3]
    assert [said[0] for said in seen.said] == ["1", "2", "3", "f"]
    assert tree(whole) == wanted


def test_what_is_not_a_plan_any_more(tmp_path: Path, source: Path) -> None:
    job, vocabulary = small_job(source)
    out = tmp_path / "out"
    tokenize(job, vocabulary, out, engine=Here())
    (out / "manifest.json").unlink()
    (out / "job.json").rename(tmp_path / "job.json")
    with pytest.raises(CorruptStream, match="lost its job"):
        tokenize(job, vocabulary, out, engine=Here())
    (out / "job.json").write_bytes(b"{")
    with pytest.raises(CorruptStream, match="job.json"):
        tokenize(job, vocabulary, out, engine=Here())
    (tmp_path / "job.json").rename(out / "job.json")
    (out / "plan.jsonl").write_bytes(b"")
    with pytest.raises(CorruptStream, match="not a whole plan"):
        tokenize(job, vocabulary, out, engine=Here())


def test_runs_that_go_wrong_as_a_whole_stop(tmp_path: Path, source: Path) -> None:
    job, vocabulary = small_job(source)
    engine = Here()
    with pytest.raises(
        InvalidInput, match=r"3 of 20 items were rejected, more than --max-rejects 2"
    ):
        tokenize(job, vocabulary, tmp_path / "out", engine=engine, max_rejects=MaxRejects(2))
    assert engine.wrote == [0, 1]
    share = MaxRejects(share=0.13)  # of 45 items, too few to tell before all are seen
    with pytest.raises(InvalidInput, match=r"6 of 45 items .* 13%: \w+ 6; .*#"):
        tokenize(job, vocabulary, tmp_path / "out", engine=engine, max_rejects=share)
    assert not (tmp_path / "out" / "manifest.json").exists()
    before = list(engine.wrote)
    share = MaxRejects(share=0.14)
    manifest = tokenize(job, vocabulary, tmp_path / "out", engine=engine, max_rejects=share)
    assert manifest.rejects == 6
    assert engine.wrote == before


@pytest.mark.parametrize(
    ("most", "items", "rejects", "ended", "stops"),
    [
        (MaxRejects(), 10, 10, True, False),
        (MaxRejects(0), 10, 0, True, False),
        (MaxRejects(0), 1, 1, False, True),
        (MaxRejects(share=0.5), 99, 99, False, False),
        (MaxRejects(share=0.5), 100, 51, False, True),
        (MaxRejects(share=0.5), 100, 50, True, False),
        (MaxRejects(share=0.0), 3, 1, True, True),
        (MaxRejects(share=0.0), 0, 0, True, False),
    ],
)
def test_thresholds(most: MaxRejects, items: int, rejects: int, ended: bool, stops: bool) -> None:
    assert most.exceeded(items, rejects, ended=ended) == stops


def test_blamed_items_are_rejects(tmp_path: Path, source: Path) -> None:
    job, vocabulary = small_job(source)
    blamed = f"{source}#4"
    engine = Here(blamed={blamed: "it kills"})
    manifest = tokenize(job, vocabulary, tmp_path / "b", engine=engine)
    assert manifest.reasons["Crash"] == 1
    assert blamed in [r.position for r in Folder(tmp_path / "b").read_rejects(0)]


def test_items_that_get_lost_are_found_out(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, vocabulary = small_job(source)
    real = Folder.record

    def losing(self: Folder, shard: int) -> Record:
        record = real(self, shard)
        return replace(record, items=record.items + 1) if shard == 2 else record

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "record", losing)
        with pytest.raises(CorruptStream, match="shard 2 had 11 items, of which"):
            tokenize(job, vocabulary, tmp_path / "out", engine=Here())
    folder = Folder(tmp_path / "out")
    record = folder.record(1)
    folder.record_of(1).write_bytes(replace(record, items=9, written=7).to_bytes())
    with pytest.raises(CorruptStream, match="45 items were planned, 44 came in"):
        tokenize(job, vocabulary, tmp_path / "out", engine=Here())


def test_wishes_that_cannot_be(source: Path) -> None:
    for wishes, says in (
        ({"codecs": ["text/bytes", "text/bpe"]}, "both for text"),
        ({"format": "csv"}, "unknown format 'csv'"),
        ({"layout": "packed"}, "needs the length"),
        ({"layout": "raw", "length": 10}, "no sequences of a fixed length"),
        ({"layout": "raw", "format": "megatron"}, "megatron has no place for layout 'raw'"),
        ({"quality": 101}, "has no quality 101"),
        ({"effort": "best"}, "has no effort best"),
        ({"pattern": "spiral"}, "unknown pattern"),
    ):
        with pytest.raises(InvalidInput, match=says):
            small_job(source, **wishes)


def test_wishes_become_a_job(blocks: tuple[str, str]) -> None:
    job, vocabulary = prepare(Wishes(sources=["a", "s3://b/c"], codecs=[blocks[0]], quality=70))
    assert [source.location for source in job.sources] == [str(Path("a").absolute()), "s3://b/c"]
    assert [(c.modality, c.name, c.quality) for c in job.codecs] == [
        ("image", "image/blocks", 70),
        ("text", "text/bpe", None),
    ]
    assert [entry.name for entry in vocabulary.entries] == ["text/bpe", "image/blocks"]
    job, _ = prepare(Wishes(sources=["a"]))
    assert {c.modality: c.name for c in job.codecs}["text"] == "text/bpe"
    assert len(job.codecs) == 4
    job, _ = prepare(Wishes(sources=["a"], format="megatron", length=128))
    assert (job.layout, job.length) == ("packed", 128)
