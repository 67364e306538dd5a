"""The program as a process: pipes, signals, terminals, and what starting it costs."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import Image, Text, compress, load

Cli = Callable[..., Any]
PROGRAM = (sys.executable, "-m", "omnicodec.service.cli")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def on_terminal(folder: Path, *arguments: str, stdout: bool, stdin: bytes = b"") -> tuple[int, str]:
    """Run with stdout or stderr on a terminal; return the exit code and what that shows."""
    ours, theirs = pty.openpty()
    streams: dict[str, Any] = {"stdout": theirs} if stdout else {"stderr": theirs}
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.PIPE,
        cwd=folder,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )
    os.close(theirs)
    shown: list[bytes] = []

    def read() -> None:  # meanwhile: a terminal holds a few kilobytes, and then its writer waits
        with contextlib.suppress(OSError):  # the other end is closed and all is read
            while piece := os.read(ours, 1 << 16):
                shown.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        process.communicate(stdin, timeout=120)
    finally:
        process.kill()
        reader.join()
        os.close(ours)
    return process.returncode, b"".join(shown).decode()


def test_exit_codes_of_the_process(program: Cli, folder: Path) -> None:
    stream = compress(Text("words"), "text/bytes")
    (folder / "ok.omc").write_bytes(stream)
    (folder / "cut.omc").write_bytes(stream[:-1])
    assert program("verify", "ok.omc").code == 0
    assert program("frobnicate").code == 2
    assert program("verify", "cut.omc", "missing").code == 4


def test_pipes(program: Cli, folder: Path) -> None:
    original = (folder / "notes.txt").read_bytes()
    stream = program("compress", "-", stdin=original)
    assert stream.code == 0
    assert program("decompress", "-", stdin=stream.out).out == original
    assert names(folder) == ["notes.txt", "photo.jpg"]


@pytest.mark.parametrize(
    "arguments", [("--help",), ("codecs",), ("info", "s.omc"), ("compress", "-h")]
)
def test_quick_commands_leave_torch_alone(folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "s.omc").write_bytes(compress(Text("words"), "text/bytes"))
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *PROGRAM[1:], *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert "torch" not in imported
    if arguments[-1] in {"--help", "-h"}:
        assert not imported & {"numpy", "PIL", "grpc", "google.protobuf", "rich.console"}


@pytest.mark.parametrize("arguments", [("compress", "notes.txt", "-o", "-"), ("encode", "-"),
                                       ("decode", "t.npz", "-o", "-")])  # fmt: skip
def test_binary_never_goes_to_a_terminal(folder: Path, arguments: tuple[str, ...]) -> None:
    load("image/vq").encode([Image.open("photo.jpg")])[0].save("t.npz")
    code, shown = on_terminal(folder, *arguments, stdout=True, stdin=b"words")
    assert code == 2
    assert shown == ""


def test_text_may_go_to_a_terminal(folder: Path) -> None:
    (folder / "s.omc").write_bytes(compress(Text("plain words\n"), "text/bytes"))
    assert on_terminal(folder, "decompress", "s.omc", "-o", "-", stdout=True) == (
        0,
        "plain words\r\n",
    )
    (folder / "s.omc").write_bytes(compress(Text(b"not\0plain"), "text/bytes"))
    assert on_terminal(folder, "decompress", "s.omc", "-o", "-", stdout=True) == (2, "")


def test_progress_is_shown_on_a_terminal_only(program: Cli, folder: Path) -> None:
    both = ("notes.txt", "missing.txt")
    code, shown = on_terminal(folder, "compress", *both, stdout=False)
    assert code == 3
    assert "files" in shown
    assert "\x1b[" in shown
    assert "omnicodec: missing.txt: cannot be read" in shown
    done = program("compress", "-f", *both)
    assert "files" not in done.err
    assert "\x1b" not in done.err


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_ctrl_c(folder: Path) -> None:
    os.mkfifo(folder / "slow.txt")
    process = start(folder, "compress", "slow.txt", "notes.txt")
    with open(folder / "slow.txt", "wb"):  # returns once the program is reading
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert names(folder) == ["notes.txt", "photo.jpg", "slow.txt"]


def test_a_broken_pipe_is_quiet(folder: Path) -> None:
    (folder / "s.omc").write_bytes(compress(Text("x" * (1 << 20)), "text/bytes"))
    process = start(folder, "decompress", "s.omc", "-o", "-")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(10) == b"x" * 10
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141


def test_a_slow_reader_gets_all(folder: Path) -> None:
    text = bytes(range(65, 91)) * 20_000
    (folder / "s.omc").write_bytes(compress(Text(text), "text/bytes"))
    for unbuffered in ("", "1"):
        process = start(folder, "decompress", "s.omc", "-o", "-", PYTHONUNBUFFERED=unbuffered)
        assert process.stdout is not None
        got = b""
        while piece := process.stdout.read1(5000):
            got += piece
        assert got == text
        assert process.wait(timeout=60) == 0


def test_serve_where_another_listens(program: Cli) -> None:
    pytest.importorskip("grpc_health")
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = program("serve", "--listen", address)
    assert done.code == 7
    assert done.err == f"omnicodec: cannot listen on {address}\n"


def test_serve_until_told_to_stop(folder: Path) -> None:
    pytest.importorskip("grpc_health")
    process = start(folder, "serve", "--listen", "127.0.0.1:0", "--preload", "text/bytes")
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"listening on 127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
