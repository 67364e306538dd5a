"""The manifest: what a finished data set consists of, worked out from its records alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs import CorruptStream, InvalidInput
from omnicodec.codecs.files import read_all
from omnicodec.service.batch.folder import Folder
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.records import Counts, FileFacts, Record

FORMAT: Final = "omnicodec.dataset.v1"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A finished data set: all that stands in `manifest.json`.

    `plan` and `vocabulary` are SHA-256 of these files, in hex; `sink` and `facts` are what
    `sinks.open_sink` takes. `codecs` has the fingerprint, the modality and the counts of each
    codec by name. `shards` has "rows" and "files" of each shard; `files` are all in `data/`.
    """

    job: Job
    job_digest: str
    plan: str
    vocabulary: str
    sink: str
    facts: Mapping[str, Any]
    codecs: Mapping[str, Mapping[str, Any]]
    items: int
    written: int
    rejects: int
    reasons: Mapping[str, int]
    rows: int
    tokens: int
    packing: Mapping[str, int]
    shards: Sequence[Mapping[str, Any]]
    files: Mapping[str, FileFacts]

    @property
    def modalities(self) -> dict[str, str]:
        """The modality of each codec by name."""
        return {name: facts["modality"] for name, facts in self.codecs.items()}

    def to_bytes(self) -> bytes:
        """Return the content of `manifest.json`."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields["job"] = self.job.to_json()
        fields["files"] = {name: asdict(self.files[name]) for name in sorted(self.files)}
        return (json.dumps({"format": FORMAT, **fields}, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Return what `to_bytes` wrote; raises `CorruptStream` for anything else."""
        try:
            value = json.loads(data)
            if value.pop("format") != FORMAT:
                raise ValueError("it is of another version")
            value["job"] = Job.from_json(value["job"])
            value["files"] = {name: FileFacts(**facts) for name, facts in value["files"].items()}
            return cls(**value)
        except (ValueError, KeyError, TypeError, AttributeError, InvalidInput) as e:
            raise CorruptStream(f"not the manifest of a data set: {e}") from e

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """Read the manifest of a data set's folder.

        Raises `InvalidInput` where there is none, and `CorruptStream` for a damaged one.
        """
        path = Folder(Path(folder)).manifest
        if not path.exists():
            begun = Folder(Path(folder)).job.exists()
            raise InvalidInput(
                f"{str(folder)!r} is not finished: run its `omnicodec tokenize` again"
                if begun
                else f"{str(folder)!r} is no data set of `omnicodec tokenize`"
            )
        try:
            return cls.from_bytes(read_all(path))
        except CorruptStream as e:
            raise CorruptStream(f"{str(path)!r}: {e}") from e


class Tally:
    """Adds up records."""

    def __init__(self) -> None:
        self.items = self.written = self.rejects = self.rows = self.tokens = 0
        self.nbytes = 0
        self.reasons: Counter[str] = Counter()
        self.packing: Counter[str] = Counter()
        self.codecs: dict[str, Counts] = {}

    def add(self, record: Record) -> None:
        """Add one; raises `CorruptStream` where items got lost."""
        if record.items != record.written + record.rejects:
            raise CorruptStream(
                f"shard {record.shard} had {record.items} items, of which {record.written} were "
                f"written and {record.rejects} rejected"
            )
        for name in ("items", "written", "rejects", "rows", "tokens"):
            setattr(self, name, getattr(self, name) + getattr(record, name))
        self.reasons.update(record.reasons)
        self.packing.update(record.packing)
        for name, counts in record.codecs.items():
            self.codecs[name] = self.codecs.get(name, Counts()) + counts
            self.nbytes += counts.nbytes


def assemble(
    job: Job,
    records: Iterable[Record],
    *,
    plan: str,
    facts: Mapping[str, Any],
    files: Mapping[str, FileFacts],
) -> Manifest:
    """Return the manifest of a data set that has these records and these files.

    `plan` is the SHA-256 of the plan. Raises `CorruptStream` where items got lost.
    """
    tally = Tally()
    shards = []
    for record in records:
        tally.add(record)
        names = [name for name in sorted(record.files) if name in files]
        shards.append({"rows": record.rows, "files": names})
    codecs = {}
    for choice in job.codecs:
        counts = asdict(tally.codecs.get(choice.name, Counts()))
        counts["seconds"] = round(counts["seconds"], 6)  # sums of floats, told in microseconds
        about = {"fingerprint": choice.fingerprint, "modality": choice.modality}
        codecs[choice.name] = {**about, **counts}
    return Manifest(
        job=job,
        job_digest=job.digest,
        plan=plan,
        vocabulary=job.vocabulary,
        sink=job.format,
        facts=facts,
        codecs=codecs,
        items=tally.items,
        written=tally.written,
        rejects=tally.rejects,
        reasons=dict(sorted(tally.reasons.items())),
        rows=tally.rows,
        tokens=tally.tokens,
        packing=dict(sorted(tally.packing.items())),
        shards=shards,
        files=files,
    )
