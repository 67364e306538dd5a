"""Operations on disk: what was asked for, how far it is, what came of it."""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from google.rpc import code_pb2, status_pb2

from omnicodec.codecs import InvalidInput, LimitExceeded, Unavailable
from omnicodec.service.server.operations.files import Files
from omnicodec.service.server.refusals import NotEnded, UnknownOperation

_VERSION: Final = 2

_SCHEMA: Final = """
CREATE TABLE operations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- in order of arrival
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,                       -- name of the token it was started with
    request_id TEXT,                           -- NULL where the client chose none
    digest BLOB NOT NULL,                      -- SHA-256 of the request
    codec TEXT NOT NULL,
    state TEXT NOT NULL,
    cancel INTEGER NOT NULL DEFAULT 0,         -- whether someone asked for the end
    created REAL NOT NULL,                     -- seconds since 1970
    started REAL,
    ended REAL,
    bytes INTEGER NOT NULL,                    -- of the request, later of the response
    progress BLOB NOT NULL DEFAULT x'',        -- EncodeProgress
    share REAL NOT NULL DEFAULT 0,             -- the largest of all reports
    begun_share REAL NOT NULL DEFAULT 0,       -- the same when the work last began
    begun INTEGER NOT NULL DEFAULT 0,          -- how often it began without getting further
    error BLOB NOT NULL DEFAULT x'',           -- google.rpc.Status
    UNIQUE (owner, request_id)
);
CREATE INDEX operations_state ON operations (state, number);
"""

# Version 1 had no owners: its operations are those of a server without tokens.
_FROM_VERSION_1: Final = """
ALTER TABLE operations RENAME TO operations_1;
DROP INDEX operations_state;
{schema};
INSERT INTO operations ({columns}, owner) SELECT {columns}, '' FROM operations_1;
DROP TABLE operations_1;
"""
_COLUMNS_1: Final = (
    "number, id, request_id, digest, codec, state, cancel, created, started, ended, bytes, "
    "progress, share, begun_share, begun, error"
)

MAX_FRUITLESS: Final = 5
"""How often work may begin and end with the server, without getting further, before it fails."""


class State(StrEnum):
    """The states of an operation; `StartEncodeMetadata` says what they mean."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ENDED: Final = (State.SUCCEEDED, State.FAILED, State.CANCELLED)


CANCELLED: Final = status_pb2.Status(code=code_pb2.CANCELLED, message="the work was cancelled")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A row; times are in seconds since 1970."""

    number: int
    id: str
    owner: str
    digest: bytes
    codec: str
    state: State
    cancel: bool
    created: float
    started: float | None
    ended: float | None
    progress: bytes
    error: bytes

    @property
    def done(self) -> bool:
        return self.state in ENDED


_COLUMNS: Final = ", ".join(Stored.__dataclass_fields__)


