"""`text/info` at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import Text, Tokens, load
from omnicodec.codecs.stream import inspect

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("folder")


def test_text_comes_back_from_tokens_and_streams(cli: Cli) -> None:
    original = Path("notes.txt").read_bytes()
    assert cli("encode", "notes.txt", "-c", "text/info").code == 0
    assert [Tokens.load("notes.txt.npz")] == load("text/info").encode([Text(original)])
    assert cli("decode", "notes.txt.npz", "-o", "-").out == original
    assert cli("compress", "notes.txt", "-c", "text/info").code == 0
    assert inspect(Path("notes.txt.omc").read_bytes()).codec == "text/info"
    assert cli("verify", "notes.txt.omc").code == 0
    assert cli("decompress", "notes.txt.omc", "-o", "-").out == original


def test_bytes_that_are_no_text(cli: Cli) -> None:
    data = b"\xff\0\xfe" * 50
    stream = cli("compress", "-", "-c", "text/info", stdin=data).out
    assert cli("decompress", "-", stdin=stream).out == data


def test_facts(cli: Cli) -> None:
    listed = json.loads(cli("codecs", "--json").out)["codecs"]
    (facts,) = [codec for codec in listed if codec["name"] == "text/info"]
    assert facts["codebook_sizes"] == [65536]
    assert facts["lossless"]
    assert facts["fingerprint"] == load("text/info").spec.fingerprint
