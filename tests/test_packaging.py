"""The installed wheel: what is in it, what it needs, and what importing it costs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {
    "omnicodec/codecs": "codecs",
    "omnicodec/models": "models",
    "omnicodec/service": "service",
    "omnicodec/inference": "proto/omnicodec/inference",
    "omnicodec/v1": "proto/omnicodec/v1",
}


@pytest.fixture(scope="module")
def files() -> set[str]:
    origin = metadata.distribution("omnicodec").read_text("direct_url.json")
    if origin and json.loads(origin).get("dir_info", {}).get("editable"):
        pytest.skip("an editable install has no files of its own")
    return {path.as_posix() for path in metadata.files("omnicodec") or []}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed_and_whole(files: set[str], package: str) -> None:
    folder = ROOT / PACKAGES[package]
    wanted = {".py", ".pyi", ".proto", ".safetensors"}
    sources = [path for path in folder.rglob("*") if path.suffix in wanted]
    missing = {f"{package}/{path.relative_to(folder).as_posix()}" for path in sources} - files
    assert not missing
    assert f"{package}/py.typed" in files


def test_weights_come_with_their_configuration_and_card(files: set[str]) -> None:
    folder = ROOT / "models" / "weights"
    beside = [path for path in folder.rglob("*") if path.suffix in {".json", ".md"}]
    assert {f"omnicodec/models/weights/{path.relative_to(folder)}" for path in beside} <= files
    assert sum(path.stat().st_size for path in folder.rglob("*.safetensors")) <= 60e6


def test_nothing_else_is_installed(files: set[str]) -> None:
    assert "omnicodec/__init__.py" not in files, "omnicodec is a namespace"
    info = f"omnicodec-{metadata.version('omnicodec')}.dist-info"
    allowed = (*(f"{package}/" for package in PACKAGES), f"{info}/")
    rest = {name for name in files if not name.startswith(allowed)}
    assert {Path(name).stem for name in rest} <= {"omnicodec"}, "only the command is outside"
    assert not [name for name in files if "test" in name.lower()]


def test_licence_is_in_the_wheel(files: set[str]) -> None:
    installed = metadata.distribution("omnicodec")
    assert installed.metadata["License-Expression"] == "Apache-2.0"
    (licence,) = [name for name in files if name.endswith(".dist-info/licenses/LICENSE")]
    text = Path(str(installed.locate_file(licence))).read_text()
    assert text == (ROOT / "LICENSE").read_text()
    assert "Apache License" in text


def test_version_is_the_projects() -> None:
    assert metadata.version("omnicodec") == PROJECT["project"]["version"]


def test_command_is_an_entry_point() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="omnicodec")
    assert callable(command.load())


@pytest.mark.parametrize("module", ["omnicodec.codecs", "omnicodec.models.weights"])
def test_importing_is_cheap(module: str, tmp_path: Path) -> None:
    heavy = ("torch", "grpc", "scipy", "PIL", "av", "soundfile")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert out.stdout.strip() == "[]"


def test_lock_holds_every_requirement() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = dict(line.split(" ;")[0].split("==") for line in lines if "==" in line)
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
        *PROJECT["dependency-groups"]["dev"],
    ]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in pins, "run the command at the top of requirements.lock"
        assert requirement.specifier.contains(pins[name]), requirement


def test_lock_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert not [word for word in ("://", "--", "@", "tritonclient") if word in _pins(text)]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("models", "import omnicodec.codecs"),
        ("codecs", "import omnicodec.service"),
        ("codecs", "import grpc"),
        ("codecs", "from omnicodec.v1 import codec_service_pb2_grpc"),
    ],
)
def test_import_linter_sees_a_violation(package: str, line: str, tmp_path: Path) -> None:
    spec = find_spec("omnicodec.codecs")
    assert spec is not None
    assert spec.origin is not None
    ignored = shutil.ignore_patterns("weights", "__pycache__")
    copy = shutil.copytree(Path(spec.origin).parents[1], tmp_path / "omnicodec", ignore=ignored)
    (copy / package / "_violation.py").write_text(f"{line}\n")
    linter = Path(sys.executable).with_name("lint-imports")
    out = subprocess.run(
        [linter, "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert out.returncode == 1
    assert "_violation" in out.stdout


def _pins(lock: str) -> str:
    return "\n".join(line for line in lock.splitlines() if not line.lstrip().startswith("#"))
