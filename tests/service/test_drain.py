"""Stopping a server: what is in progress ends, what is new is turned away."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from omnicodec.codecs import Text, Unavailable, load
from omnicodec.service import Client
from omnicodec.service.server import ServerOptions, running_server

Health = Callable[..., str]

LOCAL = "127.0.0.1:0"

# A server of a slow codec, as a process of its own.
PROGRAM = """
import asyncio, sys, time
from dataclasses import replace
from omnicodec.codecs import registry
from omnicodec.codecs.text.bytes import ByteCodec
from omnicodec.service.server import ServerOptions, serve

class SlowCodec(ByteCodec):
    @classmethod
    def describe(cls):
        return replace(ByteCodec.describe(), name="text/slow")

    def _encode(self, item, settings):
        print("begun", flush=True)
        sys.stdin.readline()  # which waits until stdin is closed
        time.sleep(0.3)
        return super()._encode(item, settings)

names = registry.available()
registry.available = lambda: (*names, "text/slow")
registry.register("text/slow")(SlowCodec)
options = ServerOptions(listen="127.0.0.1:0", grace_seconds=float(sys.argv[1]))
asyncio.run(serve(options))
"""

Start = Callable[[float], tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def begin(grace: float) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(grace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        line = process.stderr.readline()
        assert line.startswith("listening on 127.0.0.1:"), line + process.stderr.read()
        return process, line.split()[-1]

    yield begin
    for process in processes:
        with process:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(start: Start, health: Health, number: signal.Signals) -> None:
    process, address = start(20)
    items = [Text(f"item {i}") for i in range(5)]
    with ThreadPoolExecutor(1) as thread, Client(address) as client:
        answer = thread.submit(client.encode, items, "text/slow")
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        while health(address) == "SERVING":
            time.sleep(0.01)
        assert health(address) == "NOT_SERVING"
        with pytest.raises(Unavailable, match="shutting down"):
            client.encode(items, "text/bytes")
        process.stdin.close()
        expected = [tokens.ids.tolist() for tokens in load("text/bytes").encode(items)]
        assert [tokens.ids.tolist() for tokens in answer.result(timeout=20)] == expected
    assert process.wait(timeout=20) == 0
    assert process.stderr.read() == f"stopped listening on {address}\n"


def test_a_second_signal_hurries(start: Start, health: Health) -> None:
    process, address = start(60)
    process.stdin.close()
    with ThreadPoolExecutor(1) as thread, Client(address) as client:
        answer = thread.submit(client.encode, [Text("")] * 200, "text/slow")
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        while health(address) == "SERVING":
            time.sleep(0.01)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        with pytest.raises(Unavailable):
            answer.result(timeout=20)
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - began < 15


def test_grace_ends(gate) -> None:
    options = ServerOptions(listen=LOCAL, grace_seconds=0.3)
    with (
        running_server(options) as server,
        ThreadPoolExecutor(1) as thread,
        Client(server.address) as client,
    ):
        answer = thread.submit(client.encode, [Text("")], "text/gated")
        gate.wait_begun(1)
        server.drain()
        with pytest.raises(Unavailable):
            answer.result(timeout=20)
        with pytest.raises(Unavailable):
            client.codecs()


def test_an_idle_server_stops_at_once() -> None:
    began = time.monotonic()
    with running_server(ServerOptions(listen=LOCAL, grace_seconds=60)) as server:
        server.drain()
        server.drain()
    assert time.monotonic() - began < 10
