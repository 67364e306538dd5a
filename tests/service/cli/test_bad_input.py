"""Input that cannot be used: one line, the right exit code, and nothing written."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs.stream import frames, inspect

Cli = Callable[..., Any]


def png_header(width: int, height: int) -> bytes:
    """Return a PNG file that says how large it is, and then little else."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))


PICTURES = {
    "text.png": (b"no picture at all", 3),
    "empty.png": (b"", 3),
    "huge.png": (png_header(50_000, 50_000), 6),
    "large.png": (png_header(16_384, 8_193), 6),
    "short.png": (png_header(100, 100), 3),
}


@pytest.mark.parametrize("command", ["encode", "compress"])
@pytest.mark.parametrize("name", PICTURES)
def test_bad_pictures(cli: Cli, folder: Path, files: Any, command: str, name: str) -> None:
    content, code = PICTURES[name]
    (folder / name).write_bytes(content)
    before = files()
    done = cli(command, name)
    assert done.code == code
    assert len(done.lines) == 1
    assert done.err.startswith(f"omnicodec: {name}: ")
    assert files() == before


@pytest.mark.parametrize("name", ["cut.jpg", "cut"])
def test_cut_off_jpeg(cli: Cli, folder: Path, files: Any, name: str) -> None:
    (folder / name).write_bytes((folder / "photo.jpg").read_bytes()[:-200])
    before = files()
    done = cli("compress", name)
    assert done.code == 3
    assert "picture is damaged" in done.err
    assert files() == before


def test_a_picture_that_is_too_large_is_no_text(cli: Cli) -> None:
    assert cli("compress", "-", stdin=png_header(50_000, 50_000)).code == 6


def test_empty_text_is_a_text(cli: Cli, folder: Path) -> None:
    (folder / "empty.txt").touch()
    assert cli("compress", "empty.txt").code == 0
    assert cli("decompress", "empty.txt.omc", "-o", "back.txt").code == 0
    assert (folder / "back.txt").read_bytes() == b""


def test_files_that_are_not_there(cli: Cli, folder: Path, files: Any) -> None:
    before = files()
    for command in ("encode", "decode", "compress", "decompress", "info", "verify"):
        done = cli(command, "missing")
        assert done.code == 3, command
        assert done.err == "omnicodec: missing: cannot be read: No such file or directory\n"
        assert cli(command, str(folder)).code == 3
    assert files() == before


def test_a_file_that_is_gone_while_its_result_is_there(cli: Cli, folder: Path) -> None:
    (folder / "gone.txt.omc").touch()
    assert cli("compress", "gone.txt").err == "omnicodec: gone.txt: 'gone.txt.omc' exists; " + (
        "-f overwrites it\n"
    )
    assert "cannot be read" in cli("compress", "-f", "gone.txt").err


def test_a_modality_without_a_codec(cli: Cli, folder: Path) -> None:
    np.save(folder / "numbers.npy", np.zeros((1, 8), np.float32))
    done = cli("compress", "numbers.npy")
    assert done.code == 2
    assert done.err == "omnicodec: numbers.npy: there is no codec for series in this version\n"


def test_a_video_that_is_none(cli: Cli, folder: Path) -> None:
    (folder / "clip.mp4").write_bytes(b"some words")
    done = cli("compress", "clip.mp4")
    assert done.code == 3
    assert done.err.startswith("omnicodec: clip.mp4: not a video that can be read (MP4, MOV, ")


@pytest.fixture
def stream(cli: Cli, folder: Path) -> bytes:
    cli("compress", "notes.txt", "-o", "s.omc")
    (folder / "notes.txt").unlink()
    return (folder / "s.omc").read_bytes()


def other_header(stream: bytes, **changes: Any) -> bytes:
    """Return the stream with another header, whose checksum is right."""
    header = inspect(stream)
    _, chunks = frames.read_header(stream)
    for name, value in changes.items():
        setattr(header, name, value)
    return b"".join(frames.write_frames(header.SerializeToString(), ())) + stream[chunks:]


@pytest.mark.parametrize("command", ["decompress", "verify"])
def test_every_changed_byte_is_found(
    cli: Cli, folder: Path, files: Any, stream: bytes, command: str
) -> None:
    before = files()
    for at in range(0, len(stream), max(1, len(stream) // 40)):
        (folder / "s.omc").write_bytes(stream[:at] + bytes([stream[at] ^ 0x20]) + stream[at + 1 :])
        done = cli(command, "s.omc")
        assert done.code == 4, at
        assert done.err.startswith("omnicodec: s.omc: ")
        assert len(done.lines) == 1
    assert files().keys() == before.keys()


@pytest.mark.parametrize("command", ["decompress", "verify"])
def test_every_cut_is_found(
    cli: Cli, folder: Path, files: Any, stream: bytes, command: str
) -> None:
    before = files()
    for size in range(0, len(stream), max(1, len(stream) // 40)):
        (folder / "s.omc").write_bytes(stream[:size])
        assert cli(command, "s.omc").code == 4, size
    (folder / "s.omc").write_bytes(stream + b"more")
    assert cli(command, "s.omc").code == 4
    assert files().keys() == before.keys()


@pytest.mark.parametrize("command", ["decompress", "verify"])
@pytest.mark.parametrize("field", ["fingerprint", "prior"])
def test_streams_of_another_model(
    cli: Cli, folder: Path, files: Any, stream: bytes, command: str, field: str
) -> None:
    (folder / "s.omc").write_bytes(other_header(stream, **{field: bytes(8)}))
    before = files()
    done = cli(command, "s.omc")
    assert done.code == 5
    assert "0000000000000000" in done.err
    assert files() == before


def test_a_name_from_a_stream_cannot_drive_the_terminal(
    cli: Cli, folder: Path, stream: bytes
) -> None:
    (folder / "s.omc").write_bytes(other_header(stream, codec="x\x1b]0;owned\x07\ny"))
    done = cli("decompress", "s.omc")
    assert done.code == 2
    assert "\x1b" not in done.err
    assert len(done.lines) == 1


def test_input_that_never_ends(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnicodec.codecs.limits.MAX_TEXT_BYTES", 1 << 20)
    done = cli("compress", "/dev/zero", "-o", "x.omc")
    assert done.code == 6
    assert "over the limit" in done.err
