"""Stands in for `shards.write_shard`: what it does is told by `job.json`, by shard and time."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omnicodec.codecs import LimitExceeded
from omnicodec.service.batch.documents import Reject
from omnicodec.service.batch.engines.base import Progress
from omnicodec.service.batch.folder import Folder, commit_shard
from omnicodec.service.batch.records import Record


def write_shard(
    folder: Path,
    shard: int,
    *,
    tell: Callable[[Progress], None],
    at: Callable[[str], None],
    blamed: Mapping[str, str],
    careful: bool,
    **settings: Any,
) -> Record:
    home = Folder(folder)
    script = json.loads(home.job.read_bytes()).get(str(shard), {})
    with open(home.path / "log", "a") as log:
        facts = {"shard": shard, "careful": careful, "pid": os.getpid(), **settings}
        threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OMNICODEC_THREADS")}
        log.write(json.dumps({**facts, "environment": threads}) + "\n")
    temporary = home.temporary(str(shard))
    (temporary / f"{shard:08d}.bin").write_bytes(bytes([shard]) * 1000)
    rejects = []
    tell(Progress(shard, 0, 0, 0, 0))
    for number in range(4):
        position = f"{shard}#{number}"
        if careful:
            at(position)
        if position in blamed:
            rejects.append(Reject(position, str(number), "Crash", blamed[position]))
            continue
        what = script.get(str(number))
        if what == "once" and not careful:
            what = "die"
        match what:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(1000)
            case "memory":
                raise MemoryError
            case "limit":
                raise LimitExceeded("one line")
            case "bug":
                raise ZeroDivisionError("a bug")
            case "wait":
                time.sleep(0.3)
    record = Record(
        shard=shard,
        items=4,
        written=4 - len(rejects),
        rejects=len(rejects),
        rows=4 - len(rejects),
        tokens=1000,
        reasons={"Crash": len(rejects)} if rejects else {},
    )
    found = commit_shard(folder, temporary, record, rejects)
    if script.get("then") == "die" and not careful:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
