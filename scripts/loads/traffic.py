"""Requests from several processes: at given rates whatever the server does, or as fast as it does.

Latency counts from the moment that a request was due, so that a server which keeps its clients
waiting is seen to do so.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import grpc
from loads import items

from omnicodec.codecs import OmnicodecError
from omnicodec.service.client import AsyncClient
from omnicodec.service.client.errors import retry_seconds

Rate = Callable[[float], float]
"""Requests a second at a time since the start."""

OK: Final = "OK"
REFUSED: Final = "REFUSED"
"""RESOURCE_EXHAUSTED with the advice to come back."""

WRONG: Final = "WRONG"

_DRAIN_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Plan:
    """What all processes together do; each does its `share`.

    With a `rate` requests are due by chance at that rate, for `seconds`. Without one, so many
    `clients` each send one request after the other, for `seconds` or until there were `requests`.
    `connect` has the arguments of `AsyncClient`; requests are spread over `connections` of each
    process, or with `clients` each has its own.
    """

    target: str
    mix: dict[str, float]
    folder: Path
    seconds: float = math.inf
    rate: float | None = None
    day: float | None = None
    clients: int = 0
    requests: int | None = None
    connections: int = 4
    connect: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def rate_at(self, elapsed: float) -> float:
        """Return the requests a second; a `day` of so many seconds goes from 5 % up, and back."""
        assert self.rate is not None
        if self.day is None:
            return self.rate
        return self.rate * (0.525 - 0.475 * math.cos(2 * math.pi * elapsed / self.day))

    def share(self, index: int, processes: int) -> Plan:
        """Return what one of several processes does."""

        def part(total: int) -> int:
            return total // processes + (index < total % processes)

        return replace(
            self,
            rate=None if self.rate is None else self.rate / processes,
            clients=part(self.clients),
            requests=None if self.requests is None else part(self.requests),
            seed=self.seed + 1000 * index,
        )


@dataclass(frozen=True)
class Sample:
    """One request: when it was due and over, in seconds of the system's clock, and how it ended."""

    kind: str
    due: float
    ended: float
    outcome: str
    said: str = ""

    @property
    def latency(self) -> float:
        return self.ended - self.due


def run(
    plan: Plan, processes: int, watch: Callable[[int], None] = lambda _: None
) -> tuple[list[Sample], int]:
    """Return all requests, and how many were begun; `watch` hears of how many have ended, often.

    Raises `OmnicodecError` when a process failed.
    """
    context = multiprocessing.get_context("spawn")  # gRPC does not outlive a fork
    ended = context.Value("q", 0)
    results: Any = context.Queue()
    workers = [
        context.Process(target=_work, args=(plan.share(i, processes), ended, results), daemon=True)
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    samples: list[Sample] = []
    begun = 0
    waiting = len(workers)
    try:
        while waiting:
            with suppress(multiprocessing.queues.Empty):
                part, count = results.get(timeout=0.05)
                samples += part
                begun += count
                waiting -= 1
            watch(ended.value)
            if waiting and any(w.exitcode not in (None, 0) for w in workers):
                raise OmnicodecError("a process of the load generator failed")
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    return sorted(samples, key=lambda sample: sample.due), begun


def _work(plan: Plan, ended: Any, results: Any) -> None:
    results.put(asyncio.run(_Traffic(plan, ended).run()))


class _Traffic:
    """The requests of one process."""

    def __init__(self, plan: Plan, ended: Any) -> None:
        self._plan, self._ended = plan, ended
        self._random = random.Random(plan.seed)
        self._kinds = list(plan.mix)
        self._weights = list(plan.mix.values())
        self._requests = {kind: items.requester(kind, plan.folder) for kind in self._kinds}
        self._samples: list[Sample] = []
        self._begun = 0

    async def run(self) -> tuple[list[Sample], int]:
        plan = self._plan
        count = plan.clients if plan.rate is None else plan.connections
        clients = [self._client() for _ in range(count)]
        began = time.time()
        try:
            if plan.rate is None:
                await asyncio.gather(*(self._in_turn(client, began) for client in clients))
            else:
                await self._at_rate(clients, began)
        finally:
            await asyncio.gather(*(client.close() for client in clients))
        return self._samples, self._begun

    def _client(self) -> AsyncClient:
        # Channels of the same target share a connection otherwise.
        options = {"grpc.use_local_subchannel_pool": 1}
        return AsyncClient(self._plan.target, channel_options=options, **self._plan.connect)

    async def _in_turn(self, client: AsyncClient, began: float) -> None:
        plan = self._plan
        while time.time() - began < plan.seconds:
            if plan.requests is not None and self._begun >= plan.requests:
                return
            await self._request(client, time.time())

    async def _at_rate(self, clients: list[AsyncClient], began: float) -> None:
        tasks: set[asyncio.Task[None]] = set()
        for number, due in enumerate(self._arrivals()):
            await asyncio.sleep(max(0.0, began + due - time.time()))
            task = asyncio.create_task(self._request(clients[number % len(clients)], began + due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=_DRAIN_SECONDS)
        for task in tasks:
            task.cancel()

    def _arrivals(self) -> Iterator[float]:
        """Yield when requests are due: a Poisson process, thinned where the rate is lower."""
        plan = self._plan
        assert plan.rate is not None
        at = 0.0
        while True:
            at += self._random.expovariate(plan.rate)
            if at >= plan.seconds:
                return
            if self._random.random() * plan.rate <= plan.rate_at(at):
                yield at

    async def _request(self, client: AsyncClient, due: float) -> None:
        (kind,) = self._random.choices(self._kinds, self._weights)
        number = self._plan.seed * 1_000_000 + self._begun
        self._begun += 1
        said = ""
        try:
            await self._requests[kind](client, number)
            outcome = OK
        except items.WrongAnswer as e:
            outcome, said = WRONG, str(e)
        except OmnicodecError as e:
            outcome, said = _outcome(e), str(e)
        self._samples.append(Sample(kind, due, time.time(), outcome, said))
        with self._ended.get_lock():
            self._ended.value += 1


def _outcome(error: OmnicodecError) -> str:
    """Return the name of the gRPC status that an error stands for."""
    cause = error.__cause__
    if not isinstance(cause, grpc.RpcError):
        return type(error).__name__
    code = cause.code()
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and retry_seconds(cause) is not None:
        return REFUSED
    return str(code.name)
