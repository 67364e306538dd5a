"""Work: reports, the end of it, checkpoints that are whole or not there, and who watches it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from omnicodec.codecs import Cancelled, Progress, Text, Work
from omnicodec.codecs import work as work_module
from omnicodec.codecs.work import Watch

HALF = Progress(share=0.5, step=10, bits=800.0, psnr=31.5, seconds_left=4.0)


def test_listeners_hear_reports_and_enough_ends_it() -> None:
    heard: list[Progress] = []
    work = Work(listen=heard.append, enough=lambda p: p.psnr > 31)
    assert work.report(HALF)
    assert heard == [HALF]
    assert not Work().report(HALF)


def test_cancelled_work_ends_at_its_next_report() -> None:
    heard: list[Progress] = []
    work = Work(listen=heard.append)
    work.cancel()
    with pytest.raises(Cancelled):
        work.report(HALF)
    assert not heard


def test_a_checkpoint_is_of_one_key(tmp_path: Path) -> None:
    work = Work(checkpoint=tmp_path / "jobs" / "a.safetensors")
    assert work.restore("a") is None
    work.save("a", {"x": np.arange(6).reshape(2, 3)[:, ::-1], "step": np.array(7)})
    restored = work.restore("a")
    assert restored is not None
    assert restored["step"] == 7
    assert restored["step"].shape == ()
    np.testing.assert_array_equal(restored["x"], [[2, 1, 0], [5, 4, 3]])
    assert work.restore("b") is None
    work.save("b", {"y": np.zeros(1)})
    assert work.restore("a") is None
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["a.safetensors"]


def test_a_damaged_checkpoint_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    work = Work(checkpoint=path)
    work.save("a", {"x": np.zeros(100)})
    path.write_bytes(path.read_bytes()[:-50])
    assert work.restore("a") is None


def test_without_a_file_nothing_is_kept() -> None:
    work = Work()
    work.save("a", {"x": np.zeros(1)})
    assert work.restore("a") is None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose one item is the time that a `Watch` sees."""
    now = [100.0]
    monkeypatch.setattr(work_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def preview() -> Text:
    return Text("so far")


def test_a_watch_reports_every_so_many_steps_and_at_the_end(clock: list[float]) -> None:
    heard: list[Progress] = []
    watch = Watch(Work(listen=heard.append), "a", 10, seconds=1e9, every=4)
    for done in range(3, 11):  # two steps came back from a checkpoint
        clock[0] += 3
        if watch.due(done, lambda: pytest.fail("nothing is saved")):
            assert not watch.enough(10.0 * done, 30.0, preview)
    assert [p.step for p in heard] == [4, 8, 10]
    assert [p.share for p in heard] == [0.4, 0.8, 1]
    assert [p.bits for p in heard] == [40, 80, 100]
    assert [p.seconds_left for p in heard] == [18, 6, 0], "3 seconds for each step left"
    assert heard[0].preview is preview


def test_a_watch_says_when_it_is_enough() -> None:
    watch = Watch(Work(enough=lambda p: p.psnr > 31), "a", 10, seconds=1e9)
    enough = []
    for done, psnr in ((1, 30.0), (2, 32.0)):
        assert watch.due(done, dict)
        enough.append(watch.enough(0.0, psnr, preview))
    assert enough == [False, True]


def test_a_watch_saves_when_the_checkpoint_is_old(tmp_path: Path, clock: list[float]) -> None:
    work = Work(checkpoint=tmp_path / "a")
    watch = Watch(work, "a", 100, seconds=20, every=50)
    saved = []
    for done in range(1, 10):
        clock[0] += 6
        assert not watch.due(done, lambda: {"done": np.array(done)})  # noqa: B023
        restored = work.restore("a")
        saved.append(int(restored["done"]) if restored else 0)
    assert saved == [0, 0, 0, 4, 4, 4, 4, 8, 8]


def test_a_watch_saves_cancelled_work_and_ends_it(tmp_path: Path) -> None:
    work = Work(checkpoint=tmp_path / "a")
    watch = Watch(work, "a", 100, seconds=1e9, every=50)
    assert not watch.due(6, dict)
    work.cancel()
    assert watch.due(7, lambda: {"done": np.array(7)})
    with pytest.raises(Cancelled):
        watch.enough(0.0, 0.0, preview)
    restored = work.restore("a")
    assert restored is not None
    assert restored["done"] == 7
