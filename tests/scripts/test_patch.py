"""The benchmark of byte patches, on one small text."""

from __future__ import annotations

import importlib
import json
from argparse import ArgumentParser
from pathlib import Path

import pytest

from omnicodec.codecs import OmnicodecError, load

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TEXT = "It was a bright cold day in spring, and all the clocks of the town were late. " * 8


def test_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    patch = importlib.import_module("benches.patch")
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "empty.txt").touch()
    parser = ArgumentParser()
    patch.arguments(parser)
    given = [str(tmp_path), "--threads", "1", "--rounds", "1", "--codes", "200"]
    report, figures = patch.run(parser.parse_args(given))
    codec = load("text/patch")
    assert json.loads(json.dumps(figures))["codec"] == "text/patch"
    assert figures["target"] == codec.spec.covers["bytes"]
    (averages,) = figures["averages"].values()
    assert averages["stride"] == pytest.approx(4, rel=0.02)
    assert averages["entropy"] == len(TEXT) / codec.patches(TEXT).size
    (codes,) = figures["codes"].values()
    assert codes["bytes"] == 200
    assert 0 <= codes["escaped"] <= 1
    assert codes["bytes_per_position"] <= averages["entropy"] * 1.5
    assert set(figures["speed"]) == set(codec.spec.methods)
    assert all(method in report for method in codec.spec.methods)
    with pytest.raises(OmnicodecError, match="does not cut"):
        patch.run(parser.parse_args([*given, "--codec", "text/bytes"]))
