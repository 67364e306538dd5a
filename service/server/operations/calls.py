"""StartEncode and google.longrunning.Operations, on the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from contextlib import suppress
from typing import Any, Final

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from omnicodec.codecs import InvalidInput
from omnicodec.service.server.calls import current
from omnicodec.service.server.engine import Engine
from omnicodec.service.server.jobs import Job
from omnicodec.service.server.operations.filters import page_after, page_token, parse_filter
from omnicodec.service.server.operations.messages import COLLECTION, id_of, operation
from omnicodec.service.server.operations.runner import (
    Runner,
    seconds_of,
    settings_of,
    targets_of,
)
from omnicodec.service.server.operations.store import State, Store, Stored
from omnicodec.service.server.options import ServerOptions
from omnicodec.service.server.refusals import NotOffered, UnknownOperation
from omnicodec.service.server.workers import Workers
from omnicodec.v1 import codec_service_pb2 as pb

OPERATIONS: Final[Any] = operations_pb2.DESCRIPTOR.services_by_name["Operations"]

_PAGE, _MAX_PAGE = 100, 1000
_MAX_REQUEST_ID: Final = 64
_MAX_WAIT_SECONDS: Final = 600.0
_ANSWER_SECONDS: Final = 0.25
"""What is left of a deadline for the answer of a wait."""

_EXPIRE_SECONDS: Final = 60.0


class Operations:
    """What a server does for operations; without `ServerOptions.jobs` it says that it does not."""

    def __init__(self, options: ServerOptions, workers: Workers, engine: Engine) -> None:
        self._options, self._workers, self._engine = options, workers, engine
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._changed = asyncio.Event()
        self._store: Store | None = None
        self._runner: Runner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def open(self) -> None:
        """Take the folder, if there is one; raises `Unavailable`."""
        options = self._options
        if options.jobs is None:
            return
        loop = asyncio.get_running_loop()
        folder = options.jobs

        def open_store() -> Store:
            return Store(
                folder,
                keep_seconds=options.keep_seconds,
                most=options.max_stored_jobs,
                most_bytes=options.max_stored_bytes,
            )

        def ended(name: str) -> None:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(self._wake, name)

        self._store = await loop.run_in_executor(self._workers.cpu, open_store)
        self._runner = Runner(
            self._store,
            device=options.device,
            most=options.max_jobs,
            most_bytes=options.max_message_bytes,
            ended=ended,
        )

    def begin(self) -> None:
        """Go on with what waits, and delete what expires."""
        if self._store is not None:
            self._tasks.append(asyncio.create_task(self._keep_going()))

    def stop(self) -> None:
        """Let waits end, and have the work leave its checkpoints."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        for name in list(self._waiting):
            self._wake(name)
        if self._runner is not None:
            self._runner.stop()

    async def wait_idle(self) -> None:
        """Return once no work is going on."""
        while self._runner is not None and not self._runner.idle:
            self._changed.clear()
            if not self._runner.idle:
                await self._changed.wait()

    def close(self) -> None:
        """Give the folder back, unless work that heeded no end is still going on."""
        if self._store is not None and self._runner is not None and self._runner.idle:
            self._store.close()

    async def start_encode(self, request: pb.StartEncodeRequest, job: Job) -> Any:
        store, runner = self._kept()
        key = request.request_id
        if len(key) > _MAX_REQUEST_ID:
            raise InvalidInput(f"a request_id has at most {_MAX_REQUEST_ID} characters")
        owner = current().holder.name
        known = await job.run(self._workers.cpu, store.find, key, owner)
        codec = request.codec if known else await self._check(request, job)

        def add() -> Stored:
            bare = pb.StartEncodeRequest()
            bare.CopyFrom(request)
            bare.ClearField("request_id")
            digest = hashlib.sha256(bare.SerializeToString(deterministic=True)).digest()
            data = request.SerializeToString()
            stored = store.add(data, request_id=key, digest=digest, codec=codec, owner=owner)
            runner.fill()
            return store.get(stored.id)

        return await self._message(await job.run(self._workers.cpu, add), job)

    async def get(self, request: Any, job: Job) -> Any:
        store, _ = self._kept()
        return await self._message(await self._get(store, request.name, job), job)

    async def wait(self, request: Any, job: Job) -> Any:
        store, _ = self._kept()
        name = id_of(request.name)
        seconds = _MAX_WAIT_SECONDS
        if request.HasField("timeout"):
            seconds = min(seconds, seconds_of(request.timeout))
        if (left := job.seconds_left()) is not None:
            seconds = min(seconds, left - _ANSWER_SECONDS)
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Before the look at the state, so that no end comes in between unnoticed.
        self._waiting.setdefault(name, set()).add(ended)
        try:
            stored = await self._get(store, request.name, job)
            if not stored.done and seconds > 0 and not self._stopping:
                await asyncio.wait([ended], timeout=seconds)
        finally:
            waiting = self._waiting[name]
            waiting.discard(ended)
            if not waiting:
                del self._waiting[name]
        return await self.get(request, job)

    async def list(self, request: Any, job: Job) -> Any:
        store, _ = self._kept()
        if request.name not in ("", COLLECTION):
            raise InvalidInput(f"the collection of operations here is {COLLECTION!r}")
        if request.page_size < 0:
            raise InvalidInput("a page_size is not negative")
        if getattr(request, "return_partial_success", False):  # a field of newer releases
            raise NotOffered("return_partial_success is for lists of several collections")
        size = min(request.page_size or _PAGE, _MAX_PAGE)
        wanted, values = parse_filter(request.filter)
        after, more = page_after(request.page_token, request.filter)
        holder = current().holder
        if not holder.limits.admin:
            wanted, values = f"({wanted}) AND owner = ?", [*values, holder.name]

        def read() -> Any:
            rows = store.select(f"{wanted} AND {after}", [*values, *more], limit=size + 1)
            page = rows[:size]
            token = page_token(page[-1].number, request.filter) if len(rows) > size else ""
            return operations_pb2.ListOperationsResponse(
                operations=[self._without_response(row) for row in page], next_page_token=token
            )

        return await job.run(self._workers.cpu, read)

    async def cancel(self, request: Any, job: Job) -> empty_pb2.Empty:
        store, runner = self._kept()
        name = (await self._get(store, request.name, job)).id
        stored = await job.run(self._workers.cpu, runner.cancel, name)
        if stored.done:
            self._wake(name)
        return empty_pb2.Empty()

    async def delete(self, request: Any, job: Job) -> empty_pb2.Empty:
        store, _ = self._kept()
        stored = await self._get(store, request.name, job)
        await job.run(self._workers.cpu, store.delete, stored.id)
        return empty_pb2.Empty()

    async def _check(self, request: pb.StartEncodeRequest, job: Job) -> str:
        """Refuse what could not be encoded, before it is kept; return the codec's name."""
        targets = targets_of(request)
        if request.HasField("preview_interval") and seconds_of(request.preview_interval) <= 0:
            raise InvalidInput("a preview_interval is longer than nothing")
        if request.output not in pb.StartEncodeRequest.Output.values():
            raise InvalidInput(f"there is no output {request.output}")

        def prepare() -> Any:
            codec = self._engine.codecs.load(request.codec)
            codec.encode([], **settings_of(request))
            if targets and not codec.spec.resumable:
                raise InvalidInput(
                    f"{codec.spec.name} does not work towards a target; it is done when it is done"
                )
            return codec

        codec = await job.run(self._workers.compute, prepare)

        item = await self._engine.open_media(request.item, codec, job)
        if not isinstance(item, codec.media_type):
            wanted = codec.media_type.__name__
            raise InvalidInput(f"{codec.spec.name} encodes {wanted}, not {type(item).__name__}")
        return str(codec.spec.name)

    async def _get(self, store: Store, name: str, job: Job) -> Stored:
        """Return an operation of the caller's token; those of others are as if unknown."""
        stored = await job.run(self._workers.cpu, store.get, id_of(name))
        holder = current().holder
        if stored.owner != holder.name and not holder.limits.admin:
            raise UnknownOperation("there is no such operation, or not any more")
        return stored

    async def _message(self, stored: Stored, job: Job) -> Any:
        """Return an operation with all there is of it."""
        store, runner = self._kept()
        if stored.state is State.SUCCEEDED:
            response = await job.run(self._workers.cpu, store.files.response, stored.id)
            return operation(stored, keep_seconds=store.keep_seconds, response=response)
        running = runner.running(stored.id)
        return self._without_response(stored, running.preview if running else b"")

    def _without_response(self, stored: Stored, preview: bytes = b"") -> Any:
        store, runner = self._kept()
        running = None if stored.done else runner.running(stored.id)
        return operation(
            stored,
            keep_seconds=store.keep_seconds,
            progress=running.progress if running else None,
            preview=preview,
        )

    def _kept(self) -> tuple[Store, Runner]:
        if self._store is None or self._runner is None:
            raise NotOffered("this server keeps no jobs; it needs a folder: serve --jobs FOLDER")
        return self._store, self._runner

    def _wake(self, name: str) -> None:
        self._changed.set()
        for ended in self._waiting.get(name, ()):
            if not ended.done():
                ended.set_result(None)

    async def _keep_going(self) -> None:
        store, runner = self._kept()
        loop = asyncio.get_running_loop()
        while True:
            with suppress(sqlite3.Error):
                await loop.run_in_executor(self._workers.cpu, store.expire)
                await loop.run_in_executor(self._workers.cpu, runner.fill)
            await asyncio.sleep(min(_EXPIRE_SECONDS, max(self._options.keep_seconds / 4, 0.1)))
