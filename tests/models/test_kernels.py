"""Compiled loops: found again, never stale, and at work also where nothing can be written."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numba
import pytest

from omnicodec.models import kernels as module
from omnicodec.models.kernels import Kernel, kernels

CONSTANTS, LOOP, OTHER = "constants_of_loop", "loop_under_test", "loop_elsewhere"
SOURCE = f"""
from omnicodec.models.kernels import kernel
from {CONSTANTS} import STEP

@kernel
def count(n):
    total = 0
    for _ in range(n):
        total += STEP
    return total
"""
SOURCE_ELSEWHERE = """
from omnicodec.models.kernels import kernel
{line}

@kernel
def count_twice(n):
    return 2 * {count}(n)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a loop, beside an empty one for a user's caches."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / f"{LOOP}.py").write_text(SOURCE)
    (folder / f"{CONSTANTS}.py").write_text("STEP = 1\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it would not notice quick changes
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return folder


@pytest.fixture
def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ModuleType]:  # noqa: ARG001
    """Return a function that imports the loop as a new process would."""

    def load() -> ModuleType:
        for name in (CONSTANTS, LOOP, OTHER):
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        module._home.cache_clear()
        module._key.cache_clear()
        monkeypatch.setattr(module, "_watch", module._Watch())
        return importlib.import_module(LOOP)

    return load


def only(name: str = f"{LOOP}.count") -> Kernel:
    (found,) = kernels()
    assert found.name == name
    return found


def refuse(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Make it impossible to write to folders, which for root no mode of a folder does."""
    able = module._writable

    def writable(folder: Path) -> bool:
        return not any(folder.is_relative_to(no) for no in folders) and able(folder)

    monkeypatch.setattr(module, "_writable", writable)


def test_a_loop_is_compiled_once(folder, load, capfd) -> None:
    first = load()
    assert kernels() == []
    assert capfd.readouterr().err == ""
    assert first.count(5) == 5
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "omnicodec: compiling loops, which takes some seconds, once on this machine"
    made = only()
    assert made.seconds > 0
    assert made.folder is not None
    assert made.folder.parent == folder / "__pycache__"
    assert load().count(5) == 5
    assert only() == Kernel(made.name, 0.0, made.folder)
    assert capfd.readouterr().err == ""
    assert numba.config.CACHE_DIR == ""


def test_a_changed_constant_of_another_file_is_noticed(folder, load) -> None:
    assert load().count(5) == 5
    (folder / f"{CONSTANTS}.py").write_text("STEP = 3\n")
    assert load().count(5) == 15
    assert only().seconds > 0


@pytest.mark.parametrize(
    ("line", "count"), [(f"from {LOOP} import count", "count"), (f"import {LOOP}", f"{LOOP}.count")]
)
def test_a_change_in_a_loop_that_is_called_is_noticed(
    folder, load, tmp_path, monkeypatch, line, count
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / f"{OTHER}.py").write_text(SOURCE_ELSEWHERE.format(line=line, count=count))
    monkeypatch.syspath_prepend(elsewhere)
    for step in (1, 3):
        (folder / f"{CONSTANTS}.py").write_text(f"STEP = {step}\n")
        load()
        assert importlib.import_module(OTHER).count_twice(5) == 10 * step
        assert only(f"{OTHER}.count_twice").seconds > 0  # with the one inside of it
    load()
    assert importlib.import_module(OTHER).count_twice(5) == 30
    assert only(f"{OTHER}.count_twice").seconds == 0


def test_the_folder_of_the_variable_comes_first(load, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "mine"))
    assert load().count(5) == 5
    assert only().folder.parent == tmp_path / "mine"
    assert numba.config.CACHE_DIR == str(tmp_path / "mine")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/dev/null/none")
    assert load().count(5) == 5
    assert only().folder is None


def test_where_the_package_cannot_be_written_a_user_has_a_folder(
    folder, load, tmp_path, monkeypatch
) -> None:
    refuse(monkeypatch, folder)
    assert load().count(5) == 5
    assert only().folder.parent == tmp_path / "caches" / "omnicodec"
    load().count(5)
    assert only().seconds == 0


def test_without_any_folder_loops_live_in_memory(folder, load, monkeypatch, capfd) -> None:
    refuse(monkeypatch, Path("/"))
    assert load().count(5) == 5
    assert only().folder is None
    assert only().seconds > 0
    assert "as there is no folder to keep them" in capfd.readouterr().err
    assert not list(folder.rglob("*.nbi"))


def test_what_an_administrator_compiled_is_used_as_it_is(
    folder, load, tmp_path, monkeypatch, capfd
) -> None:
    assert load().count(5) == 5
    made = only().folder
    before = sorted(path.name for path in made.rglob("*"))
    capfd.readouterr()
    refuse(monkeypatch, folder, tmp_path / "caches")
    assert load().count(5) == 5
    assert only() == Kernel(only().name, 0.0, made)
    assert load().count(5.0) == 5  # of another type: to be compiled, in the copy
    assert only().folder is None
    assert sorted(path.name for path in made.rglob("*")) == before
    assert capfd.readouterr().err.count("compiling") == 1


def test_without_room_for_a_copy_loops_are_compiled(load, monkeypatch) -> None:
    load().count(5)
    refuse(monkeypatch, Path("/"))
    monkeypatch.setattr(
        module.tempfile, "mkdtemp", lambda prefix: Path("/dev/null", prefix).mkdir()
    )
    assert load().count(5) == 5
    assert only().seconds > 0
    assert only().folder is None


def test_a_user_without_home(folder, load, monkeypatch) -> None:
    def home() -> Path:
        raise RuntimeError("no home")

    refuse(monkeypatch, folder)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", home)
    assert load().count(5) == 5
    assert only().folder is None


def test_interpreted_loops_are_plain_functions(load, monkeypatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert load().count(5) == 5
    assert kernels() == []
