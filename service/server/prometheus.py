"""Metrics for Prometheus: counted in this process, or in files where several share a port.

With one process the numbers are in memory. With several, each keeps its own in files of one
folder (`PROMETHEUS_MULTIPROC_DIR`, set before prometheus_client is imported), and the process that
started them serves the sums. So there is one endpoint whatever the number of processes, and a
process that died leaves its counts, which must never go down. A port for each would leave that
to every scraper's configuration.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs import Unavailable
from omnicodec.service.server.metrics import Metrics, Step

try:
    import prometheus_client as prometheus
    from prometheus_client import core, multiprocess
except ModuleNotFoundError as e:
    raise Unavailable('metrics need: pip install "omnicodec[metrics]"') from e

# From a call that a codec of bytes answers to an encode of minutes.
_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)


class PrometheusMetrics(Metrics):
    """Counts in the series of `registry`; with several processes, in files."""

    def __init__(self, registry: prometheus.CollectorRegistry | None = None) -> None:
        self.registry = registry or prometheus.CollectorRegistry()
        self._handled = self._counter("requests", "Calls that are over.", "method", "code")
        self._seconds = self._histogram(
            "request_seconds", "From the request to the end of the answer.", _SECONDS, "method"
        )
        self._in_flight = self._gauge("requests_in_flight", "Calls being answered.", "method")
        self._received = self._counter("received_bytes", "Messages of requests.", "method")
        self._sent = self._counter("sent_bytes", "Messages of answers.", "method")
        self._steps = self._histogram(
            "step_seconds",
            "What an item spent at a step: open, queue, compute, save.",
            _SECONDS,
            "codec",
            "step",
        )
        self._batch = self._histogram(
            "batch_size", "Items of one run of a network.", _BATCHES, "codec"
        )
        self._tokens = self._counter("tokens", "Tokens made or read, of all codebooks.", "codec")
        self._media = self._counter("compressed_media_bytes", "Raw media compressed.", "codec")
        self._streams = self._counter("compressed_stream_bytes", "What became of them.", "codec")
        self._saved = self._counter(
            "saved_bytes", "Bytes by which streams are smaller than their media.", "codec"
        )
        self._loads = self._counter("codec_loads", "Codecs that were loaded.", "codec")
        self._load_seconds = self._counter("codec_load_seconds", "What that took.", "codec")
        self._refused = self._counter("refused", "Calls that were turned away.", "reason")
        self._waiting = self._gauge("admitted_requests", "Requests worked on or waiting.")
        self._waiting_bytes = self._gauge("admitted_bytes", "Bytes of these requests.")

    def _counter(self, name: str, text: str, *labels: str) -> prometheus.Counter:
        return prometheus.Counter(f"omnicodec_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> prometheus.Gauge:
        return prometheus.Gauge(
            f"omnicodec_{name}",
            text,
            labels,
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def _histogram(
        self, name: str, text: str, buckets: Sequence[float], *labels: str
    ) -> prometheus.Histogram:
        return prometheus.Histogram(
            f"omnicodec_{name}", text, labels, buckets=buckets, registry=self.registry
        )

    def began(self, method: str) -> None:
        self._in_flight.labels(method).inc()

    def ended(self, method: str, code: str, seconds: float, received: int, sent: int) -> None:
        self._in_flight.labels(method).dec()
        self._handled.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)
        self._received.labels(method).inc(received)
        self._sent.labels(method).inc(sent)

    def step(self, codec: str, step: Step, seconds: float) -> None:
        self._steps.labels(codec, step.value).observe(seconds)

    def batch(self, codec: str, size: int) -> None:
        self._batch.labels(codec).observe(size)

    def tokens(self, codec: str, count: int) -> None:
        self._tokens.labels(codec).inc(count)

    def compressed(self, codec: str, media: int, stream: int) -> None:
        self._media.labels(codec).inc(media)
        self._streams.labels(codec).inc(stream)
        self._saved.labels(codec).inc(max(0, media - stream))

    def loaded(self, codec: str, seconds: float) -> None:
        self._loads.labels(codec).inc()
        self._load_seconds.labels(codec).inc(seconds)

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def waiting(self, requests: int, nbytes: int) -> None:
        self._waiting.set(requests)
        self._waiting_bytes.set(nbytes)


class ProcessCollector:
    """What the system says of server processes when it is asked, by their numbers.

    `processes` gives process ids by number. Nothing where there is no /proc.
    """

    def __init__(self, processes: Callable[[], Mapping[int, int]]) -> None:
        self._processes = processes
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
        self._tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

    def collect(self) -> Iterable[Any]:
        label = ["process"]
        families: dict[str, Any] = {
            "memory": core.GaugeMetricFamily(
                "omnicodec_process_resident_memory_bytes", "Memory in use.", labels=label
            ),
            "files": core.GaugeMetricFamily(
                "omnicodec_process_open_files", "Open files and sockets.", labels=label
            ),
            "threads": core.GaugeMetricFamily(
                "omnicodec_process_threads", "Threads.", labels=label
            ),
            "cpu": core.CounterMetricFamily(
                "omnicodec_process_cpu_seconds", "Processor time, user and system.", labels=label
            ),
        }
        for number, pid in self._processes().items():
            with suppress(OSError, ValueError, IndexError):  # it has just ended, or no /proc
                for name, value in self._read(pid).items():
                    families[name].add_metric([str(number)], value)
        return families.values()

    def _read(self, pid: int) -> dict[str, float]:
        folder = Path(f"/proc/{pid}")
        stat = (folder / "stat").read_text().rpartition(")")[2].split()
        return {
            "memory": int((folder / "statm").read_text().split()[1]) * self._page,
            "files": len(list((folder / "fd").iterdir())),
            "threads": int(stat[17]),
            "cpu": (int(stat[11]) + int(stat[12])) / self._tick,
        }


class StartsCollector:
    """How often server processes were started, where there are several."""

    def __init__(self, starts: Callable[[], int]) -> None:
        self._starts = starts

    def collect(self) -> Iterable[Any]:
        yield core.CounterMetricFamily(
            "omnicodec_process_starts", "Server processes started.", value=self._starts()
        )


class Endpoint:
    """Serves a registry over HTTP at "HOST:PORT", in a thread, until `close`.

    Raises `Unavailable` when the address cannot be bound.
    """

    def __init__(self, address: str, registry: Any) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._server, self._thread = prometheus.start_http_server(
                int(port), addr=host.strip("[]"), registry=registry
            )
        except OSError as e:
            raise Unavailable(f"cannot serve metrics on {address}") from e
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def of_this_process(metrics: PrometheusMetrics) -> Any:
    """Return the registry of a server of one process, and of what the system says of it."""
    own = {0: os.getpid()}
    metrics.registry.register(ProcessCollector(lambda: own))
    return metrics.registry


def of_all_processes(
    folder: Path, processes: Callable[[], Mapping[int, int]], starts: Callable[[], int]
) -> Any:
    """Return a registry with the sums of what processes keep in `folder`."""
    registry = prometheus.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=str(folder))
    registry.register(ProcessCollector(processes))
    registry.register(StartsCollector(starts))
    return registry


def forget(folder: Path, pid: int) -> None:
    """Drop the gauges of a process that is gone; its counts stay."""
    multiprocess.mark_process_dead(pid, path=str(folder))
