"""The picture of the front page."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from omnicodec.codecs import Image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "picture.py"


def test_picture_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("picture_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = tmp_path / "images" / "x.png"
    monkeypatch.setattr(sys, "argv", ["picture.py", "--photo", "chelsea", "--out", str(out)])
    module.main()
    made = Image.open(out)
    assert made.width == module.WIDTH
    half = (module.WIDTH - module.GAP) // 2
    left, right = made.pixels[:300, :half], made.pixels[:300, -half:]
    assert (left != right).any()
    assert (made.pixels[-module.LINE :] < 100).any()  # the captions
