"""train: its options become those of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    from omnicodec.service import train

    calls: list[Any] = []

    def fake(codec: str, data: Path, out: Path, options: Any, report: Any) -> Path:
        calls.append((codec, data, out, options))
        report("step 1")
        return out / "export"

    monkeypatch.setattr(train, "train", fake)
    return calls


def test_defaults_are_those_of_a_run(cli: Cli, trained: list[Any]) -> None:
    from omnicodec.service.train.run import RunOptions

    done = cli("train", "image/vq", "photos", "-o", "run")
    assert done.code == 0
    assert done.lines == ["step 1", "weights of image/vq: run/export"]
    assert trained == [("image/vq", Path("photos"), Path("run"), RunOptions(settings={}))]


def test_options_are_passed_on(cli: Cli, trained: list[Any]) -> None:
    arguments = "--steps 7 --minutes 1.5 --seed 3 --validate held --device cpu --json"
    settings = "--set batch=4 --set rate=1e-3 --set kind=word --set a.b=[1,2]"
    options = f"{arguments} {settings}".split()
    done = cli("train", "image/vq", "photos", "-o", "run", *options)
    assert json.loads(done.out) == {"codec": "image/vq", "weights": "run/export"}
    options = trained[0][3]
    assert (options.steps, options.minutes, options.seed) == (7, 1.5, 3)
    assert options.validation == Path("held")
    assert options.device == "cpu"
    assert options.settings == {"batch": 4, "rate": 1e-3, "kind": "word", "a.b": [1, 2]}


def test_a_script_does_the_same(folder: Path) -> None:
    (folder / "texts").mkdir()
    (folder / "notes.txt").rename(folder / "texts/notes.txt")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/train.py", "text/bytes", "texts", "-o", "run", "--json"],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["weights"] == "run/export"
    assert list((folder / "run/export").glob("prior.safetensors*"))


@pytest.mark.usefixtures("folder")
def test_data_that_is_not_there(cli: Cli) -> None:
    done = cli("train", "text/bytes", "nowhere", "-o", "run")
    assert done.code == 3
    assert len(done.lines) == 1
