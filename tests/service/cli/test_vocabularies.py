"""`-c tokenizer.json`: vocabularies that are no names, and `text/bpe` itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import Tokens, load

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def vocabulary() -> Path:
    """Return a vocabulary that differs from the shipped one."""
    codec = load("text/bpe")
    path = Path("mine.json")
    path.write_bytes(codec.to_json().replace(b'"ignore_merges":false', b'"ignore_merges":true'))
    return path


def test_text_comes_back_by_each_method(cli: Cli) -> None:
    data = b"unbelievable \xff\0 words\n" * 9
    for method in ("bpe", "lbpe"):
        archive = cli("encode", "-", "-c", "text/bpe", "--method", method, stdin=data).out
        assert Tokens.load(archive).codec == "text/bpe"
        assert cli("decode", "-", stdin=archive).out == data
        stream = cli("compress", "-", "-c", "text/bpe", "--method", method, stdin=data).out
        assert cli("decompress", "-", stdin=stream).out == data


def test_a_file_as_codec(cli: Cli, vocabulary: Path) -> None:
    original = Path("notes.txt").read_bytes()
    assert cli("encode", "notes.txt", "-c", str(vocabulary)).code == 0
    tokens = Tokens.load("notes.txt.npz")
    assert tokens.fingerprint == load(vocabulary).spec.fingerprint
    assert cli("decode", "notes.txt.npz", "-c", str(vocabulary), "-o", "-").out == original
    refused = cli("decode", "notes.txt.npz", "-o", "-")
    assert refused.code == 5
    assert "tokens were made by text/bpe" in refused.lines[0]


def test_a_file_is_evaluated(cli: Cli, vocabulary: Path) -> None:
    done = cli("evaluate", "-c", str(vocabulary), "notes.txt", "--json")
    assert json.loads(done.out)["fingerprint"] == load(vocabulary).spec.fingerprint


def test_streams_name_no_files(cli: Cli, vocabulary: Path) -> None:
    """A stream could not be opened again: its header has a name and no vocabulary."""
    assert cli("compress", "notes.txt", "-c", str(vocabulary)).code == 2


def test_what_is_no_vocabulary(cli: Cli) -> None:
    assert cli("encode", "notes.txt", "-c", "photo.jpg").code == 3
    assert cli("encode", "notes.txt", "-c", "nowhere.json").code == 2


def test_archives_never_open_files(cli: Cli, vocabulary: Path) -> None:
    cli("encode", "notes.txt", "-c", str(vocabulary))
    tokens = Tokens.load("notes.txt.npz")
    Tokens(str(vocabulary), tokens.fingerprint, tokens.ids, tokens.grid).save("evil.npz")
    assert cli("decode", "evil.npz", "-o", "-").code == 2
