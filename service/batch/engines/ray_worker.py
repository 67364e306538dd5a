"""What runs on a Ray cluster's nodes: one worker, which writes shards as any engine's do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import astuple
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs import OmnicodecError
from omnicodec.service.batch.engines.base import Progress

WRITE_SHARD: Final = "omnicodec.service.batch.shards:write_shard"

_THREADS: Final = ("OMNICODEC_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
ONE_THREAD: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Floats may be added up in another order by more threads, and tokens must not depend on those."""


class Worker:
    """A Ray actor; all that goes over the network are numbers and strings.

    `write` runs in one thread while `state` answers in another.
    """

    def __init__(self, folder: str, function: str, settings: Mapping[str, Any]) -> None:
        self._folder, self._function, self._settings = Path(folder), function, dict(settings)
        self._progress: tuple[int, ...] = ()
        self._at, self._told = "", 0
        # Before numba and tokenizers are imported, which look at them once.
        os.environ |= dict.fromkeys(_THREADS, str(settings["threads"]))

    def hello(self, probe: str) -> dict[str, Any]:
        """Return facts about this process, and whether it sees the file `probe` of the driver."""
        import ray

        util: Any = ray.util
        context = ray.get_runtime_context()
        return {
            "node": context.get_node_id(),
            "address": util.get_node_ip_address(),
            "pid": os.getpid(),
            "sees": os.path.exists(probe),  # noqa: PTH110  # it raises nothing
        }

    def write(self, shard: int, blamed: Mapping[str, str], careful: bool) -> dict[str, str]:
        """Write a shard; return {}, or the error that says why it cannot be written.

        A careful one goes item by item, and which it is at is in a file as well, so that it is
        known after this process has died.
        """
        self._progress, self._at = (), ""
        module, _, name = self._function.partition(":")
        write_shard: Callable[..., Any] = getattr(import_module(module), name)
        try:
            with Place(self._folder, shard) as place:

                def at(position: str) -> None:
                    self._at = position
                    place.write(position)

                def tell(progress: Progress) -> None:
                    self._progress = astuple(progress)
                    self._told += 1

                write_shard(
                    self._folder,
                    shard,
                    tell=tell,
                    at=at,
                    blamed=blamed,
                    careful=careful,
                    **self._settings,
                )
        except OmnicodecError as e:
            return {"error": type(e).__name__, "message": str(e)}
        return {}

    def state(self) -> tuple[tuple[int, ...], str, int]:
        """Return signs of life: the last `Progress` as a tuple, the item, how often it told."""
        return self._progress, self._at, self._told


class Place:
    """The file that tells which item of a shard a worker is at, even after its death."""

    def __init__(self, folder: Path, shard: int) -> None:
        self._path = folder / ".tmp" / f"at-{shard:08d}"

    def __enter__(self) -> Place:
        self._path.parent.mkdir(exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        self._path.unlink(missing_ok=True)

    def write(self, position: str) -> None:
        """Note an item: a position of any characters, on one line."""
        os.pwrite(self._file, json.dumps(position).encode() + b"\n", 0)

    def read(self) -> str:
        """Return the item that was noted last, "" for none."""
        try:
            line, end, _ = self._path.read_bytes().partition(b"\n")
            return str(json.loads(line)) if end else ""
        except (OSError, ValueError):
            return ""
