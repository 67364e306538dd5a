"""All shards, once each, and the manifest: a run, from an empty folder or from where one ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omnicodec.codecs import CorruptStream, FingerprintMismatch, InvalidInput
from omnicodec.codecs.files import read_all
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.engines.base import Committed, Engine, Event, Lost, Progress
from omnicodec.service.batch.folder import (
    Folder,
    file_facts,
    foreign_names,
    locked,
    sync_folder,
    writing,
)
from omnicodec.service.batch.job import Job, differences, parse_job
from omnicodec.service.batch.layout import Layout
from omnicodec.service.batch.manifest import Manifest, Tally, assemble
from omnicodec.service.batch.plan import Plan, write_plan
from omnicodec.service.batch.records import FileFacts, Record
from omnicodec.service.batch.sinks import open_sink

_ENOUGH: Final = 100
"""Items before which no share of rejects says anything."""


@dataclass(frozen=True, slots=True)
class MaxRejects:
    """How many items may be rejected before a run goes wrong as a whole: a count, or a share.

    A share, 0 to 1, is judged from 100 items on, and at the end.
    """

    count: int | None = None
    share: float | None = None

    def exceeded(self, items: int, rejects: int, *, ended: bool = False) -> bool:
        """Return whether so many of so many items are too many."""
        if self.count is not None and rejects > self.count:
            return True
        judged = self.share is not None and (ended or items >= _ENOUGH)
        return judged and rejects > (self.share or 0.0) * items

    def __str__(self) -> str:
        return f"{100 * self.share:g}%" if self.share is not None else f"{self.count:,}"


@dataclass(frozen=True, slots=True)
class Status:
    """How far a run is: `shards` of them are done, `left` are not.

    `items`, `rejects`, `tokens` and `nbytes` (of sources) are of shards that are done and of those
    in work; `before` items of them were there when this run began. `all_items` is None where only
    reading tells.
    """

    shards: int
    left: int
    items: int
    before: int
    rejects: int
    tokens: int
    nbytes: int
    all_items: int | None
    all_nbytes: int


class Watch:
    """Who is told how a run goes; by itself it does nothing."""

    def planning(self) -> None:
        """The sources are listed, which may take a while."""

    def going(self, status: Status) -> None:
        """Something has changed."""

    def lost(self, event: Lost) -> None:
        """A worker is lost."""

    def repeated(self, shard: int, reason: str) -> None:
        """A shard that was committed is written again."""

    def finishing(self) -> None:
        """All shards are done; what spans them is written."""


def tokenize(
    job: Job,
    vocabulary: Vocabulary,
    out: Path,
    *,
    engine: Engine,
    max_rejects: MaxRejects | None = None,
    watch: Watch | None = None,
) -> Manifest:
    """Make the data set of a job in the folder `out`, or go on with it, and return its manifest.

    `vocabulary` is the one that the job names by its SHA-256. The bytes of the folder depend on
    the job and its sources alone. A data set that is finished is only looked at. Whatever ends this
    (an error, a signal, the machine), the same call goes on from there.

    Raises `Unavailable` while another run has the folder, `InvalidInput` for sources that cannot be
    read, a folder of anything else and too many rejects, `FingerprintMismatch` for a data set that
    was begun with other codecs, and whatever the engine raises.
    """
    folder, watch = Folder(out), watch or Watch()
    if foreign := foreign_names(out):
        raise InvalidInput(f"{str(out)!r} is no folder of a data set: it has {foreign[0]!r}")
    new = not out.exists()
    folder.make()
    try:
        with locked(folder) as lock:
            try:
                run = _Run(folder, job, engine, max_rejects or MaxRejects(), watch)
                run.begin(vocabulary)
                if folder.manifest.exists():
                    return run.look()
                engine.inherited = (lock,)
                run.write()
                return run.finish(vocabulary)
            finally:
                folder.clean()
    finally:
        if new and not folder.job.exists():
            _remove_empty(folder)


def _remove_empty(folder: Folder) -> None:
    """Remove a folder in which nothing has begun."""
    with suppress(OSError):
        folder.lock.unlink()
        for path in (folder.data, folder.records, folder.path):
            path.rmdir()


class _Run:
    """One run; the folder is locked."""

    def __init__(
        self, folder: Folder, job: Job, engine: Engine, most: MaxRejects, watch: Watch
    ) -> None:
        self._folder, self._job, self._engine = folder, job, engine
        self._most, self._watch = most, watch
        self._tally = Tally()
        self._done: set[int] = set()
        self._progress: dict[int, Progress] = {}
        self._last = ""

    def begin(self, vocabulary: Vocabulary) -> None:
        """Settle what is to be done, `job.json` last, or check that it is the same as before."""
        folder = self._folder
        if folder.job.exists():
            _check_same(folder, self._job)
        elif folder.manifest.exists() or folder.committed():
            raise CorruptStream(f"{str(folder.path)!r} has lost its job.json")
        else:
            folder.clean()
            self._watch.planning()
            write_plan(self._job, folder.plan)
            folder.save(vocabulary)
            folder.write(folder.job, [self._job.to_bytes()])
        self._plan = Plan(folder.plan)

    def look(self) -> Manifest:
        """Return the manifest of a finished data set, after a quick look at its files."""
        manifest = Manifest.load(self._folder.path)
        for name, facts in manifest.files.items():
            if _size(self._folder.data / name) != facts.nbytes:
                raise CorruptStream(
                    f"{str(self._folder.data / name)!r} is damaged or missing; "
                    f"`omnicodec verify {self._folder.path}` tells more"
                )
        self._remove_superfluous(manifest, map(self._folder.record, range(len(manifest.shards))))
        return manifest

    def write(self) -> None:
        """Have the engine write all shards that are not committed."""
        folder = self._folder
        folder.clean()
        folder.make()
        for shard in folder.committed():
            self._take_up(shard)
        self._before = self._tally.items
        missing = [shard for shard in range(len(self._plan)) if shard not in self._done]
        self._judge()
        if not missing:
            return
        self._watch.going(self._status())
        events = self._engine.run(folder.path, missing)
        try:
            for event in events:
                self._hear(event)
        finally:  # ends all work at once, where there is any left
            if close := getattr(events, "close", None):
                close()

    def finish(self, vocabulary: Vocabulary) -> Manifest:
        """Write what spans all shards, and the manifest last."""
        folder, job = self._folder, self._job
        self._check_counts()
        self._judge(ended=True)
        self._watch.finishing()
        records = [folder.record(shard) for shard in range(len(self._plan))]
        shards = [sorted(record.files) for record in records]
        facts = Layout.of(job, vocabulary).facts()
        sink = open_sink(job.format, facts)
        with writing(folder.data):
            names = sink.finish(folder.data, shards, folder.temporary("finish"))
        folder.write(folder.rejects, map(folder.rejects_bytes, range(len(self._plan))))
        manifest = assemble(
            job,
            records,
            plan=file_facts(folder.plan).sha256,
            facts=facts,
            files=self._files(names, records),
        )
        folder.write(folder.manifest, [manifest.to_bytes()])
        self._remove_superfluous(manifest, records)
        return manifest

    def _hear(self, event: Event) -> None:
        match event:
            case Progress(shard=shard):
                self._progress[shard] = event
                self._last = event.last or self._last
            case Committed(shard=shard):
                self._progress.pop(shard, None)
                self._done.add(shard)
                self._tally.add(self._folder.record(shard))
            case Lost(shard=shard):
                self._progress.pop(shard, None)
                self._watch.lost(event)
        self._watch.going(self._status())
        self._judge()

    def _take_up(self, shard: int) -> None:
        """Count a shard as done, if its record and its files are what they were."""
        folder = self._folder
        if shard >= len(self._plan):
            raise CorruptStream(f"{folder.record_of(shard)}: the plan has no such shard")
        try:
            record = folder.record(shard)
            for name, facts in record.files.items():
                if _size(folder.data / name) != facts.nbytes:
                    raise CorruptStream(f"{folder.data / name} is damaged or missing")
        except CorruptStream as e:
            self._watch.repeated(shard, str(e))
            with writing(folder.record_of(shard)):
                folder.record_of(shard).unlink()
            return
        self._tally.add(record)
        self._done.add(shard)

    def _status(self) -> Status:
        tally, working = self._tally, self._progress.values()
        return Status(
            shards=len(self._done),
            left=len(self._plan) - len(self._done),
            items=tally.items + sum(p.items for p in working),
            before=self._before,
            rejects=tally.rejects + sum(p.rejects for p in working),
            tokens=tally.tokens + sum(p.tokens for p in working),
            nbytes=tally.nbytes + sum(p.nbytes for p in working),
            all_items=self._plan.items,
            all_nbytes=self._plan.nbytes,
        )

    def _judge(self, *, ended: bool = False) -> None:
        """Raise `InvalidInput` where too many items are rejected."""
        status = self._status()
        if not self._most.exceeded(status.items, status.rejects, ended=ended):
            return
        reasons = [f"{name} {count:,}" for name, count in self._tally.reasons.most_common(3)]
        told = "; ".join(filter(None, [", ".join(reasons), self._last or self._last_reject()]))
        raise InvalidInput(
            f"{status.rejects:,} of {status.items:,} items were rejected, more than --max-rejects "
            f"{self._most}: {told}"
        )

    def _last_reject(self) -> str:
        """Return a reject of those that are committed, in words."""
        for shard in sorted(self._done):
            for reject in self._folder.read_rejects(shard):
                return f"{reject.position}: {reject.reason}"
        return ""

    def _check_counts(self) -> None:
        """Raise `CorruptStream` where the records do not add up to the plan."""
        planned, found = self._plan.items, self._tally.items
        if planned is not None and planned != found:
            raise CorruptStream(f"{planned:,} items were planned, {found:,} came in")

    def _files(self, names: Sequence[str], records: Iterable[Record]) -> dict[str, FileFacts]:
        """Return the facts of all files of the data set; records know most of them."""
        known = {name: facts for record in records for name, facts in record.files.items()}
        return {
            name: known.get(name) or file_facts(self._folder.data / name, sync=True)
            for name in names
        }

    def _remove_superfluous(self, manifest: Manifest, records: Iterable[Record]) -> None:
        """Remove the files of shards that are in others now; nothing else is touched."""
        folder = self._folder
        for record in records:
            for name in record.files:
                if name not in manifest.files:
                    with writing(folder.data / name):
                        (folder.data / name).unlink(missing_ok=True)
        with writing(folder.data):
            sync_folder(folder.data)


def _check_same(folder: Folder, job: Job) -> None:
    """Raise an error that says what differs where the data set is that of another job."""
    begun = parse_job(read_all(folder.job), folder.job)
    if begun.digest == job.digest:
        return
    changed = differences(begun, job)
    fingerprints = any(name.endswith("fingerprint") for name, _, _ in changed)
    kind = FingerprintMismatch if fingerprints else InvalidInput
    told = "; ".join(f"{name} was {was!r}, is {now!r}" for name, was, now in changed[:3])
    more = f", and {len(changed) - 3} more" if len(changed) > 3 else ""
    raise kind(f"{str(folder.path)!r} was begun otherwise: {told}{more}; take another folder")


def _size(path: Path) -> int:
    """Return the size of a file, -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
