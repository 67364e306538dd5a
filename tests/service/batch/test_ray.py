"""The Ray engine: shards on actors of a real, small cluster."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import InvalidInput, OmnicodecError, Unavailable
from omnicodec.service.batch.engines.base import Committed, Engine, Event, Lost, Progress
from omnicodec.service.batch.engines.deaths import BLAMED, Deaths
from omnicodec.service.batch.engines.ray import RayEngine
from omnicodec.service.batch.engines.ray_cluster import Share, connected, share
from omnicodec.service.batch.engines.ray_worker import Place
from omnicodec.service.batch.run import tokenize

from .here import Here, small_job, table, tree
from .ray_here import cluster  # noqa: F401  # a fixture

FAKE = "ray_here:write"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deeds").mkdir()
    return tmp_path


def deed(folder: Path, shard: int, item: int, what: str) -> None:
    (folder / "deeds" / f"{shard}-{item}").write_text(what)


def kinds(events: list[Event]) -> set[type[Event]]:
    return {type(event) for event in events}


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.usefixtures("cluster")
def test_all_shards_are_written_once_by_two_processes(folder: Path) -> None:
    events = list(RayEngine(workers=2, function=FAKE).run(folder, range(3, 15)))
    assert sorted(e.shard for e in events if isinstance(e, Committed)) == list(range(3, 15))
    assert Lost not in kinds(events)
    done = [path.read_text().split() for path in folder.glob("done-*")]
    assert len(done) == 12
    assert {(device, threads) for device, threads, _ in done} == {("cpu", "1")}
    assert os.getpid() not in {int(pid) for _, _, pid in done}
    assert not list((folder / ".tmp").iterdir())


@pytest.mark.usefixtures("cluster")
def test_a_deadly_item_is_blamed_and_all_else_goes_on(folder: Path) -> None:
    deed(folder, 1, 2, "die")
    deed(folder, 2, 0, "die once")
    events = list(RayEngine(workers=2, function=FAKE).run(folder, range(4)))
    assert {e.shard for e in events if isinstance(e, Committed)} == {0, 1, 2, 3}
    lost = [event.shard for event in events if isinstance(event, Lost)]
    # Once with many items in work, and twice at this one.
    assert sorted(lost) == [1, 1, 1, 2]
    assert [path.name for path in folder.glob("blamed-*")] == ["blamed-1-2"]
    assert (folder / "blamed-1-2").read_text() == BLAMED


def workers() -> list[int]:
    """Return the processes of Ray's actors below this one."""
    parents, names = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status = (path / "stat").read_text()
            names[int(path.name)] = (path / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(path.name)] = int(status.rpartition(")")[2].split()[1])

    def ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and ours(parents[pid]))

    return [pid for pid, name in names.items() if name.startswith(b"ray::Worker") and ours(pid)]


class Killing(Engine):
    """Ray's, all of whose workers are killed once, when the first shard is written."""

    lost = 0

    def run(self, folder: Path, shards: Sequence[int]) -> Iterator[Event]:
        killed: list[int] = []
        for event in RayEngine(workers=2).run(folder, shards):
            yield event
            self.lost += isinstance(event, Lost)
            if isinstance(event, Committed) and not killed:
                killed = workers()
                assert len(killed) == 2
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("cluster")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_workers_killed_in_the_middle_cost_no_item(tmp_path: Path) -> None:
    job, vocabulary = small_job(table(tmp_path / "texts.parquet", 100))
    tokenize(job, vocabulary, tmp_path / "whole", engine=Here())
    engine = Killing()
    tokenize(job, vocabulary, tmp_path / "killed", engine=engine)
    assert engine.lost >= 1
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


@pytest.mark.usefixtures("cluster")
def test_errors_of_a_shard_end_the_run_in_one_line(folder: Path) -> None:
    deed(folder, 0, 1, "disk full")
    with pytest.raises(InvalidInput, match=r"^disk full: no space left$"):
        list(RayEngine(workers=2, function=FAKE).run(folder, range(4)))
    deed(folder, 0, 1, "fault")
    with pytest.raises(OmnicodecError, match=r"^a worker failed: .*no such thing$"):
        list(RayEngine(workers=1, function=FAKE).run(folder, [0]))


@pytest.mark.usefixtures("cluster")
def test_who_hangs_is_ended_and_begun_again(folder: Path) -> None:
    deed(folder, 0, 3, "hang once")
    engine = RayEngine(workers=1, function=FAKE, patience=1.5)
    events = list(engine.run(folder, [0]))
    assert [e.shard for e in events if isinstance(e, Lost)] == [0]
    assert any(isinstance(e, Progress) and e.items == 3 for e in events)
    assert events[-1] == Committed(0)
    assert not list(folder.glob("blamed-*"))


