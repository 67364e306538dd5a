"""What all engines have in common: shards in, what became of them out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work on one shard is, since its beginning: all counts only grow.

    `nbytes` are of sources; `last` is the reject of last, in words, for who waits to see one.
    """

    shard: int
    items: int
    rejects: int
    tokens: int
    nbytes: int
    last: str = ""


@dataclass(frozen=True, slots=True)
class Committed:
    """A shard is written, and its record with it."""

    shard: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Who worked on a shard is gone; the engine has begun it again."""

    shard: int
    reason: str


Event = Progress | Committed | Lost


class Engine(ABC):
    """Runs `shards.write_shard(folder, shard)` for each shard, anywhere, in any order.

    `inherited` are open files that processes on this machine are to keep open as long as they
    live: what a run has locked stays so until all of them are gone.
    """

    inherited: tuple[int, ...] = ()

    @abstractmethod
    def run(self, folder: Path, shards: Sequence[int]) -> Iterator[Event]:
        """Yield what happens until all shards are committed.

        A worker that is lost costs no item: its shard is begun again. Raises the
        `OmnicodecError` of a shard that cannot be written (a full disk, a missing codec), after
        the others that run have been ended. Closing the iterator ends all work at once; what is
        not committed leaves nothing but temporary files.
        """
