"""The threads and processes that do a server's work, and what each kind of them is for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from omnicodec.service.server.batching import Owners
from omnicodec.service.server.metrics import Metrics
from omnicodec.service.server.opening import Openers
from omnicodec.service.server.options import ServerOptions


class Workers:
    """The server's threads.

    `compute` owns the devices, one thread each, in which networks run: torch itself uses all
    cores, or the one device. `cpu` opens raw media, saves media, does the entropy coding and
    parses messages. `opening` waits for the processes that open files, `openers`: so a file that
    takes long keeps only other files waiting. `long` runs codecs that may take minutes for an
    item, one item at a time, so that nobody waits for these either. What is slow without a
    network is passed on to the threads of `in_order`, one for each core.
    """

    def __init__(
        self,
        cpu_threads: int,
        *,
        devices: Sequence[str] = ("auto",),
        max_batch: int = 1,
        max_wait: float = 0.0,
        open_seconds: float = 10.0,
        open_memory: int = 4 << 30,
        metrics: Metrics | None = None,
    ) -> None:
        self.compute = Owners(devices, max_batch=max_batch, max_wait=max_wait, metrics=metrics)
        self.cpu = ThreadPoolExecutor(cpu_threads, "omnicodec-cpu")
        self.long = ThreadPoolExecutor(1, "omnicodec-long")
        self.opening = ThreadPoolExecutor(cpu_threads, "omnicodec-opening")
        self.openers = Openers(open_seconds, open_memory)

    @classmethod
    def of(cls, options: ServerOptions, metrics: Metrics | None = None) -> Workers:
        """Return the threads that a server's options ask for."""
        return cls(
            options.cpu_threads,
            devices=options.devices or (options.device,),
            max_batch=options.max_batch,
            max_wait=options.max_wait_ms / 1000,
            open_seconds=options.open_seconds,
            open_memory=options.max_cost,
            metrics=metrics,
        )

    def close(self) -> None:
        """Drop what has not begun; what has begun ends in its own time."""
        self.compute.shutdown(wait=False, cancel_futures=True)
        for pool in (self.cpu, self.opening, self.long):
            pool.shutdown(wait=False, cancel_futures=True)
        self.openers.close()
