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


def test_qualities_are_passed_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnicodec.codecs import describe
    from omnicodec.service import evaluate

    given: list[Any] = []
    measure = evaluate.evaluate

    def recording(*_: Any, **options: Any) -> Any:
        given.append(options["qualities"])
        return measure("text/bytes", Path("notes.txt"), report=options["report"])

    monkeypatch.setattr(evaluate, "evaluate", recording)
    known = sorted(describe("audio/rvq").qualities)
    first, last = known[0], known[-1]
    for words in ([], ["-q", f"{last}", "--quality", f"{first}"], ["-q", "all"]):
        assert cli("evaluate", "-c", "audio/rvq", "sounds", *words).code == 0
    assert given == [[], [last, first], "all"]


def test_several_codecs_and_a_range_of_rates(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnicodec.service import evaluate

    given: list[Any] = []
    measure = evaluate.evaluate

    def recording(codec: str, _: Path, **options: Any) -> Any:
        given.append((codec, options))
        return measure("text/bytes", Path("notes.txt"), report=options["report"])

    monkeypatch.setattr(evaluate, "evaluate", recording)
    words = ["-c", "text/info", "-c", "text/bytes", "--rates", "0.1,1.5"]
    assert cli("evaluate", *words, "notes.txt").code == 0
    ((codec, options),) = given
    assert (codec, options["beside"], options["rates"]) == ("text/info", ["text/bytes"], (0.1, 1.5))
    assert options["previews"] is False  # there is no page to show them on


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-c", "audio/rvq", "-q", "best"], "-q takes a number or all, not 'best'"),
        (["-c", "audio/rvq", "-q", "all", "-q", "1"], "-q all is every quality"),
        (["-c", "audio/rvq", "-q", "99"], "audio/rvq has no quality 99; known: "),
        (["-c", "text/bytes", "-q", "5"], "text/bytes has no quality 5; known: none"),
        (["-c", "text/bytes", "-q", "all"], "text/bytes has no qualities to choose from"),
        (["-c", "text/bytes", "--effort", "best"], "text/bytes has no effort 'best'"),
        (["-c", "text/bytes", "--rates", "1"], "--rates takes two rates such as 0.1,1, not '1'"),
        (["-c", "text/bytes", "--rates", "1,0.1"], "--rates takes two rates"),
        (["-c", "text/bytes", "--rates", "nan,1"], "--rates takes two rates"),
    ],
)
def test_qualities_that_make_no_sense(cli: Cli, words: list[str], message: str) -> None:
    done = cli("evaluate", "notes.txt", *words)
    assert done.code == 2
    assert message in done.err


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
