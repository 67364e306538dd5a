from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import LimitExceeded, Unavailable
from omnicodec.service.batch.engines.base import Committed, Event, Lost, Progress
from omnicodec.service.batch.engines.local import LocalEngine
from omnicodec.service.batch.folder import Folder, locked

WRITE = "fake_shards:write_shard"


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])


@pytest.fixture
def home(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.make()
    folder.job.write_text("{}")
    return folder


def script(home: Folder, **shards: dict[str, str]) -> None:
    home.job.write_text(json.dumps({name[1:]: what for name, what in shards.items()}))


def run(home: Folder, count: int = 1, **options: Any) -> list[Event]:
    engine = LocalEngine(options.pop("workers", 1), write=WRITE, device="cpu", **options)
    return list(engine.run(home.path, range(count)))


def log(home: Folder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home.path / "log").read_text().splitlines()]


def lives(pid: int) -> bool:
    """Return whether a process has not ended, be it that nobody has asked what became of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def rejected(home: Folder, shard: int) -> list[str]:
    return [reject.position for reject in home.read_rejects(shard)]


def test_every_shard_is_committed_once(home: Folder) -> None:
    script(home, s0={"0": "wait"}, s1={"0": "wait"})
    events = run(home, 5, workers=2, threads=3)
    assert Counter(e.shard for e in events if isinstance(e, Committed)) == dict.fromkeys(
        range(5), 1
    )
    assert any(isinstance(e, Progress) for e in events)
    assert home.committed() == [0, 1, 2, 3, 4]
    facts = log(home)
    assert len({fact["pid"] for fact in facts}) == 2
    for fact in facts:
        assert (fact["threads"], fact["device"], fact["careful"]) == (3, "cpu", False)
        assert fact["environment"] == {"OMP_NUM_THREADS": "1", "OMNICODEC_THREADS": "3"}
    assert not list(home.unfinished.iterdir())


def test_nothing_is_started_for_nothing(home: Folder) -> None:
    assert run(home, 0) == []


def test_shard_of_a_worker_that_dies_is_begun_again(home: Folder) -> None:
    script(home, s0={"2": "once"}, s1={"0": "wait"}, s2={"then": "die"})
    events = run(home, 4, workers=2)
    lost = [e for e in events if isinstance(e, Lost)]
    assert lost == [Lost(0, "it was killed by SIGKILL")]  # the other had been committed before
    assert Counter(e.shard for e in events if isinstance(e, Committed)) == dict.fromkeys(
        range(4), 1
    )
    assert [(f["shard"], f["careful"]) for f in log(home) if f["shard"] == 0] == [
        (0, False),
        (0, True),
    ]
    assert rejected(home, 0) == []
    assert not list(home.unfinished.iterdir())


@pytest.mark.parametrize("death", ["die", "memory", "hang"])
def test_item_that_workers_die_at_is_rejected(home: Folder, death: str) -> None:
    script(home, s0={"1": death})
    patience = 1.0 if death == "hang" else 60.0
    events = run(home, patience=patience)
    told = {
        "die": "it was killed by SIGKILL",
        "memory": "it had no memory left",
        "hang": "it said nothing for 1 s",
    }
    assert [e.reason for e in events if isinstance(e, Lost)] == [told[death]] * 3
    assert rejected(home, 0) == ["0#1"]
    assert home.record(0).written == 3


def test_error_of_a_shard_ends_the_run(home: Folder) -> None:
    script(home, s0={"0": "hang"}, s1={"1": "limit"})
    with pytest.raises(LimitExceeded, match=r"^one line") as caught:
        run(home, 2, workers=2)
    assert "fake_shards.py" in caught.value.__notes__[0]
    assert not list(home.unfinished.iterdir())
    assert not any(lives(fact["pid"]) for fact in log(home))


def test_bug_is_told_with_its_place(home: Folder) -> None:
    script(home, s0={"1": "bug"})
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError: a bug \(fake_shards.py:\d+\)"):
        run(home)


def test_workers_that_cannot_start(home: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="ModuleNotFoundError"):
        list(LocalEngine(1, write="no_such_module:f").run(home.path, [0]))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Unavailable, match="workers cannot be started: it ended with code 1"):
        run(home)


def test_closing_the_iterator_ends_all_work(home: Folder) -> None:
    script(home, s0={"1": "hang"}, s1={"1": "hang"})
    events = LocalEngine(2, write=WRITE, device="cpu").run(home.path, range(2))
    while len(list(home.unfinished.iterdir())) < 2:
        next(events)
    events.close()  # type: ignore[attr-defined]
    assert not list(home.unfinished.iterdir())
    assert home.committed() == []


def test_workers_end_with_the_run_and_hold_its_lock_until_then(home: Folder) -> None:
    script(home, s0={"1": "hang"})
    program = f"""
import sys
sys.path.append({str(Path(__file__).parent)!r})
from omnicodec.service.batch.engines.local import LocalEngine
from omnicodec.service.batch.folder import Folder, locked
from pathlib import Path
home = Folder(Path({str(home.path)!r}))
engine = LocalEngine(1, write={WRITE!r}, device="cpu")
with locked(home) as number:
    engine.inherited = (number,)
    for event in engine.run(home.path, [0]):
        print(event, flush=True)
"""
    run = subprocess.Popen([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE)
    assert run.stdout is not None
    assert b"Progress" in run.stdout.readline()
    (worker,) = [fact["pid"] for fact in log(home)]
    assert lives(worker)
    run.kill()
    run.wait()
    run.stdout.close()
    with locked(home):  # it waits for the worker, whose files are closed just before it is gone
        ends = time.monotonic() + 10
        while lives(worker) and time.monotonic() < ends:
            time.sleep(0.01)
        assert not lives(worker)
