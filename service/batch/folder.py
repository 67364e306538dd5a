"""The folder of a data set: its names, its lock, and how a shard gets into it whole or not at all.

    job.json, plan.jsonl, vocabulary.json   what is to be done, written once at the start
    data/                                   files of the sink
    records/00000000.json                   the record of a shard, written last: the shard is whole
    records/00000000.rejects.jsonl          its rejects, if it has any
    rejects.jsonl, manifest.json            all of it, once everything is done
    .tmp/, .lock                            what is unfinished, and the lock of the run

All files but the last two are the same, byte by byte, for the same job.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from omnicodec.codecs import CorruptStream, InvalidInput, Unavailable
from omnicodec.codecs.files import read_all
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.documents import Reject
from omnicodec.service.batch.records import FileFacts, Record

_PIECE: Final = 1 << 20
_RECORD: Final = re.compile(r"(\d{8,})\.json")
_REJECTS: Final = re.compile(r"(\d{8,})\.rejects\.jsonl")
_PATIENCE: Final = 3.0
"""Seconds that a run waits for workers of one that was killed: they end with it, but not sooner."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The names of all that a data set consists of; nothing is made or checked by it alone."""

    path: Path

    @property
    def job(self) -> Path:
        return self.path / "job.json"

    @property
    def plan(self) -> Path:
        return self.path / "plan.jsonl"

    @property
    def vocabulary(self) -> Path:
        return self.path / "vocabulary.json"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def rejects(self) -> Path:
        return self.path / "rejects.jsonl"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def records(self) -> Path:
        return self.path / "records"

    @property
    def unfinished(self) -> Path:
        return self.path / ".tmp"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    def record_of(self, shard: int) -> Path:
        return self.records / f"{shard:08d}.json"

    def rejects_of(self, shard: int) -> Path:
        return self.records / f"{shard:08d}.rejects.jsonl"

    def make(self) -> None:
        """Make the folders; raises `InvalidInput` where that cannot be."""
        for path in (self.path, self.data, self.records, self.unfinished):
            with writing(path):
                path.mkdir(parents=True, exist_ok=True)

    def temporary(self, name: str) -> Path:
        """Return a new, empty folder for unfinished files, named after what they are of."""
        path = self.unfinished / f"{name}-{os.getpid()}-{secrets.token_hex(4)}"
        with writing(path):
            path.mkdir(parents=True)
        return path

    def clean(self) -> None:
        """Remove all that is unfinished."""
        with writing(self.unfinished), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.unfinished)

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Write a file of the folder, whole or not at all: unfinished ones lie in `.tmp` alone."""
        with self.writing(path) as file:
            for piece in pieces:
                file.write(piece)

    @contextlib.contextmanager
    def writing(self, path: Path) -> Iterator[IO[bytes]]:
        """Open a file of the folder for writing; it appears when all is written, or never."""
        with writing(path):
            self.unfinished.mkdir(exist_ok=True)
            temporary = self.unfinished / f"{path.name}-{os.getpid()}-{secrets.token_hex(4)}"
            try:
                with open(temporary, "xb") as file:
                    yield file
                    _sync(file)
                temporary.replace(path)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
            sync_folder(path.parent)

    def committed(self) -> list[int]:
        """Return the numbers of all shards that are committed, sorted."""
        return sorted(
            int(found[1])
            for name in _names(self.records)
            if (found := _RECORD.fullmatch(name)) is not None
        )

    def record(self, shard: int) -> Record:
        """Return the record of a committed shard; raises `CorruptStream` when it is damaged."""
        path = self.record_of(shard)
        try:
            found = Record.from_bytes(read_all(path))
        except CorruptStream as e:
            raise CorruptStream(f"{path}: {e}") from e
        if found.shard != shard:
            raise CorruptStream(f"{path}: it is the record of shard {found.shard}")
        return found

    def save(self, vocabulary: Vocabulary) -> None:
        """Write `vocabulary.json`, and the text vocabulary beside it where it has one."""
        own = self.vocabulary.name
        files = vocabulary.files(own)
        for name in sorted(files, key=lambda name: name == own):  # what it names comes first
            self.write(self.path / name, [files[name]])

    def rejects_bytes(self, shard: int) -> bytes:
        """Return the lines of the rejects of a committed shard."""
        path = self.rejects_of(shard)
        return read_all(path) if path.exists() else b""

    def read_rejects(self, shard: int) -> list[Reject]:
        """Return the rejects of a committed shard; raises `CorruptStream` when damaged."""
        return parse_rejects(self.rejects_bytes(shard), self.rejects_of(shard))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of the system into `InvalidInput`: one line that names the path."""
    try:
        yield
    except OSError as e:
        raise InvalidInput(f"cannot write {str(path)!r}: {e.strerror or e}") from e


