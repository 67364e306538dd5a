"""The log: lines for people or JSON objects; facts of requests, never their content."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from omnicodec.service.server.calls import Call
from omnicodec.service.server.metrics import Step

REQUESTS: Final = "omnicodec.requests"
"""The logger of requests: a line for each that is over."""

_DIGITS: Final = 6


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, and the fields it came with."""

    def __init__(self, process: int | None = None) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process is not None:
            line["process"] = self._process
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            # Never the text of the exception, which may quote what a client sent.
            line["error"] = record.exc_info[0].__qualname__
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def set_up(log_format: str, *, process: int | None = None) -> None:
    """Send the log of this process to stderr, unless logging was set up otherwise.

    `process` is the number of one of several server processes.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(JsonFormatter(process))
    else:
        handler.setFormatter(logging.Formatter("%(message)s"))
    root.addHandler(handler)
    root.setLevel(logging.INFO)


class RequestLog:
    """Writes the line of each request that is over, when the log is for machines.

    At a terminal these lines would hide the others; `on` is false there.
    """

    def __init__(self, on: bool) -> None:
        self._on = on
        self._log = logging.getLogger(REQUESTS)

    def write(self, call: Call, code: str, seconds: float) -> None:
        if not self._on:
            return
        fields: dict[str, Any] = {
            "id": call.id,
            "method": call.method,
            "code": code,
            "token": call.holder.name,
            "codec": call.codec,
            "items": call.items,
            "received_bytes": call.received,
            "sent_bytes": call.sent,
            "seconds": round(seconds, _DIGITS),
            "queue_seconds": _seconds(call, Step.QUEUE),
            "compute_seconds": _seconds(call, Step.COMPUTE),
            "batch": call.batch,
            "trace_id": call.trace_id,
        }
        kept = {key: value for key, value in fields.items() if value not in ("", None)}
        self._log.info("%s %s", call.method, code, extra={"fields": kept})


def _seconds(call: Call, step: Step) -> float:
    span = call.steps.get(step)
    return 0.0 if span is None else round(span.seconds, _DIGITS)
