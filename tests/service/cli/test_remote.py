"""`omnicodec --server`: the same verbs, outputs and exit codes, done by a server."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, Image, Tokens, available, compress, decompress, load
from omnicodec.service import Client
from omnicodec.service.cli import remote_long, screen
from omnicodec.service.cli.run import run
from omnicodec.service.client import State
from omnicodec.service.server import RunningServer, ServerOptions, running_server

Cli = Callable[..., Any]
Log = Callable[[], list[str]]
NAME = "image/fitted"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    jobs = tmp_path_factory.mktemp("jobs")
    with running_server(ServerOptions(listen="127.0.0.1:0", jobs=jobs)) as running:
        yield running


@pytest.fixture
def remote(cli: Cli, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return a function that runs the program with the server."""
    monkeypatch.delenv("OMNICODEC_SERVER", raising=False)
    return lambda *arguments, **how: cli("--server", server.address, *arguments, **how)


def names() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def same_as_here(cli: Cli, remote: Cli, *arguments: str) -> None:
    """Run a command in two folders, once with a server; what it says and leaves is the same."""
    here, there = cli(*arguments, "-o", "here/"), remote(*arguments, "-o", "there/")
    assert (there.code, there.out) == (here.code, here.out), there.err
    told = [line for line in here.lines if "compiling" not in line]  # the first time
    assert there.err.replace("there/", "here/").splitlines() == told
    found = [path.name for path in sorted(Path("here").iterdir())]
    assert [path.name for path in sorted(Path("there").iterdir())] == found
    for name in found:
        assert Path("there", name).read_bytes() == Path("here", name).read_bytes()


@pytest.mark.usefixtures("folder")
def test_files_are_those_that_are_made_here(cli: Cli, remote: Cli) -> None:
    same_as_here(cli, remote, "compress", "photo.jpg", "notes.txt")
    same_as_here(cli, remote, "encode", "photo.jpg", "notes.txt")
    same_as_here(cli, remote, "decode", "here/photo.jpg.npz", "here/notes.txt.npz")
    same_as_here(cli, remote, "decompress", "here/photo.jpg.omc", "here/notes.txt.omc")


@pytest.mark.usefixtures("folder")
def test_settings_and_codecs(cli: Cli, remote: Cli) -> None:
    same_as_here(cli, remote, "compress", "photo.jpg", "-q", "10", "--effort", "fast")
    same_as_here(cli, remote, "encode", "photo.jpg", "-c", "text/bytes")
    for arguments, code, says in (
        (("encode", "photo.jpg", "-c", "image/vq", "-q", "51"), 2, "no quality 51"),
        (("encode", "photo.jpg", "-c", "image/nothing"), 2, "unknown codec"),
        (("encode", "photo.jpg", "-c", "notes.txt"), 2, "a server knows its own codecs"),
        (("compress", "notes.txt", "--target-size", "9"), 2, "target"),
        (("encode", "notes.txt", "-c", "image/vq"), 3, "notes.txt: "),
        (("compress", "missing.txt"), 3, "cannot be read"),
        (("encode", "notes.txt", "--device", "cpu"), 2, "--device"),
    ):
        done = remote(*arguments)
        assert done.code == code, done.err
        assert says in done.err


def test_codecs_and_info(cli: Cli, remote: Cli, folder: Path) -> None:
    assert remote("codecs").out == cli("codecs").out
    listed = json.loads(remote("codecs", "--json").out)
    assert [codec["name"] for codec in listed["codecs"]] == list(available())
    assert cli("compress", "photo.jpg").code == 0
    assert remote("info", "photo.jpg.omc").out == cli("info", "photo.jpg.omc").out
    strange = (folder / "photo.jpg.omc").read_bytes().replace(b"image/rate", b"image/none")
    (folder / "strange.omc").write_bytes(strange)
    assert remote("info", "strange.omc").code == 4  # its checksum does not hold


