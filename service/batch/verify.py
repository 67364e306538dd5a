"""Whether a data set is whole: its files are what the manifest says, and nothing else is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs import CorruptStream, OmnicodecError
from omnicodec.codecs.files import read_all
from omnicodec.codecs.threads import in_order
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.folder import (
    Folder,
    file_facts,
    foreign_names,
    is_record_name,
    parse_rejects,
)
from omnicodec.service.batch.job import parse_job
from omnicodec.service.batch.manifest import Manifest, assemble
from omnicodec.service.batch.plan import Plan
from omnicodec.service.batch.records import FileFacts, Record
from omnicodec.service.batch.sinks import open_sink

MOST: Final = 1000
"""Problems that are told one by one."""


@dataclass
class Findings:
    """What `verify` found: counts of what was looked at, and what is wrong, a line each."""

    shards: int = 0
    items: int = 0
    rejects: int = 0
    rows: int = 0
    files: int = 0
    nbytes: int = 0
    opened: int = 0
    problems: list[str] = field(default_factory=list)
    more_problems: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems

    def add(self, problem: str) -> None:
        """Note a problem."""
        if len(self.problems) < MOST:
            self.problems.append(problem)
        else:
            self.more_problems += 1

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **{name: getattr(self, name) for name in self.__dataclass_fields__}}


def verify(
    out: Path, *, deep: bool = False, watch: Callable[[int, int], None] | None = None
) -> Findings:
    """Return what is wrong with the data set in a folder, in both directions.

    Every file that the manifest names must be there with its size and SHA-256, and nothing else;
    the records, the rejects, the plan, the job and the vocabulary must agree with it and with each
    other. With `deep` every row is opened and unpacked to the tokens of its items. `watch` is told
    how many bytes, then rows, of how many are done. Raises `InvalidInput` where there is no
    finished data set, `CorruptStream` for a manifest that is damaged, and `Unavailable` for a
    library that is missing.
    """
    return _Verifier(Manifest.load(out), Folder(out), watch or (lambda _, __: None)).run(deep)


class _Verifier:
    def __init__(
        self, manifest: Manifest, folder: Folder, watch: Callable[[int, int], None]
    ) -> None:
        self._manifest, self._folder, self._watch = manifest, folder, watch
        self._found = Findings(shards=len(manifest.shards))

    def run(self, deep: bool) -> Findings:
        for check in (self._settled, self._foreign, self._shards, self._files):
            self._guarded(check)
        if deep and self._found.ok:
            self._guarded(self._rows)
        return self._found

    def _guarded(self, check: Callable[[], None]) -> None:
        """Run a check; what it cannot read is a problem."""
        try:
            check()
        except CorruptStream as e:
            self._found.add(str(e))
        except OSError as e:
            self._found.add(f"cannot read {e.filename!r}: {e.strerror}")

    def _expect(self, what: str, found: object, told: object) -> None:
        if found != told:
            self._found.add(f"{what}: {found!r}, the manifest says {told!r}")

    def _settled(self) -> None:
        """Check what was settled before: job, plan and vocabulary."""
        folder, manifest = self._folder, self._manifest
        for path, told in ((folder.plan, manifest.plan), (folder.vocabulary, manifest.vocabulary)):
            if not path.exists():
                self._found.add(f"{path.name} is missing")
            elif file_facts(path).sha256 != told:
                self._found.add(f"{path.name} is not that of the manifest")
        self._expect(
            "the job in manifest.json has digest", manifest.job.digest, manifest.job_digest
        )
        if not folder.job.exists():
            self._found.add("job.json is missing")
        elif parse_job(read_all(folder.job), folder.job) != manifest.job:
            self._found.add("job.json is not that of the manifest")

    def _foreign(self) -> None:
        """Check that nothing is there that nobody wrote."""
        for name in foreign_names(self._folder.path):
            self._found.add(f"{name} is no file of a data set")
        for name in sorted(os.listdir(self._folder.records)):  # noqa: PTH208
            shard = is_record_name(name)
            if shard is None or shard >= len(self._manifest.shards):
                self._found.add(f"records/{name} is no record of this data set")
        for name in _below(self._folder.data):
            if name not in self._manifest.files:
                self._found.add(f"data/{name} is not in the manifest")

    def _shards(self) -> None:
        """Check records and rejects, and that they add up to the manifest."""
        folder, manifest, found = self._folder, self._manifest, self._found
        plan = Plan(folder.plan) if folder.plan.exists() else None
        if plan is not None:
            self._expect("shards of the plan", len(plan), len(manifest.shards))
        records: list[Record] = []
        rejects = bytearray()
        for shard in range(len(manifest.shards)):
            if not folder.record_of(shard).exists():
                found.add(f"records/{folder.record_of(shard).name} is missing")
                continue
            try:
                records.append(folder.record(shard))
                rejects += self._rejects(records[-1])
            except CorruptStream as e:
                found.add(str(e))
                continue
            if plan is not None and shard < len(plan):
                counts = [piece.items for piece in plan[shard]]
                if None not in counts and sum(filter(None, counts)) != records[-1].items:
                    found.add(
                        f"shard {shard}: {records[-1].items} items came in, "
                        f"{sum(filter(None, counts))} were planned"
                    )
        if not folder.rejects.exists() or read_all(folder.rejects) != rejects:
            found.add("rejects.jsonl is not that of the shards")
        if len(records) == len(manifest.shards):
            self._compare(records)

    def _rejects(self, record: Record) -> bytes:
        """Return the lines of a shard's rejects, which are as many as its record says."""
        data = self._folder.rejects_bytes(record.shard)
        path = self._folder.rejects_of(record.shard)
        rejects = parse_rejects(data, path)
        reasons: dict[str, int] = {}
        for reject in rejects:
            reasons[reject.error] = reasons.get(reject.error, 0) + 1
        if len(rejects) != record.rejects or reasons != dict(record.reasons):
            raise CorruptStream(
                f"records/{path.name}: {len(rejects)} rejects, the record says {record.rejects}"
            )
        return data

    def _compare(self, records: list[Record]) -> None:
        """Check that the manifest is the one that follows from the records."""
        manifest, found = self._manifest, self._found
        whole = assemble(
            manifest.job,
            records,
            plan=manifest.plan,
            facts=manifest.facts,
            files=manifest.files,
        )
        for name in manifest.__dataclass_fields__:
            if getattr(whole, name) != getattr(manifest, name):
                found.add(f"manifest.json: {name} does not follow from the records")
        found.items, found.rejects, found.rows = whole.items, whole.rejects, whole.rows
        for record in records:
            for name, facts in record.files.items():
                if name in manifest.files and manifest.files[name] != facts:
                    found.add(f"data/{name}: the record of shard {record.shard} says otherwise")

    def _files(self) -> None:
        """Check size and SHA-256 of every file."""
        manifest, found = self._manifest, self._found
        whole = sum(facts.nbytes for facts in manifest.files.values())

        def look(name: str) -> tuple[str, FileFacts | str]:
            try:
                return name, file_facts(self._folder.data / name)
            except FileNotFoundError:
                return name, "is missing"
            except OSError as e:
                return name, f"cannot be read: {e.strerror}"

        for name, seen in in_order(look, manifest.files):
            told = manifest.files[name]
            if isinstance(seen, str):
                found.add(f"data/{name} {seen}")
            elif seen.nbytes != told.nbytes:
                found.add(f"data/{name} has {seen.nbytes:,} bytes instead of {told.nbytes:,}")
            elif seen != told:
                found.add(f"data/{name} is damaged: its SHA-256 is another one")
            found.files += 1
            found.nbytes += told.nbytes
            self._watch(found.nbytes, whole)

    def _rows(self) -> None:
        """Open and unpack every row."""
        from omnicodec.service.batch.unpack import documents

        manifest, found = self._manifest, self._found
        vocabulary = Vocabulary.load(self._folder.vocabulary)
        sink = open_sink(manifest.sink, manifest.facts)
        rows = sink.open(self._folder.data, list(manifest.files))
        try:
            self._expect("rows of the files", len(rows), manifest.rows)
            for index in range(len(rows)):
                try:
                    for document in documents(rows[index], vocabulary):
                        for problem in document.problems if document.whole else ():
                            found.add(f"row {index}: {problem}")
                except OmnicodecError as e:
                    found.add(f"row {index}: {e}")
                found.opened += 1
                self._watch(found.opened, len(rows))
        finally:
            rows.close()


def _below(folder: Path) -> Iterator[str]:
    """Yield the names of all files in a folder and those in it, sorted."""
    for path, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            yield (Path(path) / name).relative_to(folder).as_posix()
