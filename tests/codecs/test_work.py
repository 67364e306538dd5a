"""Work: reports, the end of it, and checkpoints that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import Cancelled, Progress, Work

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
