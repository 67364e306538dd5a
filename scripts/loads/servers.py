"""The server under load: started here, killed, started again, and watched through /proc."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from omnicodec.codecs import Unavailable

_START_SECONDS: Final = 300.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class ServerProcess:
    """`omnicodec serve` with further arguments; ended with the context."""

    def __init__(self, arguments: list[str], listen: str = "127.0.0.1:0") -> None:
        self.address = listen
        self.starts = 0
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, where it listened before if it did; raises `Unavailable` when it does not."""
        command = [sys.executable, "-m", "omnicodec.service.cli", "serve"]
        command += ["--listen", self.address, *self._arguments]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._process = process
        found: queue.Queue[str] = queue.Queue()
        said: list[str] = []

        def read() -> None:  # to the end: a full pipe would stop the server
            for line in process.stderr or ():
                said.append(line)
                del said[:-20]
                if address := re.search(r"listening on ([^\s\"]+:\d+)", line):
                    found.put(address[1])
            found.put("")

        threading.Thread(target=read, daemon=True).start()
        try:
            address = found.get(timeout=_START_SECONDS)
        except queue.Empty:
            address = ""
        if not address:
            self.kill()
            raise Unavailable(f"the server did not start: {''.join(said).strip()}")
        self.address = address
        self.starts += 1

    def kill(self) -> None:
        """End it at once, as a lost machine does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Usage:
    """What a process and its children use at a time."""

    at: float
    memory: int
    files: int
    threads: int


def usage(pid: int) -> Usage:
    """Return what a process and its children use; raises `OSError` when it is gone."""
    memory = files = threads = 0
    for each in (pid, *_children(pid)):
        root = Path("/proc") / str(each)
        try:
            memory += int((root / "statm").read_text().split()[1]) * _PAGE
            files += len(list((root / "fd").iterdir()))
            threads += len(list((root / "task").iterdir()))
        except OSError:
            if each == pid:  # the others come and go
                raise
    return Usage(time.time(), memory, files, threads)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *_children(child)]
    return found


class Watcher:
    """Takes samples of a process's usage in a thread, until it is stopped."""

    def __init__(self, pid: int, every: float = 1.0) -> None:
        self.samples: list[Usage] = []
        self._pid, self._every = pid, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        with suppress(OSError):
            while not self._stop.is_set():
                self.samples.append(usage(self._pid))
                self._stop.wait(self._every)


def growth(times: list[float], values: list[float], rates: list[float]) -> float:
    """Return how much values grow a second, beside what comes and goes with the rates."""
    columns = np.stack([np.ones(len(times)), times, rates], 1)
    solution, *_ = np.linalg.lstsq(columns, np.array(values, float), rcond=None)
    return float(solution[1])


def batches(metrics: str | None) -> dict[str, tuple[float, float]]:
    """Return the number of batches and of their items by codec, from Prometheus metrics.

    Empty where there are none.
    """
    if metrics is None:
        return {}
    try:
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found: dict[str, list[float]] = {}
    pattern = r'^omnicodec_batch\w*_(count|sum)\{[^}]*codec="([^"]+)"[^}]*\} (\S+)'
    for what, codec, value in re.findall(pattern, text, re.MULTILINE):
        found.setdefault(codec, [0.0, 0.0])[what == "sum"] += float(value)
    return {codec: (count, total) for codec, (count, total) in found.items()}