class Store:
    """The operations in `folder`, which belongs to one server at a time.

    At most `most` are kept, and `most_bytes` of requests and responses together; those that
    ended `keep_seconds` ago are deleted by `expire`. Methods may be called from any thread.
    Raises `Unavailable` when the folder is another server's or cannot be used.

    Files are written before the row that tells of them, and removed after it. So a process
    that is killed in between leaves files without a row, which the next one removes, or a
    response of an operation that is not yet SUCCEEDED, which the next one makes so.
    """

    def __init__(self, folder: Path, *, keep_seconds: float, most: int, most_bytes: int) -> None:
        self.keep_seconds = keep_seconds
        self._most, self._most_bytes = most, most_bytes
        items = folder / "items"
        self.files = Files(items)
        self._lock = threading.RLock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            items.mkdir(mode=0o700, exist_ok=True)
            file = folder / "operations.sqlite3"
            file.touch(mode=0o600)  # messages of errors may quote what was sent
            self._db = sqlite3.connect(
                file,
                timeout=0,
                isolation_level=None,
                check_same_thread=False,
            )
        except (OSError, sqlite3.Error) as e:
            reason = getattr(e, "strerror", None) or e
            raise Unavailable(f"the folder of jobs {str(folder)!r} cannot be used: {reason}") from e
        try:
            self._open()
            self._recover()
        except sqlite3.OperationalError as e:
            self._db.close()
            if "locked" in str(e):
                raise Unavailable(f"another server has the folder of jobs {str(folder)!r}") from e
            raise Unavailable(f"the folder of jobs {str(folder)!r} cannot be used: {e}") from e
        except sqlite3.DatabaseError as e:
            self._db.close()
            raise Unavailable(f"the folder of jobs {str(folder)!r} is damaged: {e}") from e
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Let another server have the folder."""
        with self._lock:
            self._db.close()

    def add(
        self, request: bytes, *, request_id: str, digest: bytes, codec: str, owner: str = ""
    ) -> Stored:
        """Keep a serialized request as a new operation, and return it.

        With a `request_id` that another one of this owner has, that one is returned. Raises
        `InvalidInput` when that was another request by its `digest`, and `LimitExceeded` when
        there is no room.
        """
        with self._lock:
            known = self._room_for(request, request_id, digest, owner)
        if known is not None:
            return known
        name = secrets.token_hex(16)
        kept = False
        try:
            self.files.add(name, request)
            with self._lock:  # others were let in meanwhile
                known = self._room_for(request, request_id, digest, owner)
                if known is not None:
                    return known
                self._db.execute(
                    "INSERT INTO operations"
                    " (id, owner, request_id, digest, codec, state, created, bytes)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (name, owner, request_id or None, digest, codec, State.QUEUED, time.time(),
                     len(request)),
                )  # fmt: skip
                kept = True
                return self.get(name)
        finally:
            if not kept:
                self.files.remove(name)

    def find(self, request_id: str, owner: str = "") -> Stored | None:
        """Return the operation that a `request_id` of an owner stands for, if there is one."""
        if not request_id:
            return None
        found = self.select("request_id = ? AND owner = ?", [request_id, owner], limit=1)
        return found[0] if found else None

    def get(self, name: str) -> Stored:
        """Return an operation; raises `UnknownOperation`."""
        found = self.select("id = ?", [name], limit=1)
        if not found:
            raise UnknownOperation("there is no such operation, or not any more")
        return found[0]

    def select(self, where: str, values: Sequence[Any], *, limit: int) -> list[Stored]:
        """Return the operations that an SQL condition holds for, the newest first."""
        sql = f"SELECT {_COLUMNS} FROM operations WHERE {where} ORDER BY number DESC LIMIT ?"
        with self._lock:
            rows = self._db.execute(sql, (*values, limit)).fetchall()
        return [_stored(row) for row in rows]

    def claim(self) -> Stored | None:
        """Make the oldest QUEUED operation RUNNING and return it, if there is one."""
        with self._transaction():
            found = self._one(
                "SELECT id FROM operations WHERE state = ? ORDER BY number LIMIT 1", State.QUEUED
            )
            if found is None:
                return None
            self._db.execute(
                "UPDATE operations SET state = ?, started = coalesce(started, ?),"
                " begun = CASE WHEN share > begun_share THEN 1 ELSE begun + 1 END,"
                " begun_share = share WHERE id = ?",
                (State.RUNNING, time.time(), found[0]),
            )
            return self.get(found[0])

    def report(self, name: str, progress: bytes, share: float) -> None:
        """Keep how far an operation is."""
        with self._lock:
            self._db.execute(
                "UPDATE operations SET progress = ?, share = max(share, ?) WHERE id = ?",
                (progress, share, name),
            )

    def succeed(self, name: str, response: bytes) -> None:
        """Keep the response of an operation, which has ended with that."""
        self.files.respond(name, response)
        self._end(name, State.SUCCEEDED, size=len(response))

    def fail(self, name: str, error: status_pb2.Status) -> None:
        """Keep the error of an operation, which has ended with that: CANCELLED or FAILED."""
        cancelled = error.code == code_pb2.CANCELLED
        self._end(name, State.CANCELLED if cancelled else State.FAILED, error)

    def put_back(self, name: str) -> None:
        """Make a RUNNING operation QUEUED: this server is about to stop, in good order."""
        with self._lock:
            self._db.execute(
                "UPDATE operations SET state = ?, begun = 0 WHERE id = ?", (State.QUEUED, name)
            )

    def cancel(self, name: str) -> Stored:
        """Note that an operation is to end; one that no thread has begun ends here and now.

        Raises `UnknownOperation`.
        """
        with self._lock:
            if self.get(name).state is State.QUEUED:
                self._end(name, State.CANCELLED, CANCELLED)
            else:
                self._db.execute("UPDATE operations SET cancel = 1 WHERE id = ?", (name,))
            return self.get(name)

    def delete(self, name: str) -> None:
        """Forget an operation that has ended, with its files.

        Raises `UnknownOperation`, and `NotEnded` for one that has not.
        """
        with self._lock:
            if not self.get(name).done:
                raise NotEnded("the operation has not ended; cancel it first")
            self._db.execute("DELETE FROM operations WHERE id = ?", (name,))
            self.files.remove(name)

    def expire(self) -> None:
        """Delete what has ended `keep_seconds` ago."""
        for old in self.select("ended < ?", [time.time() - self.keep_seconds], limit=1000):
            with suppress(UnknownOperation):
                self.delete(old.id)

    def _room_for(
        self, request: bytes, request_id: str, digest: bytes, owner: str
    ) -> Stored | None:
        """Return the operation that a request began already; raises where there is no room."""
        known = self.find(request_id, owner)
        if known is not None:
            if known.digest != digest:
                raise InvalidInput("this request_id stands for another request already")
            return known
        count, size = self._one("SELECT count(*), total(bytes) FROM operations")
        if count >= self._most:
            raise LimitExceeded(f"{count:,} jobs are kept here; delete some that have ended")
        if size + len(request) > self._most_bytes:
            raise LimitExceeded(
                f"with this the jobs kept here would be over the limit of "
                f"{self._most_bytes:,} bytes; delete some that have ended"
            )
        return None

    def _open(self) -> None:
        # Exclusive until the connection is closed or its process gone, kill -9 included.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            (version,) = self._one("PRAGMA user_version")
            if version not in (0, 1, _VERSION):
                raise Unavailable(f"the jobs are of another version of omnicodec ({version})")
            if version == _VERSION:
                return
            script = _SCHEMA
            if version == 1:
                script = _FROM_VERSION_1.format(schema=_SCHEMA, columns=_COLUMNS_1)
            for statement in script.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def _recover(self) -> None:
        """Put in order what a killed server left."""
        for left in self.select("state = ?", [State.RUNNING], limit=-1):
            begun, share, before = self._one(
                "SELECT begun, share, begun_share FROM operations WHERE id = ?", left.id
            )
            size = self.files.response_size(left.id)
            if size is not None:
                self._end(left.id, State.SUCCEEDED, size=size)
            elif left.cancel:
                self._end(left.id, State.CANCELLED, CANCELLED)
            elif begun >= MAX_FRUITLESS and share <= before:
                message = f"the server ended {begun} times while it worked on this"
                self._end(
                    left.id,
                    State.FAILED,
                    status_pb2.Status(code=code_pb2.INTERNAL, message=message),
                )
            else:
                self._db.execute(
                    "UPDATE operations SET state = ? WHERE id = ?", (State.QUEUED, left.id)
                )
        rows = self._db.execute("SELECT id, ended FROM operations").fetchall()
        self.files.remove_all_but({name for name, _ in rows})
        for name, ended in rows:
            if ended is not None:
                self.files.tidy(name)

    def _end(
        self, name: str, state: State, error: status_pb2.Status | None = None, size: int = 0
    ) -> None:
        with self._lock:
            self._db.execute(
                "UPDATE operations SET state = ?, error = ?, ended = ?, bytes = ? WHERE id = ?",
                (state, error.SerializeToString() if error else b"", time.time(), size, name),
            )
            self.files.tidy(name)  # before anyone sees the end

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.execute(sql, values).fetchone()


def _stored(row: Sequence[Any]) -> Stored:
    values = dict(zip(Stored.__dataclass_fields__, row, strict=True))
    values["state"] = State(values["state"])
    values["cancel"] = bool(values["cancel"])
    return Stored(**values)
