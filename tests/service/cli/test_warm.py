"""warm: what is compiled ahead, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnicodec import codecs
from omnicodec.models.kernels import Kernel

Cli = Callable[..., Any]

FOUND = Kernel("a.found", 0.0, Path("/cache"))
MADE = Kernel("a.made", 2.25, Path("/cache"))
LOST = Kernel("a.lost", 1.0, None)


@pytest.fixture
def warmed(crew: Any, monkeypatch: pytest.MonkeyPatch) -> list[Kernel]:
    """Return the loops that the only codec calls when it is warmed."""
    codec = codecs.load(crew.name)
    calls: list[Kernel] = []
    known: list[Kernel] = []
    monkeypatch.setattr(codecs, "available", lambda: (crew.name,))
    monkeypatch.setattr(type(codec.prior), "warm", lambda _: known.extend(calls))
    monkeypatch.setattr("omnicodec.models.kernels.kernels", lambda: list(known))
    return calls


def test_it_says_what_it_did(cli: Cli, warmed: list[Kernel]) -> None:
    warmed += [FOUND, MADE]
    done = cli("warm")
    assert (done.code, done.err) == (0, "")
    assert done.out.decode().splitlines() == [
        "a.found: found compiled in /cache",
        "a.made: compiled in 2.2 s, kept in /cache",
    ]


def test_json(cli: Cli, warmed: list[Kernel]) -> None:
    warmed += [FOUND, MADE]
    assert json.loads(cli("warm", "--json").out)["kernels"] == [
        {"name": "a.found", "compiled": False, "seconds": 0.0, "folder": "/cache"},
        {"name": "a.made", "compiled": True, "seconds": 2.25, "folder": "/cache"},
    ]


@pytest.mark.usefixtures("warmed")
def test_nothing_to_compile(cli: Cli) -> None:
    assert cli("warm").out == b"there is nothing to compile\n"
    assert json.loads(cli("warm", "--json").out) == {"kernels": []}


def test_it_fails_when_nothing_can_be_kept(cli: Cli, warmed: list[Kernel]) -> None:
    warmed += [FOUND, LOST]
    done = cli("warm")
    assert done.code == 1
    assert b"a.lost: compiled in 1.0 s, kept nowhere" in done.out
    assert done.err == (
        "omnicodec: no folder for compiled loops can be written; set NUMBA_CACHE_DIR to one\n"
    )
