"""`omnicodec report`: the page of a data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..batch.shown import shown_data_set, write_items

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def data_set(folder: Path, blocks: tuple[str, str]) -> Path:
    assert "image/coarse" in blocks
    return shown_data_set(write_items(folder / "items"), folder / "tokens")


@pytest.mark.usefixtures("data_set")
def test_page(cli: Cli) -> None:
    done = cli("report", "tokens")
    assert (done.code, done.err) == (0, "")
    assert done.out == b"tokens -> report.html: 12 rows counted, 9 samples\n"
    assert Path("report.html").read_text().startswith("<!doctype html>")
    done = cli("report", "tokens")
    assert done.code == 2
    assert "'report.html' exists; -f overwrites it" in done.err
    assert cli("report", "tokens", "-f").code == 0


@pytest.mark.usefixtures("data_set")
def test_some_rows_and_json(cli: Cli) -> None:
    done = cli("report", "tokens", "-o", "page.html", "--rows", "4", "--json")
    assert done.code == 0
    facts = json.loads(done.out)
    assert (facts["output"], facts["rows"], facts["counted"]) == ("page.html", 12, 4)
    assert "Counted over 4 of 12 rows" in Path("page.html").read_text()


def test_what_is_refused(cli: Cli, data_set: Path) -> None:
    assert cli("report", "items").code == 3
    assert cli("report", "tokens", "-o", "-").code == 2
    (data_set / "manifest.json").write_bytes(b"{}")
    done = cli("report", "tokens")
    assert done.code == 4
    assert len(done.lines) == 1
    (data_set / "manifest.json").unlink()
    done = cli("report", "tokens")
    assert done.code == 3
    assert "is not finished: run its `omnicodec tokenize` again" in done.err
