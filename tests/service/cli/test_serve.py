"""serve: its options become the server's."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    pytest.importorskip("grpc_health")
    from omnicodec.service import server

    options: list[Any] = []

    async def serve(given: Any) -> None:
        options.append(given)

    monkeypatch.setattr(server, "serve", serve)
    return options


def test_defaults_are_those_of_the_server(cli: Cli, served: list[Any]) -> None:
    from omnicodec.service.server import ServerOptions

    assert cli("serve").code == 0
    assert served == [ServerOptions()]


def test_options_are_passed_on(cli: Cli, served: list[Any]) -> None:
    arguments = "--listen 0.0.0.0:1 --max-message-mb 8 --max-queue 3 --grace 1.5 --device cpu"
    jobs = ("--jobs", "jobs/", "--max-jobs", "2", "--keep-jobs", "0.5")
    assert cli("serve", *arguments.split(), "--preload", "text/bytes", *jobs).code == 0
    (options,) = served
    assert options.listen == "0.0.0.0:1"
    assert options.max_message_bytes == 8 << 20
    assert options.max_queue == 3
    assert options.grace_seconds == 1.5
    assert options.device == "cpu"
    assert options.preload == ("text/bytes",)
    assert options.jobs == Path("jobs")
    assert options.max_jobs == 2
    assert options.keep_seconds == 1800


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", "nowhere"],
        ["--max-message-mb", "4096"],
        ["--max-queue", "0"],
        ["--grace", "-1"],
        ["--max-jobs", "0"],
        ["--keep-jobs", "0"],
    ],
)
def test_settings_that_cannot_be(cli: Cli, served: list[Any], arguments: list[str]) -> None:
    done = cli("serve", *arguments)
    assert done.code == 2
    assert len(done.lines) == 1
    assert served == []


def test_without_grpc_it_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("omnicodec.service.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("omnicodec.service.server", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    done = cli("serve")
    assert done.code == 7
    assert 'pip install "omnicodec[serve]"' in done.err


def test_it_prints_the_settings_in_force(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omnicodec.service.server import ServerOptions
    from omnicodec.service.server.config import options_from

    file = tmp_path / "server.toml"
    file.write_text("max_queue = 1\nmax_batch = 1\ntokens = 'tokens.toml'\ndevice = 'cuda:1'\n")
    file.with_name("tokens.toml").write_text("not to be printed")
    monkeypatch.setenv("OMNICODEC_MAX_BATCH", "2")
    flags = ("--config", str(file), "--set", "max_wait_ms=7", "--grace", "1")
    done = cli("serve", "--print-config", *flags)
    assert done.code == 0
    assert b"not to be printed" not in done.out
    file.write_bytes(done.out)
    assert options_from(file=file) == ServerOptions(
        max_queue=1, max_batch=2, max_wait_ms=7.0, grace_seconds=1.0, device="cuda:1",
        tokens=tmp_path / "tokens.toml",
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["--config", "nowhere.toml"], ["--set", "max_qeue=1"], ["--set", "max_queue=many"]],
)
def test_settings_that_are_none(cli: Cli, arguments: list[str]) -> None:
    done = cli("serve", "--print-config", *arguments)
    assert done.code == 2
    assert len(done.lines) == 1


def test_it_hashes_a_token(cli: Cli) -> None:
    token = b"0123456789abcdef0123456789abcdef"
    done = cli("serve", "--hash-token", stdin=token + b"\n")
    assert done.out.decode().strip() == hashlib.sha256(token).hexdigest()
    assert cli("serve", "--hash-token", stdin=b"short\n").code == 2
