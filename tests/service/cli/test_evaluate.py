"""evaluate: what it prints and writes; the figures are tested with the evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("folder")


def test_table_on_stdout(cli: Cli) -> None:
    done = cli("evaluate", "-c", "text/bytes", "notes.txt")
    assert done.code == 0
    assert "text/bytes" in done.out.decode()
    assert "bits per byte" in done.out.decode()
    assert done.err == ""


def test_json_on_stdout_and_in_a_file(cli: Cli) -> None:
    done = cli("evaluate", "-c", "text/bytes", "notes.txt", "--json", "-o", "figures.json")
    assert json.loads(done.out) == json.loads(Path("figures.json").read_text())
    assert json.loads(done.out)["codec"] == "text/bytes"
    assert json.loads(cli("evaluate", "-c", "text/bytes", "notes.txt", "-o", "-").out)


def test_options_are_passed_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnicodec.service import evaluate

    calls: list[Any] = []
    measure = evaluate.evaluate

    def recording(codec: str, data: Path, **options: Any) -> Any:
        calls.append((codec, data, options))
        return measure("text/bytes", Path("notes.txt"), report=options["report"])

    monkeypatch.setattr(evaluate, "evaluate", recording)
    arguments = "--against jpeg,webp --max-items 3 --device cpu --html page.html"
    assert cli("evaluate", "-c", "image/vq", "photos", *arguments.split()).code == 0
    ((codec, data, options),) = calls
    assert (codec, data) == ("image/vq", Path("photos"))
    assert options["against"] == ["jpeg", "webp"]
    assert options["max_items"] == 3
    assert options["device"] == "cpu"
    assert Path("page.html").read_text().startswith("<!doctype html>")


def test_nothing_is_overwritten_and_that_is_said_first(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omnicodec.service import evaluate

    monkeypatch.delattr(evaluate, "evaluate")
    for option in ("--html", "-o"):
        done = cli("evaluate", "-c", "text/bytes", "notes.txt", option, "photo.jpg")
        assert done.code == 2
        assert done.err == "omnicodec: 'photo.jpg' exists; -f overwrites it\n"


def test_data_that_is_not_there(cli: Cli, files: Any) -> None:
    before = files()
    assert cli("evaluate", "-c", "image/vq", "nowhere", "-o", "x.json").code == 3
    assert files() == before
