"""ServerOptions: settings that contradict themselves are refused, with their name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import InvalidInput
from omnicodec.service.server.options import ServerOptions


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"listen": "nowhere"}, "listen"),
        ({"listen": "::1:50051"}, "listen"),
        ({"listen": "localhost:70000"}, "listen"),
        ({"listen": f"localhost:{'9' * 5000}"}, "listen"),
        ({"listen": "localhost:５０"}, "listen"),
        ({"metrics_listen": "9464"}, "metrics_listen"),
        ({"max_batch": 0}, "max_batch"),
        ({"max_wait_ms": -1.0}, "max_wait_ms"),
        ({"max_wait_ms": float("nan")}, "max_wait_ms"),
        ({"grace_seconds": float("inf")}, "grace_seconds"),
        ({"open_seconds": 0.0}, "open_seconds"),
        ({"max_queue_seconds": 0.0}, "max_queue_seconds"),
        ({"processes": 0}, "processes"),
        ({"max_message_bytes": 1 << 31}, "max_message_bytes"),
        ({"max_queue_bytes": 1}, "max_queue_bytes"),
        ({"devices": ("cuda:0", "cuda:0")}, "devices"),
        ({"devices": ("",)}, "devices"),
        ({"tls_certificate": Path("a")}, "tls_key"),
        ({"tls_key": Path("a")}, "tls_certificate"),
        ({"tls_client_ca": Path("a")}, "tls_client_ca"),
        ({"log_format": "xml"}, "log_format"),
        ({"trace_endpoint": "collector:4317"}, "trace_endpoint"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(named)):
        ServerOptions(**settings)


@pytest.mark.parametrize("listen", ["localhost:0", "[::1]:50051", "0.0.0.0:65535"])
def test_addresses(listen: str) -> None:
    assert ServerOptions(listen=listen, metrics_listen=listen).listen == listen