@pytest.mark.usefixtures("cluster")
def test_closing_the_iterator_ends_the_processes(folder: Path) -> None:
    for shard in range(1, 4):
        deed(folder, shard, 0, "hang")
    events = RayEngine(workers=1, function=FAKE).run(folder, range(4))
    assert isinstance(events, Iterator)
    while not isinstance(next(events), Committed):
        pass
    pid = int((folder / "done-0").read_text().split()[2])
    assert not gone(pid)
    events.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 20
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list((folder / ".tmp").glob("probe-*"))


@pytest.mark.usefixtures("cluster")
def test_a_node_that_does_not_see_the_folder_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "touch", lambda *_: None)  # as if it were on another disk
    with pytest.raises(Unavailable, match=r"^node .* does not see .*shared file system$"):
        list(RayEngine(workers=1, function=FAKE).run(folder, [0]))


def test_nothing_to_do_starts_nothing(folder: Path) -> None:
    assert list(RayEngine(address="nowhere:1").run(folder, [])) == []


def test_without_ray_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Unavailable, match="pip install"):
        list(RayEngine().run(folder, [0]))


def test_shares_of_a_cluster() -> None:
    def of(nodes: list[dict[str, float]], **given: Any) -> Share:
        return share(
            nodes, **{"workers": None, "gpus": None, "threads": None, "device": "auto", **given}
        )

    two = [{"CPU": 4.0}, {"CPU": 12.0}]
    assert of(two) == Share(16, 1.0, 0.0, 1, "cpu")
    assert of(two, workers=8) == Share(8, 1.0, 0.0, 1, "cpu")
    many = of(two, workers=48)
    assert many == Share(48, 0.3333, 0.0, 1, "cpu")
    assert many.cpus * 48 <= 16
    cards = [{"CPU": 32.0, "GPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}, {"CPU": 64.0}]
    assert of(cards) == Share(6, 4.0, 1.0, 4, "cuda")
    assert of(cards, gpus=0.5) == Share(12, 2.0, 0.5, 2, "cuda")
    assert of(cards, device="cpu") == Share(104, 1.0, 0.0, 1, "cpu")
    assert of(cards, workers=12).gpus == 0.5
    with pytest.raises(InvalidInput, match="has 1 GPU"):
        of(two, gpus=1)
    with pytest.raises(InvalidInput, match="GPU"):
        of(two, device="cuda")


def test_deaths_before_any_item_are_not_the_datas() -> None:
    deaths = Deaths()
    for _ in range(2):
        deaths.note(7, "", "signal 9")
    assert deaths.any(7)
    assert not deaths.blamed(7)
    with pytest.raises(Unavailable, match="shard 7: signal 9"):
        deaths.note(7, "", "signal 9")
    deaths.note(8, "a", "x")
    deaths.note(8, "b", "x")
    assert not deaths.blamed(8)
    deaths.note(8, "b", "x")
    assert deaths.blamed(8) == {"b": BLAMED}
    assert deaths.any(8)
    deaths.forget(8)
    assert not deaths.any(8)


def test_deaths_at_one_item_after_the_other_are_not_the_datas() -> None:
    deaths = Deaths()
    for item in range(9):
        deaths.note(3, f"item {item}", "signal 9")
    with pytest.raises(Unavailable, match="all over shard 3"):
        deaths.note(3, "item 9", "signal 9")


@pytest.mark.parametrize("position", ["a/b.jpg", "two\nlines", "\udcff", "", "x" * 5000])
def test_places_are_read_back_after_longer_ones(tmp_path: Path, position: str) -> None:
    place = Place(tmp_path, 5)
    assert place.read() == ""
    with place:
        place.write("y" * 9000)
        place.write(position)
        assert Place(tmp_path, 5).read() == position
    assert not list((tmp_path / ".tmp").iterdir())


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = type(sys)("ray")
    fake.is_initialized = lambda: False  # type: ignore[attr-defined]
    fake.shutdown = lambda: None  # type: ignore[attr-defined]
    fake.exceptions = type("exceptions", (), {"RayError": OSError})  # type: ignore[attr-defined]

    def init(address: str, **_: object) -> None:
        raise ConnectionError(f"no GCS at {address}\nmore")

    fake.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(Unavailable, match=r"^the Ray cluster at '10.0.0.1:6379' .*: no GCS at \S+$"),
        connected("10.0.0.1:6379", 2),
    ):
        pass
    assert signal.getsignal(signal.SIGTERM) is before
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ
