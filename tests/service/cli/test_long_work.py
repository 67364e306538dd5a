"""Encodes that take minutes on the command line: what is shown, Ctrl-C, and going on."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from omnicodec.codecs import Image, Tokens, compress, load
from omnicodec.service.cli import screen

Cli = Callable[..., Any]
Log = Callable[[], list[str]]
NAME = "image/fitted"
TOLD = "interrupted: keeping what there is; again, and it ends at once"
COMPRESS = ("compress", "ramps.png", "-c", NAME, "--effort", "best")


pytestmark = pytest.mark.usefixtures("fitted", "picture_file")


@pytest.fixture
def picture_file(folder: Path, ramps: Image) -> Path:
    ramps.save("ramps.png")
    return folder / "ramps.png"


@pytest.fixture
def expected(fitted: ModuleType, picture_file: Path, ramps: Image) -> bytes:
    """Return the stream of an undisturbed run of `COMPRESS`."""
    size = picture_file.stat().st_size
    return compress(
        ramps, fitted.NAME, effort="best", source_name=picture_file.name, source_size=size
    )


@dataclass
class Terminal:
    """A process on a terminal of its own, and what that has shown."""

    process: subprocess.Popen[bytes]
    handle: int
    shown: str = ""

    def until(self, pattern: str) -> None:
        while not (found := re.search(pattern, self.shown)) and self._read():
            pass
        assert found, self.shown

    def end(self) -> int:
        while self._read():
            pass
        return self.process.wait(timeout=30)

    def _read(self) -> bool:
        try:
            piece = os.read(self.handle, 1 << 16)
        except OSError:  # the other end is closed
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)


@pytest.fixture
def terminal(folder: Path, fitted: ModuleType) -> Iterator[Callable[..., Terminal]]:
    """Return a function that runs the program on a terminal."""
    terminals: list[Terminal] = []

    def run(*arguments: str, sleep: float = 0.0, only_stderr: bool = False) -> Terminal:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, fitted.__file__, *arguments],
            cwd=folder,
            env={**os.environ, "TERM": "xterm", fitted.SLEEP: str(sleep)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if only_stderr else theirs,
            stderr=theirs,
        )
        os.close(theirs)
        terminals.append(Terminal(process, ours))
        return terminals[-1]

    yield run
    for terminal in terminals:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.handle)


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.name.startswith("ramps"))


def test_ctrl_c_and_the_same_command_again(
    terminal: Callable[..., Terminal], fitted_log: Log, expected: bytes
) -> None:
    first = terminal(*COMPRESS, sleep=0.1)
    first.until(r"step ([7-9]|\d\d),")  # a terminal does not show every step
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 130
    lines = first.shown.splitlines()
    assert lines[-1] == "omnicodec: interrupted; the same command goes on from 'ramps.png.omc.part'"
    assert lines[-2].endswith(TOLD)
    for word in ("ramps.png", " bytes, ", " dB, ", " left", "\x1b[?25h"):
        assert word in first.shown
    assert names() == ["ramps.png", "ramps.png.omc.part"]
    second = terminal(*COMPRESS)
    assert second.end() == 0
    assert "ramps.png: going on from 'ramps.png.omc.part'" in second.shown
    assert Path("ramps.png.omc").read_bytes() == expected
    assert names() == ["ramps.png", "ramps.png.omc"]
    begun = [int(line.split()[-1]) for line in fitted_log() if line.startswith("begun")]
    assert begun[:1] == [0] or begun[:2] == [0, 0]  # `expected` is one of them
    assert 7 <= begun[-1] < 60


def test_a_second_ctrl_c_ends_at_once(terminal: Callable[..., Terminal], fitted_log: Log) -> None:
    shown = terminal(*COMPRESS, "-o", "-", sleep=30, only_stderr=True)
    shown.until("0%")
    while not fitted_log():
        time.sleep(0.01)
    shown.process.send_signal(signal.SIGINT)
    shown.until("ends at once")
    shown.process.send_signal(signal.SIGINT)
    assert shown.end() == -signal.SIGINT
    assert names() == ["ramps.png"]


def test_sigterm_leaves_a_checkpoint_too(fitted: ModuleType, folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, fitted.__file__, "encode", *COMPRESS[1:]],
        cwd=folder,
        env={**os.environ, fitted.SLEEP: "0.1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    part = folder / "ramps.png.npz.part"
    while not part.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines() == [
        TOLD,
        "omnicodec: interrupted; the same command goes on from 'ramps.png.npz.part'",
    ]
    assert names() == ["ramps.png", "ramps.png.npz.part"]


def cancelled_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Have `image/fitted` get Ctrl-C at a step, once."""
    report = screen.Shown.show

    def show(self: screen.Shown, progress: Any) -> None:
        if progress.step == step:
            signal.raise_signal(signal.SIGINT)
        report(self, progress)

    monkeypatch.setattr(screen.Shown, "show", show)


@pytest.mark.parametrize(
    ("change", "goes_on"),
    [
        ((), True),
        (("--target-psnr", "90"), True),
        (("-q", "10"), False),
        (("--effort", "fast"), False),
    ],
)
def test_only_the_same_work_is_gone_on_with(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    fitted_log: Log,
    change: tuple[str, ...],
    goes_on: bool,
) -> None:
    with monkeypatch.context() as patch:
        cancelled_at(patch, 9)
        assert cli(*COMPRESS).code == 130
    assert names() == ["ramps.png", "ramps.png.omc.part"]
    done = cli(*COMPRESS, *change)
    assert done.code == 0
    told = "going on from" if goes_on else "beginning anew, not the work of"
    assert done.lines[0] == f"ramps.png: {told} 'ramps.png.omc.part'"
    assert fitted_log()[1] == ("begun at 10" if goes_on else "begun at 0")
    assert names() == ["ramps.png", "ramps.png.omc"]


