"""Results say how they were made, and not where somebody's folders lie."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.environment import command_line, package_version


def test_environment_is_complete() -> None:
    here = asdict(Environment.here("cpu"))
    assert all(value != "" for value in here.values())
    assert here["cores"] >= 1
    assert here["threads"] >= 1
    assert here["device"] == "cpu"
    assert here["date"].endswith("+00:00")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["/opt/x/bin/omnicodec", "evaluate", "-c", "a b"], "omnicodec evaluate -c 'a b'"),
        (["/opt/x/omnicodec/service/cli/__main__.py", "codecs"], "omnicodec codecs"),
        (["scripts/bench.py", "/home/me/kodak"], "python scripts/bench.py kodak"),
        (["scripts/bench.py", "../data/kodak"], "python scripts/bench.py ../data/kodak"),
        (["/home/me/scripts/bench.py"], "python bench.py"),
        (["b.py", "--out=/home/me/o.json", "in/x"], "python b.py --out=o.json in/x"),
    ],
)
def test_commands_name_no_absolute_path(arguments: list[str], command: str) -> None:
    assert command_line(arguments) == command


def test_scripts_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = str(Path("scripts", "bench.py"))
    assert command_line([str(Path.cwd() / script)]) == f"python {script}"


def test_version_of_what_is_not_installed() -> None:
    assert package_version("no-such-distribution-anywhere") == "not installed"
