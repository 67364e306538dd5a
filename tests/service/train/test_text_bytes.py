"""The recipe of `text/bytes`: counting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zstandard

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.prior import StaticPrior
from omnicodec.codecs.prior.static import TOTAL
from omnicodec.models import weights
from omnicodec.service.train import train
from omnicodec.service.train.run import RunOptions


def test_the_prior_is_the_histogram(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.txt").write_bytes(b"a" * 3000)
    (data / "b.txt.zst").write_bytes(zstandard.compress(b"b" * 1000))
    folder = train("text/bytes", data, tmp_path / "run", RunOptions(), report=lambda _: None)
    tables = weights.read_folder(folder).prior
    prior = StaticPrior.from_tables(tables)
    assert prior.codebook_sizes == (256,)
    share = tables["0.0"][[97, 98]] / TOTAL
    assert share == pytest.approx([0.7, 0.235], abs=0.03)
    assert np.argmax(tables["0.0"]) == 97


def test_nothing_to_count(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(InvalidInput, match="no text"):
        train("text/bytes", tmp_path, tmp_path / "run", RunOptions(), report=lambda _: None)
    with pytest.raises(InvalidInput, match="no setting 'x'"):
        train("text/bytes", tmp_path, tmp_path / "run", RunOptions(settings={"x": 1}))