def write_rejects(rejects: Iterable[Reject]) -> Iterator[bytes]:
    """Yield the lines of a file of rejects."""
    for reject in rejects:
        yield json.dumps(reject.to_json()).encode() + b"\n"


def parse_rejects(data: bytes, path: Path) -> list[Reject]:
    """Return the rejects in a file's content; raises `CorruptStream` for anything else."""
    try:
        return [Reject.from_json(json.loads(line)) for line in data.splitlines()]
    except (ValueError, TypeError) as e:
        raise CorruptStream(f"{path}: not a list of rejects: {e}") from e


def commit_shard(
    folder: Path, temporary: Path, record: Record, rejects: Sequence[Reject]
) -> Record:
    """Move the files of a shard from `temporary` to where they belong, and then its record.

    `temporary` is a folder of `Folder.temporary` that holds what the sink wrote and nothing else;
    it is gone afterwards. Returns the record with its files. Each step leaves nothing that the
    same commit, done again, does not replace. Raises `InvalidInput` when a file cannot be written.
    """
    home = Folder(folder)
    names = sorted(
        file.relative_to(temporary).as_posix() for file in temporary.rglob("*") if file.is_file()
    )
    facts: dict[str, FileFacts] = {}
    for name in names:
        with writing(home.data / name):
            facts[name] = file_facts(temporary / name, sync=True)
    for name in names:
        target = home.data / name
        with writing(target):
            if "/" in name:
                target.parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).replace(target)
    for parent in {(home.data / name).parent for name in names}:
        with writing(parent):
            sync_folder(parent)
    if rejects:
        home.write(home.rejects_of(record.shard), write_rejects(rejects))
    else:  # of a commit that was not finished, when the sources were others
        with writing(home.rejects_of(record.shard)):
            home.rejects_of(record.shard).unlink(missing_ok=True)
    whole = replace(record, files=facts)
    home.write(home.record_of(record.shard), [whole.to_bytes()])
    shutil.rmtree(temporary, ignore_errors=True)
    return whole


def file_facts(path: Path, *, sync: bool = False) -> FileFacts:
    """Return size and SHA-256 of a file; `sync` puts it on the disk first."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as file:
        if sync:
            os.fsync(file.fileno())
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return FileFacts(size, digest.hexdigest())


def sync_folder(path: Path) -> None:
    """Put a folder's names on the disk."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  # a path object for each of a million names
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def locked(folder: Folder) -> Iterator[int]:
    """Hold the lock of a folder, and yield the file that carries it.

    Workers on this machine inherit that file, so that the lock is free when all of them are gone,
    even if the run was killed. Raises `Unavailable` when another run has it.
    """
    with writing(folder.lock):
        file = open(folder.lock, "a+b")  # noqa: SIM115
    with file:
        ends = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as e:
                if time.monotonic() > ends:
                    file.seek(0)
                    owner = file.read(200).decode("utf-8", "replace").strip() or "its workers"
                    raise Unavailable(
                        f"another run is writing {str(folder.path)!r}: {owner}"
                    ) from e
                time.sleep(0.05)
            except OSError as e:  # some network file systems have no locks
                raise Unavailable(f"cannot lock {str(folder.lock)!r}: {e.strerror}") from e
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        file.flush()
        try:
            yield file.fileno()
        finally:
            file.truncate(0)


_OURS: Final[Mapping[str, bool]] = {
    "job.json": False,
    "plan.jsonl": False,
    "vocabulary.json": False,
    "vocabulary.tokenizer.json": False,
    "manifest.json": False,
    "rejects.jsonl": False,
    "data": True,
    "records": True,
    ".tmp": True,
    ".lock": False,
}
"""All names in the folder of a data set, and whether they are folders."""


def foreign_names(folder: Path) -> list[str]:
    """Return the names in a folder that are not those of a data set, sorted.

    Raises `InvalidInput` when it is no folder or cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.name not in _OURS
                or entry.is_dir(follow_symlinks=False) != _OURS[entry.name]
            )
    except FileNotFoundError:
        return []
    except OSError as e:
        raise InvalidInput(f"cannot use {str(folder)!r}: {e.strerror}") from e


def is_record_name(name: str) -> int | None:
    """Return the shard that a file in `records/` belongs to, None for one that is foreign."""
    found = _RECORD.fullmatch(name) or _REJECTS.fullmatch(name)
    return None if found is None else int(found[1])
