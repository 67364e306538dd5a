"""The program run in this process and as a real one, and media to run it on."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from omnicodec.codecs import Image
from omnicodec.service.cli.run import run

PROGRAM = (sys.executable, "-m", "omnicodec.service.cli")

NOTES = "Tokens in, tokens out. \u00e4\u00f6\u00fc\n".encode() * 40


@dataclass(frozen=True)
class Result:
    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


Cli = Callable[..., Result]


@pytest.fixture
def cli(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return a function that runs the program in this process."""

    def call(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(arguments)
        captured = capsysbinary.readouterr()
        return Result(code, captured.out, captured.err.decode())

    return call


@pytest.fixture
def program(folder: Path) -> Cli:
    """Return a function that runs the program as a process of its own, in `folder`."""

    def call(*arguments: str, stdin: bytes = b"") -> Result:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            input=stdin,
            capture_output=True,
            cwd=folder,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode())

    return call


@pytest.fixture
def picture() -> Image:
    """Return a small picture, of no whole number of tokens."""
    y, x = np.mgrid[0:40, 0:50]
    return Image(np.stack([4 * y, 4 * x, y + x], 2).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Image) -> Path:
    """Return a working folder that holds photo.jpg and notes.txt."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    picture.save("photo.jpg")
    Path("notes.txt").write_bytes(NOTES)
    return tmp_path


@pytest.fixture
def files(folder: Path) -> Callable[[], dict[str, bytes]]:
    """Return a function that reads all files of `folder`: what a failure must not change."""

    def read() -> dict[str, bytes]:
        return {
            os.fspath(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read
