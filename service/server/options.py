"""What a server can be told."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from omnicodec.codecs import InvalidInput
from omnicodec.service.convert import MAX_ITEMS, MAX_MESSAGE_BYTES

LOG_FORMATS: Final = ("text", "json")

_AT_LEAST_ONE: Final = (
    "max_message_bytes", "max_items", "max_queue", "max_cost", "max_batch", "max_item_bytes",
    "max_pixels", "max_tokens", "max_streams", "cpu_threads", "max_jobs", "max_stored_jobs",
    "max_stored_bytes", "processes",
)  # fmt: skip
_ABOVE_ZERO: Final = (
    "max_seconds", "open_seconds", "max_queue_seconds", "stream_idle_seconds", "keep_seconds",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Settings of one server; what a TOML file, variables and flags set: config.py.

    Where and on what: `listen` is "HOST:PORT", port 0 for a free one. `device` runs the
    networks, or each of `devices`, which share one queue. `preload` names codecs that are loaded
    before the server listens; others are loaded when they are first asked for. `cpu_threads`
    open and save media and do the entropy coding. `processes` share the port; the folder of jobs
    is then the first one's.

    A request: `max_message_bytes` bounds requests and responses, `max_items` the items of one
    request. An item, before anything of it is decoded: `max_item_bytes` as it came,
    `max_pixels` of a picture or of all frames of a video together, `max_seconds` of audio or
    video, `max_tokens` of all codebooks together; and untrusted media are opened within
    `open_seconds`.

    All requests: at most `max_queue`, of at most `max_queue_bytes` together, that need about
    `max_cost` bytes of working memory at most, are worked on or waiting; more are turned away,
    and so are those that would wait for longer than `max_queue_seconds` at the pace of late.
    Items of all of them share batches of at most `max_batch`, which wait for each other at most
    `max_wait_ms`. There are at most `max_streams` EncodeStream and DecodeStream calls, which end
    when nothing came for `stream_idle_seconds`. `grace_seconds` is how long requests may go on
    once the server was told to stop.

    Who: with `tls_certificate` and `tls_key` (PEM files) connections are encrypted; with
    `tls_client_ca` clients need a certificate of that authority. `tokens` is a TOML file of
    bearer tokens, one of which each call then needs: security.py.

    To be watched: `metrics_listen` is the "HOST:PORT" of Prometheus metrics over HTTP,
    `health_listen` one for health checks alone, without TLS, as probes of Kubernetes need it,
    `log_format` is "text" or "json", `trace_endpoint` the URL of an OpenTelemetry collector
    (OTLP over gRPC).

    `jobs` is the folder of long encodes, without which there are none: `max_jobs` are worked on
    at once, `max_stored_jobs` kept, with at most `max_stored_bytes` of requests and results
    together, until `keep_seconds` after their end.

    Raises `InvalidInput` for settings that contradict themselves.
    """

    listen: str = "127.0.0.1:50051"
    device: str = "auto"
    devices: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    cpu_threads: int = 4
    processes: int = 1

    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_items: int = MAX_ITEMS
    max_item_bytes: int = 256 << 20
    max_pixels: int = 1 << 29
    max_seconds: float = 4 * 3600.0
    max_tokens: int = 1 << 24
    open_seconds: float = 10.0

    max_queue: int = 64
    max_queue_bytes: int = 8 * MAX_MESSAGE_BYTES
    max_queue_seconds: float = 0.5
    max_cost: int = 4 << 30
    max_batch: int = 8
    max_wait_ms: float = 2.0
    max_streams: int = 64
    stream_idle_seconds: float = 60.0
    grace_seconds: float = 30.0

    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tokens: Path | None = None

    metrics_listen: str | None = None
    health_listen: str | None = None
    log_format: str = "text"
    trace_endpoint: str | None = None

    jobs: Path | None = None
    max_jobs: int = 1
    max_stored_jobs: int = 1000
    max_stored_bytes: int = 16 << 30
    keep_seconds: float = 7 * 24 * 3600.0

    def __post_init__(self) -> None:
        check_address("listen", self.listen)
        for name in ("metrics_listen", "health_listen"):
            if (address := getattr(self, name)) is not None:
                check_address(name, address)
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1")
        for name in _ABOVE_ZERO:
            if not getattr(self, name) > 0:
                raise InvalidInput(f"{name} must be above 0")
        for name in ("grace_seconds", "max_wait_ms"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(f"{name} must be 0 or more, and finite")
        if self.max_message_bytes >= 1 << 31:
            raise InvalidInput("max_message_bytes must be less than 2 GiB, as gRPC has it")
        if self.max_queue_bytes < self.max_message_bytes:
            raise InvalidInput("max_queue_bytes must be at least max_message_bytes")
        if len(set(self.devices)) < len(self.devices) or "" in self.devices:
            raise InvalidInput("devices must be different names, such as cuda:0 and cuda:1")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InvalidInput("tls_certificate and tls_key go together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise InvalidInput("tls_client_ca needs tls_certificate and tls_key")
        if self.log_format not in LOG_FORMATS:
            raise InvalidInput(f"log_format must be {' or '.join(LOG_FORMATS)}")
        if self.trace_endpoint is not None:
            url = urlsplit(self.trace_endpoint)
            if url.scheme not in ("http", "https") or not url.hostname:
                raise InvalidInput("trace_endpoint must be a URL such as http://127.0.0.1:4317")


def check_address(name: str, address: str) -> None:
    """Raise `InvalidInput` unless `address` is "HOST:PORT"; an IPv6 host stands in brackets."""
    host, colon, port = address.rpartition(":")
    right = bool(host and colon) and re.fullmatch("[0-9]{1,5}", port) is not None
    if ":" in host:
        right = right and host.startswith("[") and host.endswith("]")
    if not right or int(port) >= 1 << 16:
        raise InvalidInput(f"{name} must be HOST:PORT, not {address!r}")
