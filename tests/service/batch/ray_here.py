"""A small Ray cluster on this machine, started once for all tests, and shards that misbehave.

Import the fixture `cluster` where it is needed. Workers find this module by its name, `ray_here`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.engines.base import Progress
from omnicodec.service.batch.engines.ray_cluster import connected


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    pytest.importorskip("ray")
    here = str(Path(__file__).parent)
    before, folder = os.environ.get("PYTHONPATH"), Path.cwd()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (before, here)))
    # Workers have the driver's folder in their path, where `codecs` must not be found.
    os.chdir(tmp_path_factory.mktemp("ray"))
    try:
        with connected(None, 2) as module:
            yield module
    finally:
        os.chdir(folder)
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def write(
    folder: Path,
    shard: int,
    *,
    tell: Callable[[Progress], None],
    at: Callable[[str], None],
    blamed: Mapping[str, str],
    careful: bool,
    device: str,
    threads: int,
) -> None:
    """Write a shard of four items as the files of the folder `deeds` say: "die", "hang", "fail"."""
    for item in range(4):
        position = f"{shard}/{item}"
        if careful:
            at(position)
        deed = folder / "deeds" / f"{shard}-{item}"
        if position in blamed:
            (folder / f"blamed-{shard}-{item}").write_text(blamed[position])
        elif deed.exists():
            what = deed.read_text()
            if what.endswith("once"):
                deed.unlink()
            if what.startswith("die"):
                os.kill(os.getpid(), signal.SIGKILL)
            if what.startswith("hang"):
                time.sleep(600)
            if what == "fault":
                raise RuntimeError("no such thing")
            raise InvalidInput(f"{what}: no space left")
        if careful:
            at("")
        tell(Progress(shard, item + 1, 0, 10 * (item + 1), 100))
    (folder / f"done-{shard}").write_text(f"{device} {threads} {os.getpid()}")
