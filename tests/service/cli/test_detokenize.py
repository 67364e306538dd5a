"""`omnicodec detokenize`: rows back to files."""

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
    shown_data_set(write_items(folder / "items"), folder / "tokens")
    return Path("tokens")


@pytest.mark.usefixtures("data_set")
def test_all_of_a_data_set(cli: Cli) -> None:
    done = cli("detokenize", "tokens", "-o", "look")
    assert (done.code, done.err) == (0, "")
    assert done.out == b"tokens -> look: 18 files of 12 documents\n"
    assert len(list(Path("look").rglob("*.png"))) == 9
    assert Path("look/index.html").exists()


@pytest.mark.usefixtures("data_set")
def test_some_rows(cli: Cli) -> None:
    done = cli("detokenize", "tokens", "-o", "look", "--items", "5", "--json")
    assert done.code == 0
    facts = json.loads(done.out)
    assert facts["output"] == "look"
    assert (facts["rows"], facts["documents"], facts["files"]) == (1, 1, 1)
    assert Path("look/items_5.txt").exists()
    assert cli("detokenize", "tokens", "-o", "last", "--items=-2:").code == 0
    assert sorted(p.name for p in Path("last").iterdir()) == [
        "index.html",
        "items_10.png",
        "items_11",
    ]
    assert cli("detokenize", "tokens", "-o", "some", "--count", "3", "--seed", "1").code == 0
    assert len(list(Path("some").iterdir())) == 4


@pytest.mark.usefixtures("data_set")
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["tokens", "-o", "look", "--items", "one"], 2, "--items: 'one' is not A:B"),
        (["tokens", "-o", "look", "--items", "90:"], 3, "none of these are among its 12 rows"),
        (["tokens", "-o", "look", "--key", "x"], 3, "there is no item with the key 'x'"),
        (["tokens", "-o", "items"], 3, "'items' is not empty"),
        (["items", "-o", "look"], 3, "'items' is no data set of `omnicodec tokenize`"),
        (["tokens"], 2, "Missing option '--output'"),
    ],
)
def test_what_is_refused(cli: Cli, arguments: list[str], code: int, says: str) -> None:
    done = cli("detokenize", *arguments)
    assert done.code == code
    assert says in done.err
    assert len(done.lines) == 1


def test_another_codec_is_one_line(cli: Cli, data_set: Path) -> None:
    manifest = json.loads((data_set / "manifest.json").read_text())
    for codec in manifest["job"]["codecs"]:
        codec["fingerprint"] = "0123456789abcdef"
    (data_set / "manifest.json").write_text(json.dumps(manifest))
    done = cli("detokenize", "tokens", "-o", "look")
    assert done.code == 5
    assert len(done.lines) == 1
    assert "begun with 0123456789abcdef" in done.err
    assert not Path("look").exists()
