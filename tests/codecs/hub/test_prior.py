"""Priors in the user's cache: the last that was measured counts, older streams stay readable."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.hub import prior
from omnicodec.codecs.prior import Span, StaticPrior

SIZES = (4, 6)
CODEC = "00112233445566ff"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(prior.CACHE, str(tmp_path))
    return tmp_path


def measured(seed: int) -> StaticPrior:
    draw = np.random.default_rng(seed)
    return StaticPrior.train([[draw.integers(0, 1000, size)] for size in SIZES])


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert prior.cache_folder() == tmp_path
    monkeypatch.delenv(prior.CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/x")
    assert prior.cache_folder() == Path("/var/x/omnicodec")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert prior.cache_folder() == Path("/home/someone/.cache/omnicodec")


def test_a_prior_is_uniform_until_it_is_measured() -> None:
    uniform = prior.current_prior(CODEC, SIZES)
    assert uniform.bits_per_position == pytest.approx(2 + np.log2(6), abs=1e-3)
    before = prior.prior_stamp(CODEC)
    file = prior.save_prior(CODEC, measured(1))
    assert file.parent.name == CODEC
    assert prior.prior_stamp(CODEC) != before
    found = prior.current_prior(CODEC, SIZES)
    assert found.fingerprint == measured(1).fingerprint
    ids = np.array([[0, 1, 2, 3], [5, 4, 0, 1]], np.int32)
    span = Span((4,), 0, 4)
    assert np.array_equal(found.decode(measured(1).encode(ids, span), span), ids)
    assert prior.current_prior("another", SIZES).fingerprint == uniform.fingerprint


def test_priors_of_before_are_found_by_their_fingerprint() -> None:
    first = prior.save_prior(CODEC, measured(1))
    second = prior.save_prior(CODEC, measured(2))
    os.utime(first, ns=(1, 1))
    assert prior.current_prior(CODEC, SIZES).fingerprint == measured(2).fingerprint
    for known in (measured(1), measured(2), prior.uniform_prior(SIZES)):
        found = prior.find_prior(CODEC, SIZES, known.fingerprint)
        assert found is not None
        assert found.fingerprint == known.fingerprint
    assert prior.find_prior(CODEC, SIZES, measured(3).fingerprint) is None
    assert second.exists()


def test_files_that_are_no_priors(cache: Path) -> None:
    file = prior.save_prior(CODEC, measured(1))
    with pytest.raises(InvalidInput, match="of other codebooks"):
        prior.current_prior(CODEC, (4, 7))
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(InvalidInput, match="is no prior"):
        prior.current_prior(CODEC, SIZES)
    file.unlink()
    (cache / "priors" / CODEC).rmdir()
    (cache / "priors" / CODEC).write_text("in the way")
    with pytest.raises(InvalidInput, match="cannot write"):
        prior.save_prior(CODEC, measured(1))