@pytest.mark.usefixtures("folder")
def test_pipes_and_json(remote: Cli) -> None:
    stream = remote("compress", "-", stdin=b"words").out
    assert decompress(stream).data == b"words"
    assert remote("decompress", "-", stdin=stream).out == b"words"
    facts = json.loads(remote("encode", "photo.jpg", "--json").out)["files"][0]
    assert facts["codec"] == "image/vq"
    assert facts["positions"] == len(Tokens.load("photo.jpg.npz"))


@pytest.mark.usefixtures("folder")
def test_damaged_streams(cli: Cli, remote: Cli) -> None:
    Path("long.txt").write_bytes(bytes(range(256)) * 10_000)
    assert cli("compress", "long.txt").code == 0
    stream = Path("long.txt.omc").read_bytes()
    Path("long.txt.omc").write_bytes(stream[:-5] + b"xxxxx")
    assert remote("decompress", "long.txt.omc", "-o", "out.txt").code == 4
    same_as_here(cli, remote, "decompress", "--partial", "long.txt.omc")


@pytest.mark.usefixtures("folder")
def test_sound(cli: Cli, remote: Cli) -> None:
    rng = np.random.default_rng(0)
    sound = Audio((rng.standard_normal((1, 60_000)) * 0.1).astype(np.float32), 24_000)
    sound.save("talk.wav")
    sound = Audio.open("talk.wav")  # of 16 bits
    done = remote("compress", "talk.wav", "-q", "2")
    assert done.code == 0, done.err
    stream = Path("talk.wav.omc").read_bytes()
    (expected,) = load("audio/rvq").encode([sound], quality=2)
    assert decompress(stream) == load("audio/rvq").decode([expected])[0]
    assert b"talk.wav" in stream
    same_as_here(cli, remote, "decompress", "talk.wav.omc")
    plain = (sound.samples[0] * 32768).astype("<i2").tobytes()
    live = remote("compress", "-", "--pcm", "s16le:24000:1", "-q", "2", stdin=plain).out
    assert decompress(live).samples.shape == (1, 60_000)
    heard = remote("decompress", "-", "--pcm", "s16le", "-o", "-", stdin=live)
    assert len(heard.out) == len(plain), heard.err


