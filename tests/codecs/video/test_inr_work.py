"""Work on `video/inr` that goes on behind a whole group: what it reports stays true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import Cancelled, Progress, Video, Work, load
from omnicodec.codecs.video import _inr_fit, _inr_format


class Stopped(Work):
    """Work that is cancelled when so many steps are done."""

    def __init__(self, checkpoint: Path, step: int) -> None:
        super().__init__(checkpoint=checkpoint)
        self._step = step

    def report(self, progress: Progress) -> bool:
        enough = super().report(progress)
        if progress.step == self._step:
            self.cancel()
        return enough


def test_reports_count_the_frames_of_all_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = load("video/inr", device="cpu")
    for module in (_inr_fit, _inr_format):
        monkeypatch.setattr(module, "LONGEST", 5)
    wide = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    item = Video(np.stack([wide[:, n : n + 36] for n in range(12)]), 25)
    plain: list[Progress] = []
    (expected,) = codec.encode([item], work=Work(listen=plain.append))
    for stop in (4, 8, 11):  # of groups of four
        file = tmp_path / f"{stop}.part"
        work = Stopped(file, stop)
        with pytest.raises(Cancelled):
            codec.encode([item], work=work)
        heard: list[Progress] = []
        (tokens,) = codec.encode([item], work=Work(checkpoint=file, listen=heard.append))
        assert tokens == expected
        assert [p.step for p in heard] == list(range(stop + 2, 13))
        for after, before in zip(heard, plain[stop + 1 :], strict=True):
            assert after.bits == pytest.approx(before.bits)
            assert after.share == before.share
            assert after.seconds_left >= 0


def test_a_key_frame_goes_on_in_the_middle_of_its_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_inr_fit, "KEY_STEPS", {"fast": 0, "normal": 24})
    codec = load("video/inr", device="cpu")
    wide = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    item = Video(np.stack([wide[:, n : n + 36] for n in range(3)]), 25)
    plain: list[Progress] = []
    (expected,) = codec.encode([item], effort="normal", work=Work(listen=plain.append))
    assert [p.step for p in plain] == [*range(1, 25), *range(25, 28)], "24 of the fit, 3 frames"
    assert plain[-1].share == 1
    for stop in (7, 24, 25):
        file = tmp_path / f"{stop}.part"
        with pytest.raises(Cancelled):
            codec.encode([item], effort="normal", work=Stopped(file, stop))
        heard: list[Progress] = []
        work = Work(checkpoint=file, listen=heard.append)
        (tokens,) = codec.encode([item], effort="normal", work=work)
        assert tokens == expected, "and so are those of a fit from its beginning: no chance in it"
        assert [p.step for p in heard] == list(range(stop + 2, 28))
