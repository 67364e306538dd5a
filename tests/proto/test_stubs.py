"""The stubs in the repository are those of its .proto files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip("grpc_tools", reason="grpcio-tools of the group dev makes the stubs")


def test_stubs_are_not_stale(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_stubs.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in files(tmp_path)}
    assert made
    stale = [name for name, data in made.items() if (ROOT / "proto" / name).read_bytes() != data]
    left = {path.relative_to(ROOT / "proto") for path in files(ROOT / "proto")} - set(made)
    assert not stale, "run scripts/make_stubs.py"
    assert not left, "stubs of a .proto file that is gone"


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*_pb2*")) if path.suffix in {".py", ".pyi"}]