@pytest.mark.usefixtures("folder")
def test_what_a_server_is_not_for(cli: Cli, remote: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("compress", "notes.txt").code == 0
    done = remote("verify", "notes.txt.omc")
    assert (done.code, len(done.lines)) == (2, 1)
    assert "verify works in this process" in done.err
    monkeypatch.setenv("OMNICODEC_SERVER", "127.0.0.1:1")  # which others may set for good
    assert cli("verify", "notes.txt.omc").code == 0
    assert cli("encode", "notes.txt").code == 7
    monkeypatch.delenv("OMNICODEC_SERVER")
    for arguments, says in (
        (("encode", "notes.txt", "--server", "x:1"), "--server goes before the command"),
        (("--token", "x", "codecs"), "--token is for --server"),
        (("--server", "10.0.0.1:1", "--token", "x", "codecs"), "unencrypted"),
        (("--server", "x:1", "--tls-ca", "/no/ca.pem", "codecs"), "/no/ca.pem"),
        (("--server", "x:1", "--tls-key", "notes.txt", "codecs"), "go together"),
    ):
        done = cli(*arguments)
        assert done.code in (2, 3), done.err
        assert len(done.lines) == 1
        assert says in done.err


def test_a_server_that_is_not_there(cli: Cli, files: Callable[[], dict[str, bytes]]) -> None:
    before = files()
    for command in (("codecs",), ("encode", "notes.txt"), ("decompress", "notes.txt")):
        done = cli("--server", "127.0.0.1:1", *command)
        assert done.code == (4 if command[0] == "decompress" else 7)
        assert len(done.lines) == 1
    assert files() == before


# Long work.


@pytest.fixture
def ramps_file(fitted: ModuleType, folder: Path, ramps: Image) -> tuple[str, ...]:
    """Return a command whose work takes steps."""
    ramps.save(folder / "ramps.png")
    return "compress", "ramps.png", "-c", fitted.NAME, "--effort", "best"


def expected(ramps: Image) -> bytes:
    size = Path("ramps.png").stat().st_size
    return compress(ramps, NAME, effort="best", source_name="ramps.png", source_size=size)


def operations(server: RunningServer) -> list[State]:
    with Client(server.address) as client:
        return [found.last_state for found in client.operations(f"metadata.codec = {NAME}")]


def ctrl_c() -> None:
    """Send what a terminal sends, which the main thread gets."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def interrupted(monkeypatch: pytest.MonkeyPatch, slow: Callable[[float], None]) -> None:
    """Have the program get Ctrl-C when the first report is shown."""
    show, sent = screen.Shown.show, threading.Event()

    def shown(self: screen.Shown, progress: Any) -> None:
        show(self, progress)
        if not sent.is_set():
            sent.set()
            ctrl_c()

    monkeypatch.setattr(screen.Shown, "show", shown)
    monkeypatch.setattr(remote_long, "POLL_SECONDS", 0.02)
    slow(0.05)


def test_long_work_is_a_job(
    remote: Cli, ramps_file: tuple[str, ...], ramps: Image, server: RunningServer
) -> None:
    done = remote(*ramps_file)
    assert done.code == 0, done.err
    assert Path("ramps.png.omc").read_bytes() == expected(ramps)
    assert operations(server) == []  # the result is safe, so the server may forget it
    done = remote("encode", *ramps_file[1:], "--target-psnr", "25")
    assert done.code == 0, done.err
    assert Tokens.load("ramps.png.npz") != load(NAME).encode([ramps], effort="best")[0]
    done = remote("encode", *ramps_file[1:], "-f", "--target-psnr", "90")
    assert "the target was not met" in done.err


def test_ctrl_c_leaves_it_running_for_the_same_command(
    remote: Cli,
    ramps_file: tuple[str, ...],
    ramps: Image,
    server: RunningServer,
    fitted_log: Log,
    slow: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        interrupted(patch, slow)
        done = remote(*ramps_file)
    assert done.code == 130
    assert "goes on with operations/" in done.lines[-1]
    assert "the same command waits for it again" in done.lines[-1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not Path("ramps.png.omc").exists()
    assert len(operations(server)) == 1
    slow(0)
    assert remote(*ramps_file).code == 0
    assert [line for line in fitted_log() if line.startswith("begun")] == ["begun at 0"]
    assert Path("ramps.png.omc").read_bytes() == expected(ramps)
    assert operations(server) == []


def test_a_second_ctrl_c_cancels_it(
    remote: Cli,
    ramps_file: tuple[str, ...],
    ramps: Image,
    slow: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        interrupted(patch, slow)
        first = threading.Lock()

        def is_terminal(_: object) -> bool:  # which is asked once the first has arrived
            if first.acquire(blocking=False):
                # Not while the main thread is on its way back from the first: that would be
                # heeded only when it wakes up the next time.
                threading.Timer(0.2, ctrl_c).start()
            return True

        patch.setattr(remote_long, "is_terminal", is_terminal)
        done = remote(*ramps_file)
    assert done.code == 130
    assert done.lines[-1].endswith(" cancelled"), done.err
    assert "again within 5 seconds" in done.err
    slow(0)
    assert remote(*ramps_file).code == 0  # what was cancelled is begun anew
    assert Path("ramps.png.omc").read_bytes() == expected(ramps)


def test_a_server_without_jobs(cli: Cli, ramps_file: tuple[str, ...], ramps: Image) -> None:
    with running_server(ServerOptions(listen="127.0.0.1:0")) as server:
        done = cli("--server", server.address, *ramps_file)
        assert done.code == 0, done.err
        assert "keeps no jobs" in done.err
        assert Path("ramps.png.omc").read_bytes() == expected(ramps)
        done = cli("--server", server.address, *ramps_file, "-f", "--target-psnr", "25")
        assert done.code == 7


def test_help_says_what_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Ctrl-C leaves it running" in told
    assert "OMNICODEC_SERVER" in told