def test_a_changed_input_is_other_work(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, fitted_log: Log, ramps: Image
) -> None:
    with monkeypatch.context() as patch:
        cancelled_at(patch, 9)
        assert cli(*COMPRESS).code == 130
    changed = ramps.pixels.copy()
    changed[0, 0] += 1
    Image(changed).save("ramps.png")
    assert cli(*COMPRESS).code == 0
    assert fitted_log() == ["begun at 0", "begun at 0", "done at 60"]


def test_ctrl_c_ends_all_files(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("ramps2.png").write_bytes(Path("ramps.png").read_bytes())
    cancelled_at(monkeypatch, 9)
    done = cli("encode", "ramps.png", "ramps2.png", "-c", NAME, "-o", "out/")
    assert done.code == 130
    assert [path.name for path in Path("out").iterdir()] == ["ramps.png.npz.part"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_lines_come_in_order_however_late_the_first(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = screen.Screen.stop

    def late(self: screen.Screen) -> None:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.3)
        stop(self)

    monkeypatch.setattr(screen.Screen, "stop", late)
    cancelled_at(monkeypatch, 9)
    went_on = "omnicodec: interrupted; the same command goes on from 'ramps.png.omc.part'"
    assert cli(*COMPRESS).lines == [TOLD, went_on]


def test_ctrl_c_behind_the_last_step_ends_the_other_files(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, fitted_log: Log
) -> None:
    Path("ramps2.png").write_bytes(Path("ramps.png").read_bytes())
    cancelled_at(monkeypatch, 20)
    done = cli("encode", "ramps.png", "ramps2.png", "-c", NAME, "-o", "out/")
    assert done.code == 130
    assert done.lines[-1] == "omnicodec: interrupted"
    assert [path.name for path in Path("out").iterdir()] == ["ramps.png.npz"]
    assert fitted_log() == ["begun at 0", "done at 20"]


def test_targets(cli: Cli, ramps: Image) -> None:
    assert cli("encode", *COMPRESS[1:], "--target-psnr", "25").code == 0
    early = Tokens.load("ramps.png.npz")
    assert early != load(NAME).encode([ramps], effort="best")[0]
    (decoded,) = load(NAME).decode([early])
    error = (decoded.pixels[..., 0] - ramps.pixels.mean(2)) ** 2
    assert error.mean() < 255**2 * 10**-2.5
    done = cli("encode", *COMPRESS[1:], "-f", "--target-psnr", "25", "--target-size", "100k")
    assert (done.code, Tokens.load("ramps.png.npz")) == (0, early)
    done = cli("encode", *COMPRESS[1:], "-f", "--target-psnr", "25", "--target-size", "100")
    assert done.code == 0
    assert done.lines[0].startswith("ramps.png: the target was not met: ")
    assert done.lines[0].endswith(" dB")


@pytest.mark.parametrize(
    ("size", "code"),
    [("4000", 0), ("1.5k", 0), ("2MB", 0), ("1Gi", 0), ("3KiB", 0), ("0", 2), ("0.1", 2), ("k", 2),
     ("-1", 2), ("2m", 2), ("many", 2), ("1e3", 2)],
)  # fmt: skip
def test_sizes(cli: Cli, size: str, code: int) -> None:
    done = cli("compress", "ramps.png", "-c", NAME, f"--target-size={size}")
    assert done.code == code, done.err


def test_targets_are_for_codecs_that_take_them(cli: Cli) -> None:
    for arguments in (
        ("compress", "notes.txt", "--target-size", "9"),
        ("encode", "notes.txt", "-c", "text/bytes", "--target-psnr", "30"),
        ("encode", "ramps.png", "-c", NAME, "--target-psnr", "0"),
        ("encode", "ramps.png", "-c", NAME, "--target-psnr", "nan"),
    ):
        done = cli(*arguments)
        assert (done.code, len(done.lines)) == (2, 1)
        assert "target" in done.err
    assert names() == ["ramps.png"]


def test_files_of_others_are_no_checkpoints(cli: Cli) -> None:
    part = Path("ramps.png.omc.part")
    part.write_bytes(b"half a download")
    done = cli(*COMPRESS)
    assert done.code == 2
    assert "is some other file" in done.err
    assert part.read_bytes() == b"half a download"


def test_stdout_has_no_checkpoint(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, expected: bytes
) -> None:
    assert cli(*COMPRESS, "-o", "-").out == expected
    cancelled_at(monkeypatch, 9)
    done = cli(*COMPRESS, "-o", "-")
    assert (done.code, done.out) == (130, b"")
    assert done.lines[-1] == "omnicodec: interrupted"
    assert names() == ["ramps.png"]


def test_lines_where_there_is_no_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(cli(*COMPRESS).lines) == 1
    monkeypatch.setattr(screen, "LINE_SECONDS", 0.0)
    done = cli(*COMPRESS, "-f")
    assert len(done.lines) == 61
    assert done.lines[2].startswith("ramps.png: 5 %, step 3, ")
    assert done.lines[2].endswith(" dB, 0:01 left")
    assert "\x1b" not in done.err
