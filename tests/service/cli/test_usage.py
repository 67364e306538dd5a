"""Arguments: help, global options, and what is refused before any work."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from omnicodec.codecs import available, describe

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("folder")

COMMANDS = (
    "codecs", "encode", "decode", "compress", "decompress", "info", "verify", "tokenize",
    "detokenize", "report", "evaluate", "train", "serve", "warm",
)  # fmt: skip


def test_help_names_all_commands(cli: Cli) -> None:
    text = cli("--help").out.decode()
    listed = re.findall(r"^  (\w+)  +[A-Z]", text, re.MULTILINE)
    assert listed == [*COMMANDS]
    assert "..." not in text.partition("Commands:")[2]
    assert "Examples:" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_plain_and_has_an_example(cli: Cli, command: str) -> None:
    done = cli(command, "--help")
    text = done.out.decode()
    assert done.code == 0
    assert text.startswith(f"Usage: omnicodec {command} [")
    assert f"\n    omnicodec {command}" in text.partition("Examples:")[2]
    assert text.isascii()
    assert not set(text) & set("{}")
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_tells_its_default(cli: Cli, command: str) -> None:
    options = cli(command, "--help").out.decode().partition("Options:")[2].partition("Examples")[0]
    for option in re.split(r"\n  (?=-)", options)[1:]:
        told = "Default:" in option or "[required]" in option or "Show this message" in option
        assert told, option


def test_nothing_shows_the_help(cli: Cli) -> None:
    done = cli()
    assert done.code == 2
    assert done.out == b""
    assert done.err.startswith("Usage: omnicodec [OPTIONS] COMMAND ...")


def test_version(cli: Cli) -> None:
    done = cli("--version")
    assert done.code == 0
    assert done.out.startswith(b"omnicodec ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["compress"], "Missing argument 'FILE'; see omnicodec compress --help"),
        (["compress", "--frob", "x"], "No such option"),
        (["compress", "photo.jpg", "--debug"], "--debug goes before the command"),
        (["compress", "photo.jpg", "-q", "101"], "101 is not in 0..100"),
        (["compress", "photo.jpg", "-q", "-1"], "-1 is not in 0..100"),
        (["compress", "photo.jpg", "-q", "high"], "Invalid value for '--quality' / '-q'"),
        (["compress", "notes.txt", "-q", "50"], "text/bytes has no quality 50; known: none"),
        (["encode", "photo.jpg", "-c", "image/vq", "-q", "51"], "image/vq has no quality 51"),
        (
            ["compress", "photo.jpg", "--effort", "high"],
            "image/rate has no effort 'high'; known: fast, best",
        ),
        (["encode", "notes.txt", "--method", "x"], "text/bytes has no method 'x'; known: none"),
        (["compress", "photo.jpg", "-c", "image/none"], "unknown codec 'image/none'; known: "),
        (["compress", "photo.jpg", "-c", "image/vq@99"], "not '99'"),
        (["compress", "photo.jpg", "-o", ""], "-o needs a name"),
        (["train", "image/vq", "x"], "Missing option"),
        (["train", "image/none", "x", "-o", "r"], "no recipe trains 'image/none'"),
        (["train", "image/vq", "x", "-o", "r", "--set", "batch"], "--set needs KEY=VALUE"),
        (["evaluate", "x"], "Missing option"),
        (["serve", "--preload", "image/none"], "unknown codec 'image/none'"),
    ],
)
def test_misuse(cli: Cli, files: Any, arguments: list[str], says: str) -> None:
    before = files()
    done = cli(*arguments)
    assert done.code == 2
    assert done.out == b""
    assert len(done.lines) == 1
    assert done.err.startswith("omnicodec: ")
    assert says in done.err
    assert files() == before


def test_a_device_that_is_no_device(cli: Cli) -> None:
    done = cli("compress", "photo.jpg", "--device", "abacus")
    assert done.code == 3
    assert "unknown device 'abacus'" in done.err
    done = cli("--device", "abacus", "compress", "photo.jpg")
    assert "unknown device 'abacus'" in done.err
    assert cli("--device", "abacus", "compress", "photo.jpg", "--device", "cpu").code == 0


def test_debug_shows_the_traceback(cli: Cli) -> None:
    done = cli("--debug", "compress", "missing.txt")
    assert done.code == 3
    assert "Traceback" in done.err
    assert done.lines[-1].startswith("omnicodec: missing.txt: ")
    done = cli("--debug", "info", "missing.omc")
    assert "Traceback" in done.err


def test_an_unexpected_error_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug\nin two lines")

    monkeypatch.setattr("omnicodec.codecs.compress", broken)
    done = cli("compress", "photo.jpg", "notes.txt")
    assert done.code == 1
    assert len(done.lines) == 2
    assert "unexpected error, please report it: ZeroDivisionError" in done.err


def test_codecs_lists_all(cli: Cli) -> None:
    head, *rows = cli("codecs").out.decode().splitlines()
    assert head.split()[:2] == ["NAME", "MODALITY"]
    assert [row.split()[0] for row in rows] == list(available())
    (many,) = (row for row in rows if row.startswith("image/rate"))
    assert " 6x4095 250x1023 " in many
    (row,) = (row for row in rows if row.startswith("image/vq "))
    assert re.search(r"16x16 pixels +65536 +16 +no +\d+\.\d MB +Apache-2.0$", row)


def test_codecs_show_methods(cli: Cli, cased: str) -> None:
    (row,) = (row for row in cli("codecs").out.decode().splitlines() if row.startswith(cased))
    assert row.endswith(" keep upper")
    facts = json.loads(cli("codecs", "--json").out)["codecs"]
    assert {f["name"]: f["methods"] for f in facts}[cased] == ["keep", "upper"]


def test_codecs_json(cli: Cli) -> None:
    codecs = json.loads(cli("codecs", "--json").out)["codecs"]
    for facts in codecs:
        spec = describe(facts["name"])
        assert facts["fingerprint"] == spec.fingerprint
        assert (facts["streaming"], facts["resumable"]) == (spec.streaming, spec.resumable)
        assert facts["bits_per_position"] == sum(map(math.log2, spec.codebook_sizes))
    assert {facts["name"] for facts in codecs if facts["default"]} == {
        "image/vq",
        "audio/rvq",
        "text/bytes",
        "video/inr",
    }
