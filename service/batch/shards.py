"""One shard, from its sources to its files: what every engine runs, as often as it has to.

The stages are threads: sources are read, files are opened, the caller's thread encodes, and rows
are laid out and written behind it. What comes out depends on the job and the sources alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from omnicodec.codecs import InvalidInput, LimitExceeded
from omnicodec.codecs.files import read_all
from omnicodec.codecs.threads import thread_count
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.documents import Item, Reject
from omnicodec.service.batch.encoding import Encoder
from omnicodec.service.batch.engines.base import Progress
from omnicodec.service.batch.flow import Flow
from omnicodec.service.batch.folder import Folder, commit_shard, writing
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.layout import Layout
from omnicodec.service.batch.opening import Opener, windows
from omnicodec.service.batch.plan import Plan
from omnicodec.service.batch.records import Counts, Record
from omnicodec.service.batch.sinks.base import ShardWriter
from omnicodec.service.batch.sources.base import Source
from omnicodec.service.batch.tasks import Found, Task, token_count

WINDOW_PARTS: Final = 4096
WINDOW_BYTES: Final = 1 << 22
WINDOW_BYTES_ON_DEVICE: Final = 1 << 27
"""Bytes of open media that are encoded together: on a GPU, enough for groups of one shape."""

_ENTRIES: Final = 1024
_ENTRIES_BYTES: Final = 1 << 20

Entry = Item | Reject


def write_shard(
    folder: Path,
    shard: int,
    *,
    tell: Callable[[Progress], None],
    at: Callable[[str], None] = lambda _: None,
    blamed: Mapping[str, str] | None = None,
    device: str = "auto",
    threads: int = 0,
    careful: bool = False,
    cancel: threading.Event | None = None,
) -> Record:
    """Write and commit a shard of the data set in `folder`, and return its record.

    What else is given, and raised, is as in `write_entries`; of a shard that is not committed
    nothing but temporary files is left.
    """
    job, plan, vocabulary = _data_set(folder)
    temporary = Folder(folder).temporary(str(shard))
    entries = _Entries(job, plan, shard)
    try:
        record, rejects = write_entries(
            job,
            vocabulary,
            entries,
            temporary,
            shard,
            tell=tell,
            at=at,
            blamed=blamed,
            device=device,
            threads=threads,
            careful=careful,
            cancel=cancel,
        )
        if record.items != entries.count:
            raise RuntimeError(f"shard {shard}: {entries.count} items in, {record.items} out")
        return commit_shard(folder, temporary, record, rejects)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_entries(
    job: Job,
    vocabulary: Vocabulary,
    entries: Iterable[Entry],
    temporary: Path,
    shard: int,
    *,
    tell: Callable[[Progress], None],
    at: Callable[[str], None] = lambda _: None,
    blamed: Mapping[str, str] | None = None,
    device: str = "auto",
    threads: int = 0,
    careful: bool = False,
    cancel: threading.Event | None = None,
) -> tuple[Record, list[Reject]]:
    """Write the files of a shard of these items into an empty folder.

    Returns the record, without its files, and the rejects.

    `tell` hears of progress behind each group of items, and now and then within work that takes
    minutes. `blamed` has positions of items that are rejected untouched, and the reasons.
    `threads` is how many this process is to use (0: as many as it finds right), networks on a CPU
    aside, which have one; it is a setting of the process from then on. With `careful` items go one
    by one in this thread, and `at` hears of the position of each before it is touched, and ""
    behind it: who dies in between has died of that one.

    All calls are from this thread. Raises `Cancelled` when `cancel` is set, `InvalidInput` when
    files cannot be written, and what codecs, sources and sinks raise when they cannot work at
    all.
    """
    if threads:
        _use_threads(threads)
    opener = Opener(
        limits=job.limits,
        modalities=frozenset(choice.modality for choice in job.codecs),
        scratch=temporary,
        at=at if careful else None,
    )
    progress = _Progress(shard, tell)
    with (
        _writer(job, vocabulary, temporary, shard) as writer,
        Flow(threads=not careful, cancel=cancel) as flow,
        Encoder(job, device=device, check=flow.check, alive=progress.repeat) as encoder,
    ):
        opened = windows(
            flow,
            opener,
            _flat(flow.ahead(_lists(entries, 1 if careful else _ENTRIES))),
            blamed=blamed or {},
            threads=threads or thread_count(),
            most_parts=1 if careful else WINDOW_PARTS,
            most_weight=WINDOW_BYTES if _on_cpu(job, device) else WINDOW_BYTES_ON_DEVICE,
        )
        write = flow.behind(writer.write)
        for window in flow.ahead(opened):
            if tasks := encoder.encode(window):
                write(tasks)
                progress.add(tasks)
                if careful:
                    at("")
        flow.finish()
        return writer.finish(shard)


class _Entries:
    """What the sources of a shard yield; `count` is how many there were so far."""

    def __init__(self, job: Job, plan: Plan, shard: int) -> None:
        self._specs, self._slices = plan.specs(job), plan[shard]
        self._max_bytes = job.limits.nbytes
        self.count = 0

    def __iter__(self) -> Iterator[Entry]:
        from omnicodec.service.batch.sources import open_source

        source: Source | None = None
        for piece in self._slices:
            if source is None or source.number != piece.source:
                source = open_source(self._specs[piece.source], piece.source)
                source.max_bytes = self._max_bytes
            before = self.count
            for entry in source.read(piece):
                self.count += 1
                yield entry
            found = self.count - before
            if piece.items is not None and found != piece.items:
                raise RuntimeError(f"{piece.path!r}: {found} items of {piece.items} were read")


def _lists(entries: Iterable[Entry], most: int) -> Iterator[list[Entry]]:
    """Yield entries in lists: so many at most, and not many bytes."""
    held: list[Entry] = []
    weight = 0
    for entry in entries:
        held.append(entry)
        weight += _weight(entry)
        if len(held) >= most or weight >= _ENTRIES_BYTES:
            yield held
            held, weight = [], 0
    if held:
        yield held


def _weight(entry: Entry) -> int:
    if isinstance(entry, Reject):
        return 0
    return sum(len(part.data) for part in entry.parts if isinstance(part.data, bytes))


def _flat(lists: Iterable[list[Entry]]) -> Iterator[Entry]:
    for entries in lists:
        yield from entries


class _Writer:
    """Lays out what is done, writes it, and keeps the counts of the record."""

    def __init__(self, layout: Layout, sink: ShardWriter, place: Path) -> None:
        self._layout, self._sink, self._place = layout, sink, place
        self._rejects: list[Reject] = []
        self._tallies: dict[str, _Tally] = {}
        self._written = 0

    def write(self, tasks: list[Task]) -> None:
        """Write tasks that are done; raises `InvalidInput` when a file cannot be written."""
        with writing(self._place):
            for task in tasks:
                if (reject := task.reject) is None:
                    self._write(task)
                else:
                    self._rejects.append(reject)

    def _write(self, task: Task) -> None:
        item = task.item
        found = task.found[0] if len(task.found) == 1 else sum(task.found, ())
        try:
            rows = self._layout.rows(item.key, item.position, [each.tokens for each in found])
        except (InvalidInput, LimitExceeded) as e:
            self._rejects.append(Reject.of(item, e))
            return
        self._written += 1
        for each in found:
            name = each.tokens.codec
            if name not in self._tallies:
                self._tallies[name] = _Tally()
            self._tallies[name].add(each)
        for row in rows:
            self._sink.write(row)

    def finish(self, shard: int) -> tuple[Record, list[Reject]]:
        """Return the record, without files, and the rejects; all is written then."""
        with writing(self._place):
            for row in self._layout.flush():
                self._sink.write(row)
            self._sink.close()
        reasons: dict[str, int] = {}
        for reject in self._rejects:
            reasons[reject.error] = reasons.get(reject.error, 0) + 1
        record = Record(
            shard=shard,
            items=self._written + len(self._rejects),
            written=self._written,
            rejects=len(self._rejects),
            rows=self._layout.row_count,
            tokens=self._layout.token_count,
            codecs={name: tally.counts() for name, tally in self._tallies.items()},
            packing=self._layout.figures,
            reasons=reasons,
        )
        return record, self._rejects


@contextlib.contextmanager
def _writer(job: Job, vocabulary: Vocabulary, temporary: Path, shard: int) -> Iterator[_Writer]:
    """Open the sink; where it is not finished, it closes its files."""
    from omnicodec.service.batch.sinks import open_sink

    layout = Layout.of(job, vocabulary)
    with writing(temporary):
        sink = open_sink(job.format, layout.facts()).open_shard(temporary, shard)
    try:
        yield _Writer(layout, sink, temporary)
    except BaseException:
        with contextlib.suppress(Exception):
            sink.abandon()
        raise


class _Tally:
    """`Counts` that are being counted."""

    def __init__(self) -> None:
        self.parts = self.positions = self.tokens = self.nbytes = self.units = 0
        self.seconds = 0.0

    def add(self, found: Found) -> None:
        self.parts += 1
        self.positions += len(found.tokens)
        self.tokens += token_count(found.tokens)
        self.nbytes += found.nbytes
        self.units += found.units
        self.seconds += found.seconds

    def counts(self) -> Counts:
        return Counts(**vars(self))


class _Progress:
    """Tells how far a shard is."""

    def __init__(self, shard: int, tell: Callable[[Progress], None]) -> None:
        self.shard, self._tell = shard, tell
        self._items = self._rejects = self._tokens = self._nbytes = 0
        self._last = ""

    def add(self, tasks: list[Task]) -> None:
        for task in tasks:
            self._items += 1
            if (reject := task.reject) is not None:
                self._rejects += 1
                self._last = f"{reject.position}: {reject.reason}"
                continue
            for part in task.found:
                for found in part:
                    self._tokens += token_count(found.tokens)
                    self._nbytes += found.nbytes
        self.repeat()

    def repeat(self) -> None:
        counts = self._items, self._rejects, self._tokens, self._nbytes
        self._tell(Progress(self.shard, *counts, self._last))


def _data_set(folder: Path) -> tuple[Job, Plan, Vocabulary]:
    """Return what a folder says is to be done, read once by each process."""
    home = Folder(folder)
    try:
        facts = [path.stat() for path in (home.job, home.plan)]
    except OSError as e:
        raise InvalidInput(f"{str(folder)!r} is not the folder of a data set: {e.strerror}") from e
    return _read_data_set(folder, tuple((f.st_ino, f.st_mtime_ns, f.st_size) for f in facts))


@lru_cache(maxsize=2)
def _read_data_set(folder: Path, _: tuple[tuple[int, ...], ...]) -> tuple[Job, Plan, Vocabulary]:
    home = Folder(folder)
    return _read_job(home.job), Plan(home.plan), Vocabulary.load(home.vocabulary)


def _read_job(path: Path) -> Job:
    try:
        return Job.from_json(json.loads(read_all(path)))
    except ValueError as e:
        raise InvalidInput(f"{str(path)!r} is no job: {e}") from e


def _use_threads(count: int) -> None:
    """Have this process's codecs use so many threads; libraries read these when they start."""
    for name in ("OMNICODEC_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(count)


def _on_cpu(job: Job, device: str) -> bool:
    if device != "auto" or all(choice.modality == "text" for choice in job.codecs):
        return device in ("auto", "cpu")  # text has no network that runs on a device
    from omnicodec.codecs.registry import resolve_device

    return resolve_device(device) == "cpu"
