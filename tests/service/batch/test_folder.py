from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import CorruptStream, InvalidInput, Unavailable
from omnicodec.service.batch import folder as module
from omnicodec.service.batch.documents import Reject
from omnicodec.service.batch.folder import (
    Folder,
    commit_shard,
    foreign_names,
    is_record_name,
    locked,
    parse_rejects,
)
from omnicodec.service.batch.records import Counts, FileFacts, Record

REJECT = Reject("a.tar#\udce9", "\udce9", "InvalidInput", "broken", 1)


def record(shard: int = 3, rejects: int = 0) -> Record:
    counts = {"text/bytes": Counts(parts=2, positions=5, tokens=5, nbytes=5, units=5)}
    return Record(
        shard=shard,
        items=2 + rejects,
        written=2,
        rejects=rejects,
        rows=2,
        tokens=5,
        codecs=counts,
        reasons={"InvalidInput": rejects} if rejects else {},
    )


@pytest.fixture
def home(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "out")
    folder.make()
    return folder


def filled(home: Folder, *names: str) -> Path:
    temporary = home.temporary("3")
    for name in names:
        (temporary / name).parent.mkdir(exist_ok=True)
        (temporary / name).write_bytes(name.encode() * 100_000)
    return temporary


def tree(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def test_commit_moves_files_and_writes_the_record(home: Folder) -> None:
    temporary = filled(home, "00000003.bin", "more/00000003.idx")
    whole = commit_shard(home.path, temporary, record(rejects=1), [REJECT])
    data = b"00000003.bin" * 100_000
    assert whole.files["00000003.bin"] == FileFacts(len(data), hashlib.sha256(data).hexdigest())
    assert (home.data / "00000003.bin").read_bytes() == data
    assert sorted(whole.files) == ["00000003.bin", "more/00000003.idx"]
    assert home.record(3) == whole
    assert home.read_rejects(3) == [REJECT]
    assert home.committed() == [3]
    assert not list(home.unfinished.iterdir())


def test_commit_done_again_replaces_what_the_first_left(home: Folder) -> None:
    commit_shard(home.path, filled(home, "00000003.bin"), record(rejects=1), [REJECT])
    home.record_of(3).unlink()  # as if it had been ended before
    commit_shard(home.path, filled(home, "00000003.bin"), record(), [])
    assert home.read_rejects(3) == []
    assert home.record(3).rejects == 0
    commit_shard(home.path, home.temporary("4"), record(4), [])
    assert home.committed() == [3, 4]
    assert home.record(4).files == {}


@pytest.mark.parametrize("call", ["fsync", "replace", "rmtree"])
def test_commit_ended_anywhere_is_whole_or_is_not(
    home: Folder, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Fail each call of the system in turn; then the same commit again gives the same files."""

    class EndedError(BaseException):
        pass

    place: Any = {"fsync": os, "replace": Path, "rmtree": shutil}[call]
    real, reached = getattr(place, call), 0
    wanted = None
    for limit in range(1, 20):
        count = 0

        def ending(*given: Any, limit: int = limit, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == limit:
                raise EndedError
            return real(*given, **named)

        temporary = filled(home, "00000003.a", "00000003.b")
        monkeypatch.setattr(place, call, ending)
        try:
            commit_shard(home.path, temporary, record(rejects=1), [REJECT])
        except EndedError:
            reached += 1
        else:
            limit = 0  # nothing is left to fail
        monkeypatch.setattr(place, call, real)
        if home.committed():
            for name, facts in home.record(3).files.items():
                assert module.file_facts(home.data / name) == facts
            assert home.read_rejects(3) == [REJECT]
        home.clean()
        home.make()
        commit_shard(
            home.path, filled(home, "00000003.a", "00000003.b"), record(rejects=1), [REJECT]
        )
        found = tree(home.path)
        wanted = wanted or found
        assert found == wanted
        if not limit:
            break
        for file in (*home.data.iterdir(), *home.records.iterdir()):
            file.unlink()
    else:
        pytest.fail("it never came to an end")
    assert reached == {"fsync": 7, "replace": 4, "rmtree": 1}[call]


def test_full_disk_is_one_line(home: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = filled(home, "00000003.bin")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidInput, match=r"cannot write '.*00000003.bin': No space left"):
        commit_shard(home.path, temporary, record(), [])
    assert home.committed() == []
    assert tree(home.data) == {}


def test_damaged_records_are_refused(home: Folder) -> None:
    commit_shard(home.path, filled(home), record(), [])
    data = home.record_of(3).read_bytes()
    home.record_of(4).write_bytes(data)
    with pytest.raises(CorruptStream, match="shard 3"):
        home.record(4)
    for damaged in (b"", data[:-3], b"[]", b'{"shard": 3}', b"\xff"):
        home.record_of(3).write_bytes(damaged)
        with pytest.raises(CorruptStream, match="00000003"):
            home.record(3)
    with pytest.raises(CorruptStream):
        parse_rejects(b'{"what": 1}\n', Path("x"))


def test_lock_is_refused_to_a_second_run(home: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    with locked(home), pytest.raises(Unavailable, match=f"process {os.getpid()}"), locked(home):
        pass
    with locked(home):
        pass


def test_lock_waits_for_workers_of_a_run_that_was_killed(home: Folder) -> None:
    with locked(home) as number:
        worker = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(0.5)"], pass_fds=[number]
        )
    begun = time.monotonic()
    with locked(home):
        assert worker.poll() is not None or time.monotonic() - begun > 0.2
    worker.wait()


def test_foreign_names(home: Folder) -> None:
    assert foreign_names(home.path) == []
    assert foreign_names(home.path / "none") == []
    (home.path / "notes.txt").touch()
    (home.path / "manifest.json").mkdir()
    assert foreign_names(home.path) == ["manifest.json", "notes.txt"]
    with pytest.raises(InvalidInput):
        foreign_names(home.path / "notes.txt")
    assert is_record_name("00000012.json") == is_record_name("00000012.rejects.jsonl") == 12
    assert is_record_name("12.json") is is_record_name("x00000012.json") is None
