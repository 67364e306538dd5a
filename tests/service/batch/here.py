"""Small jobs, and an engine that runs in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.engines.base import Committed, Engine, Event, Progress
from omnicodec.service.batch.job import Job
from omnicodec.service.batch.prepare import Wishes, prepare
from omnicodec.service.batch.shards import write_shard


class Here(Engine):
    """Writes shards in this process, in an order of its own; `after` is called behind each."""

    def __init__(
        self,
        order: Callable[[Sequence[int]], Sequence[int]] = tuple,
        after: Callable[[int], None] = lambda _: None,
        blamed: dict[str, str] | None = None,
    ) -> None:
        self._order, self._after, self._blamed = order, after, blamed or {}
        self.wrote: list[int] = []

    def run(self, folder: Path, shards: Sequence[int]) -> Iterator[Event]:
        for shard in self._order(shards):
            told: list[Progress] = []
            write_shard(
                folder,
                shard,
                tell=told.append,
                blamed=self._blamed,
                device="cpu",
                careful=bool(self._blamed),
            )
            self.wrote.append(shard)
            yield from told
            yield Committed(shard)
            self._after(shard)


def table(path: Path, count: int) -> Path:
    """Write a Parquet file with so many texts, in groups of five rows; each seventh is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [None if n % 7 == 3 else f"text {n} " + "ab" * (n % 50) for n in range(count)]
    columns = {"id": [str(n) for n in range(count)], "text": pa.array(texts, pa.string())}
    pq.write_table(pa.table(columns), path, row_group_size=5)
    return path


def small_job(*sources: Path, **wishes: Any) -> tuple[Job, Vocabulary]:
    """Return a job of bytes of text, in shards of ten items."""
    common: dict[str, Any] = {"codecs": ["text/bytes"], "shard_items": 10}
    return prepare(Wishes(sources=[str(path) for path in sources], **{**common, **wishes}))


def tree(path: Path) -> dict[str, bytes]:
    """Return all files of a data set, without what is unfinished and the lock."""
    return {
        name: file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
        and not (name := str(file.relative_to(path))).startswith((".tmp", ".lock"))
    }
