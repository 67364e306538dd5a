"""A process that writes shards for the local engine, as long as that one lives.

Both sides send JSON lines over a socket. `main` reads
    {"shard": 7, "blamed": {"a.tar#9": "why"}, "careful": false}
and answers with
    {"ready": 2}                                  once, when it can begin; GPUs that it sees
    {"at": "a.tar#17"}                            the item it comes to, where it is careful
    {"progress": [7, 100, 1, 25600, 1048576, ""]} the fields of `Progress`
    {"committed": 7}
    {"failed": "InvalidInput", "message": "...", "trace": "..."}
                                                  the shard cannot be written, nor will others
When the socket is closed it ends at once, whatever it does.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import astuple
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final

from omnicodec.service.batch.engines.base import Progress

TELL_SECONDS: Final = 0.2
"""Time between two reports about a shard."""

OUT_OF_MEMORY: Final = 77
"""Exit code of a process that has no memory left; another may have more luck, or one item less."""

_BUG: Final = "RuntimeError"


class Channel:
    """Sends messages from any thread, and says when the other side is gone."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def send(self, **message: Any) -> None:
        with self._lock:
            self._stream.write(json.dumps(message).encode() + b"\n")
            self._stream.flush()


def main() -> None:
    """Write what shards the other side of standard input asks for, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for who started this
    with socket.socket(fileno=os.dup(0)) as ends:
        reading, writing = ends.makefile("rb"), ends.makefile("wb")
    # Libraries print, and what they print is no message.
    with open(os.devnull, "r+b") as nothing:
        for standard in (0, 1):
            os.dup2(nothing.fileno(), standard)
    folder, device, threads, number, function = Path(sys.argv[1]), *sys.argv[2:6]
    orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(reading, orders), daemon=True).start()
    channel = Channel(writing)
    try:
        gpus = visible_gpus(device)
        module, _, name = function.partition(":")
        write = getattr(import_module(module), name)
        channel.send(ready=gpus)
        place = f"cuda:{int(number) % gpus}" if gpus and device in ("auto", "cuda") else device
        while True:
            order = orders.get()
            _write(write, channel, folder, order, place, int(threads))
            channel.send(committed=order["shard"])
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BaseException as e:
        channel.send(**failure(e))
        os._exit(0)  # threads that wait for each other keep nobody here


def _read(stream: IO[bytes], orders: queue.SimpleQueue[Any]) -> None:
    for line in stream:
        orders.put(json.loads(line))
    os._exit(0)


def _write(
    write: Callable[..., Any],
    channel: Channel,
    folder: Path,
    order: dict[str, Any],
    device: str,
    threads: int,
) -> None:
    due = 0.0

    def tell(progress: Progress) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + TELL_SECONDS
            channel.send(progress=astuple(progress))

    write(
        folder,
        order["shard"],
        tell=tell,
        at=lambda position: channel.send(at=position),
        blamed=order["blamed"],
        device=device,
        threads=threads,
        careful=order["careful"],
    )


def failure(error: BaseException) -> dict[str, str]:
    """Return the message about an error that ends the run."""
    from omnicodec.codecs import OmnicodecError

    trace = {"trace": "".join(traceback.format_exception(error))}
    if isinstance(error, OmnicodecError):
        return {**trace, "failed": type(error).__name__, "message": str(error)}
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({Path(where[0].filename).name}:{where[0].lineno})" if where else ""
    return {**trace, "failed": _BUG, "message": f"{type(error).__name__}: {error}{place}"}


def visible_gpus(device: str) -> int:
    """Return how many GPUs there are to choose from, 0 where none is wanted.

    torch is not asked, which takes seconds to import, where the system has no such device.
    """
    if not visible_gpus_wanted(device):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def visible_gpus_wanted(device: str) -> bool:
    """Return whether a GPU is to be chosen, and this system may have one that torch calls cuda."""
    nodes = ("nvidiactl", "kfd", "dxg")
    return device in ("auto", "cuda") and any(Path("/dev", name).exists() for name in nodes)


if __name__ == "__main__":
    main()
