"""The engine of many machines: shards written by actors of a Ray cluster.

Ray places the actors, begins them again when they die, on another node if theirs is gone, and
carries what they return. Which shard is next is a queue of numbers here, because every shard was
settled before the run, and who has died at what, so that one deadly item does not end a run.
All nodes see the data set's folder, and the sources, under the same paths.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs import OmnicodecError, Unavailable
from omnicodec.codecs.errors import ERROR_CODES
from omnicodec.service.batch.engines import ray_worker
from omnicodec.service.batch.engines.base import Committed, Engine, Event, Lost, Progress
from omnicodec.service.batch.engines.deaths import Deaths
from omnicodec.service.batch.engines.ray_cluster import (
    Share,
    connected,
    first_line,
    last_line,
    resources,
    share,
)

_POLL_SECONDS: Final = 0.5
_POLLS_A_SECOND: Final = 200
"""At most so many workers are asked how far they are: a thousand of them less often."""
_STARTING_SECONDS: Final = 600.0
"""Clusters that grow by themselves take minutes for a new node."""
_ENDING_SECONDS: Final = 10.0


@dataclass(eq=False)
class RayEngine(Engine):
    """Runs shards on a Ray cluster: the one at `address`, or one of its own on this machine.

    `workers` is the number of actors, `gpus` and `threads` what each of them has; None is
    `ray_cluster.share`'s choice. A worker that tells nothing new for `patience` seconds is ended
    and counts as dead.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None
    threads: int | None = None
    device: str = "auto"
    patience: float = 600.0
    function: str = ray_worker.WRITE_SHARD

    def run(self, folder: Path, shards: Sequence[int]) -> Iterator[Event]:
        if not shards:
            return
        with connected(self.address, self.workers) as ray:
            wanted = share(
                resources(ray),
                workers=self.workers,
                gpus=self.gpus,
                threads=self.threads,
                device=self.device,
            )
            run = _Run(ray, self, wanted, folder.absolute(), shards)
            try:
                yield from run.events()
            finally:
                run.end()


@dataclass(eq=False)
class _Actor:
    """An actor, and what it does: it says hello, works on a shard, or waits for one.

    `changed` is when it last told something new.
    """

    handle: Any
    changed: float
    hello: Any = None
    node: str = ""
    shard: int | None = None
    work: Any = None
    poll: Any = None
    told: Any = None
    place: str = "a node"


