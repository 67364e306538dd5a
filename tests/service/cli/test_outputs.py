"""Where results go, and what is never overwritten."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("folder")


def test_nothing_is_overwritten(cli: Cli, files: Any) -> None:
    cli("compress", "notes.txt")
    cli("encode", "notes.txt")
    before = files()
    for arguments in (
        ("compress", "notes.txt"),
        ("encode", "notes.txt"),
        ("decompress", "notes.txt.omc"),
        ("decode", "notes.txt.npz"),
        ("compress", "photo.jpg", "-o", "notes.txt"),
    ):
        done = cli(*arguments)
        assert done.code == 2, arguments
        assert done.err.endswith("exists; -f overwrites it\n")
    assert files() == before


def test_force_overwrites(cli: Cli) -> None:
    Path("notes.txt.omc").write_text("something else")
    assert cli("compress", "notes.txt", "-f").code == 0
    assert cli("verify", "notes.txt.omc").code == 0


def test_a_failure_leaves_what_was_there(cli: Cli, files: Any) -> None:
    Path("bad.png").write_text("no picture")
    Path("bad.png.omc").write_text("precious")
    before = files()
    assert cli("compress", "--force", "bad.png").code == 3
    assert files() == before


def test_an_input_is_never_overwritten(cli: Cli, files: Any) -> None:
    os.link("notes.txt", "link.txt")
    before = files()
    for out in ("notes.txt", "./notes.txt", "link.txt"):
        done = cli("compress", "-f", "notes.txt", "-o", out)
        assert done.code == 2
        assert "its own input" in done.err
    assert files() == before


def test_two_results_of_one_name(cli: Cli) -> None:
    Path("a").mkdir()
    Path("a/notes.txt").write_text("another")
    done = cli("compress", "-f", "notes.txt", "a/notes.txt", "-o", "out/")
    assert done.code == 2
    assert "just written for another file" in done.err
    cli("decompress", "out/notes.txt.omc", "-o", "back.txt")
    assert Path("back.txt").read_bytes() == Path("notes.txt").read_bytes()


def test_several_files_need_a_folder(cli: Cli, files: Any) -> None:
    before = files()
    for out in ("x.omc", "-"):
        done = cli("compress", "notes.txt", "photo.jpg", "-o", out)
        assert done.code == 2
        assert done.lines == ["omnicodec: several files need a folder to go to: -o DIR/"]
    assert files() == before


def test_an_existing_folder_needs_no_slash(cli: Cli) -> None:
    Path("out").mkdir()
    assert cli("compress", "notes.txt", "-o", "out").code == 0
    assert Path("out/notes.txt.omc").exists()


def test_a_folder_is_made_only_for_a_result(cli: Cli) -> None:
    assert cli("compress", "missing", "-o", "out/").code == 3
    assert not Path("out").exists()


def test_a_folder_that_is_not_there(cli: Cli, files: Any) -> None:
    before = files()
    done = cli("compress", "notes.txt", "-o", "nowhere/x.omc")
    assert done.code == 3
    assert "cannot write 'nowhere/x.omc': No such file or directory" in done.err
    done = cli("compress", "notes.txt", "-o", "photo.jpg/x.omc")
    assert done.code == 3
    assert "Not a directory" in done.err
    assert files() == before


def test_a_name_that_is_too_long(cli: Cli, files: Any) -> None:
    before = files()
    done = cli("compress", "notes.txt", "-o", "x" * 300)
    assert done.code == 3
    assert "File name too long" in done.err
    assert files() == before


def test_stdin_is_read_once(cli: Cli) -> None:
    assert cli("compress", "-", "-", "-o", "x/").code == 2


def test_json_and_a_result_do_not_share_stdout(cli: Cli) -> None:
    assert cli("compress", "notes.txt", "-o", "-", "--json").code == 2
    assert cli("compress", "-", "--json").code == 2


def test_a_link_stays_a_link(cli: Cli) -> None:
    Path("target.omc").write_text("old")
    Path("link.omc").symlink_to("target.omc")
    assert cli("compress", "notes.txt", "-o", "link.omc").code == 2
    assert cli("compress", "notes.txt", "-o", "link.omc", "-f").code == 0
    assert Path("link.omc").is_symlink()
    assert Path("target.omc").read_bytes().startswith(b"\x89OMC")


def test_devices_are_written_to_not_replaced(cli: Cli) -> None:
    assert cli("compress", "notes.txt", "-o", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()


def test_stdin_to_a_folder(cli: Cli) -> None:
    assert cli("compress", "-", "-o", "out/", stdin=b"words").code == 0
    assert cli("decompress", "out/stdin.omc").code == 0
    assert Path("out/stdin.txt").read_bytes() == b"words"


def test_a_name_that_is_no_unicode(cli: Cli) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        Path(name).write_text("words")
    except OSError:
        pytest.skip("this file system has only Unicode names")
    assert cli("compress", name).code == 0
    assert cli("info", f"{name}.omc", "--json").code == 0
    assert cli("decompress", f"{name}.omc", "-o", "back.txt").code == 0
