"""What a server can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnicodec.codecs import InvalidInput
from omnicodec.service.convert import MAX_ITEMS, MAX_MESSAGE_BYTES


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Settings of one server.

    `listen` is "HOST:PORT", port 0 for a free one. `max_message_bytes` bounds requests and
    responses, `max_items` the items of one request. At most `max_queue` requests, of at
    most `max_queue_bytes` together, are worked on or waiting; more are turned away.
    `preload` names codecs that are loaded before the server listens; others are loaded when
    they are first asked for. `grace_seconds` is how long requests may go on once the server
    was told to stop. `cpu_threads` open and save media and do the entropy coding.

    `jobs` is the folder of long encodes, without which there are none: `max_jobs` are worked on
    at once, `max_stored_jobs` kept, with at most `max_stored_bytes` of requests and results
    together, until `keep_seconds` after their end.

    Raises `InvalidInput` for settings that contradict themselves.
    """

    listen: str = "127.0.0.1:50051"
    device: str = "auto"
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_items: int = MAX_ITEMS
    max_queue: int = 64
    max_queue_bytes: int = 8 * MAX_MESSAGE_BYTES
    grace_seconds: float = 30.0
    preload: tuple[str, ...] = ()
    cpu_threads: int = 4
    jobs: Path | None = None
    max_jobs: int = 1
    max_stored_jobs: int = 1000
    max_stored_bytes: int = 16 << 30
    keep_seconds: float = 7 * 24 * 3600.0

    def __post_init__(self) -> None:
        host, colon, port = self.listen.rpartition(":")
        if not host or not colon or not port.isascii() or not port.isdigit():
            raise InvalidInput(f"listen must be HOST:PORT, not {self.listen!r}")
        for name in (
            "max_message_bytes", "max_items", "max_queue", "cpu_threads", "max_jobs",
            "max_stored_jobs", "max_stored_bytes",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1")
        if self.max_message_bytes >= 1 << 31:
            raise InvalidInput("max_message_bytes must be less than 2 GiB, as gRPC has it")
        if self.max_queue_bytes < self.max_message_bytes:
            raise InvalidInput("max_queue_bytes must be at least max_message_bytes")
        if not self.grace_seconds >= 0:
            raise InvalidInput("grace_seconds must not be negative")
        if not self.keep_seconds > 0:
            raise InvalidInput("keep_seconds must be above 0")