@dataclass(eq=False)
class _Run:
    """One run of the engine: the queue of shards, and who works on which."""

    ray: Any
    engine: RayEngine
    share: Share
    folder: Path
    shards: Sequence[int]
    actors: list[_Actor] = field(default_factory=list)
    deaths: Deaths = field(default_factory=Deaths)
    left: int = 0

    def __post_init__(self) -> None:
        self.queue = deque(self.shards)
        self.left = len(self.queue)
        self.seconds = max(_POLL_SECONDS, self.share.workers / _POLLS_A_SECOND)
        self.probe = self.folder / ".tmp" / f"probe-{secrets.token_hex(8)}"

    def events(self) -> Iterator[Event]:
        """Yield what happens until no shard is left."""
        self.probe.parent.mkdir(exist_ok=True)
        self.probe.touch()
        self._begin()
        asked = time.monotonic()
        while self.left:
            for actor in self.actors:
                if actor.hello is None and actor.work is None and self.queue:
                    self._start(actor)
            busy = {actor.work or actor.hello: actor for actor in self.actors}
            busy.pop(None, None)
            done, _ = self.ray.wait(list(busy), num_returns=1, timeout=self.seconds)
            for ref in done:
                actor = busy[ref]
                yield from self._welcome(actor) if actor.work is None else self._finish(actor)
            if time.monotonic() - asked >= self.seconds:
                asked = time.monotonic()
                yield from self._ask()

    def end(self) -> None:
        """End all actors, and wait until they are gone, so that nothing is written any more."""
        for actor in self.actors:
            with contextlib.suppress(Exception):  # a connection that is gone has none
                self.ray.kill(actor.handle, no_restart=True)
        work = [actor.work for actor in self.actors if actor.work is not None]
        with contextlib.suppress(Exception):
            self.ray.wait(work, num_returns=len(work), timeout=_ENDING_SECONDS)
        self.probe.unlink(missing_ok=True)

    def _begin(self) -> None:
        asks, wanted = self.share, min(self.share.workers, len(self.queue))
        kind = self.ray.remote(ray_worker.Worker).options(
            num_cpus=asks.cpus,
            num_gpus=asks.gpus,
            max_restarts=-1,
            max_concurrency=2,  # the shard, and how far it is
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": dict.fromkeys(ray_worker.ONE_THREAD, "1")},
        )
        settings = {"device": asks.device, "threads": asks.threads}
        for _ in range(wanted):
            handle = kind.remote(str(self.folder), self.engine.function, settings)
            self.actors.append(_Actor(handle, time.monotonic()))
            self._greet(self.actors[-1])

    def _greet(self, actor: _Actor) -> None:
        """Ask an actor, new or begun again, who it is; Ray asks until there is one."""
        actor.shard = actor.work = actor.poll = actor.told = None
        hello = actor.handle.hello.options(max_task_retries=-1)
        actor.hello, actor.changed = hello.remote(str(self.probe)), time.monotonic()

    def _welcome(self, actor: _Actor) -> Iterator[Event]:
        try:
            facts = self.ray.get(actor.hello)
        except self.ray.exceptions.RayError as e:
            reason = first_line(getattr(e, "cause", None) or e)
            raise Unavailable(f"no worker can be started on the Ray cluster: {reason}") from e
        if not facts["sees"]:
            raise Unavailable(
                f"node {facts['address']} of the Ray cluster does not see {str(self.folder)!r}: "
                "all nodes need the same folders, as of a shared file system"
            )
        actor.hello, actor.node = None, facts["node"]
        actor.place = f"process {facts['pid']} on {facts['address']}"
        yield from ()

    def _start(self, actor: _Actor) -> None:
        actor.shard, actor.changed = self.queue.popleft(), time.monotonic()
        blamed, careful = self.deaths.blamed(actor.shard), self.deaths.any(actor.shard)
        actor.work = actor.handle.write.remote(actor.shard, blamed, careful)

    def _finish(self, actor: _Actor) -> Iterator[Event]:
        assert actor.shard is not None
        try:
            failure = self.ray.get(actor.work)
        except self.ray.exceptions.RayTaskError as e:
            raise OmnicodecError(f"a worker failed: {last_line(e)}") from e
        except self.ray.exceptions.RayError as e:
            yield self._lost(actor, e)
            return
        if failure:
            raise _error(failure["error"], failure["message"])
        self.left -= 1
        self.deaths.forget(actor.shard)
        yield Committed(actor.shard)
        actor.shard = actor.work = actor.poll = actor.told = None

    def _lost(self, actor: _Actor, error: BaseException) -> Lost:
        """Put back the shard of an actor that died, and greet it again once Ray has begun it."""
        shard = actor.shard
        assert shard is not None
        position = ray_worker.Place(self.folder, shard).read()
        reason = f"{actor.place} is gone: {first_line(error)}"
        living = {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}
        if actor.node in living and not getattr(error, "preempted", False):
            self.deaths.note(shard, position, reason)
        self.queue.appendleft(shard)
        self._greet(actor)
        return Lost(shard, reason)

    def _ask(self) -> Iterator[Event]:
        """Ask all that work how far they are, take what has been answered, end who is silent."""
        now = time.monotonic()
        polls = {actor.poll: actor for actor in self.actors if actor.poll is not None}
        answered: list[Any] = []
        if polls:
            answered, _ = self.ray.wait(list(polls), num_returns=len(polls), timeout=0)
        for ref in answered:
            actor = polls[ref]
            actor.poll = None
            with contextlib.suppress(self.ray.exceptions.RayError):  # `_finish` will see it
                told = self.ray.get(ref)
                if told != actor.told:
                    actor.told, actor.changed = told, now
                    if told[0] and told[0][0] == actor.shard:  # and not the last one's
                        yield Progress(*told[0])
        for actor in self.actors:
            if actor.work is not None and actor.poll is None:
                actor.poll = actor.handle.state.remote()
            if actor.work is not None and now - actor.changed > self.engine.patience:
                actor.changed = now
                self.ray.kill(actor.handle, no_restart=False)
        if all(
            actor.hello is not None and now - actor.changed > _STARTING_SECONDS
            for actor in self.actors
        ):
            asked = f"{self.share.cpus:g} CPU and {self.share.gpus:g} GPU"
            raise Unavailable(
                f"no worker has begun within {_STARTING_SECONDS:g} seconds: each needs {asked}, "
                f"and the Ray cluster has {self.ray.available_resources()} free"
            )


def _error(name: str, message: str) -> OmnicodecError:
    """Return the error that a worker had."""
    return next((kind for kind in ERROR_CODES if kind.__name__ == name), OmnicodecError)(message)
