"""Items on their way through a shard, and their parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from omnicodec.codecs import (
    Audio,
    Cancelled,
    Image,
    InvalidInput,
    Media,
    OmnicodecError,
    Series,
    Text,
    Tokens,
    Unavailable,
    Video,
)
from omnicodec.service.batch.documents import Item, Reject

PASSED_ON: Final = (Unavailable, Cancelled)
"""Errors that are not about an item: they end the shard."""

FAULTS: Final = (
    ValueError, TypeError, LookupError, ArithmeticError, AssertionError, AttributeError,
    RecursionError,
)  # fmt: skip
"""What a library may raise on an item that it does not expect.

Errors of the machine (memory, disk, device) are not among them: an item that they fall upon would
be in the data set the next time.
"""


class Sound:
    """Sound that is too long to be held: its pieces come once, in order."""

    def __init__(self, pieces: Iterator[Audio]) -> None:
        self.pieces = pieces


Medium: TypeAlias = Media | Sound


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Tokens of a medium, and what `Counts` has of it."""

    tokens: Tokens
    nbytes: int
    units: int
    seconds: float


@dataclass(slots=True, eq=False)
class Task:
    """An item on its way: what was found of it, and the first of its parts that has an error."""

    item: Item
    left: int
    found: list[tuple[Found, ...]]
    failed: tuple[int, str, str] | None = None
    """Part, name of the error, and reason."""

    rejected: Reject | None = None
    """Of an item that its source, or whoever runs the shard, has rejected already."""

    @classmethod
    def of(cls, item: Item) -> Task:
        """Return the task of an item; one without parts has failed."""
        count = len(item.parts)
        task = cls(item, count, [()] * count)
        if not count:
            task.rejected = Reject.of(item, InvalidInput("there is nothing in this item"))
        return task

    @classmethod
    def of_reject(cls, reject: Reject) -> Task:
        """Return the task of what is no item."""
        return cls(Item(reject.position, reject.key, ()), 0, [], None, reject)

    def fail(self, part: int, error: Exception) -> None:
        """Take note of an error: that of the first part counts, whatever came first in time."""
        if self.failed is None or part < self.failed[0]:
            self.failed = part, type(error).__name__, _line(error)

    def goes_on(self, part: int) -> bool:
        """Return whether a part is still worth the work: no part before it has failed."""
        return self.failed is None or part < self.failed[0]

    @property
    def reject(self) -> Reject | None:
        """Why the item has no tokens, if it has none."""
        if self.rejected is None and self.failed is not None:
            part, error, reason = self.failed
            name = self.item.parts[part].name
            number = part if len(self.item.parts) > 1 else None
            reason = f"{name}: {reason}" if name and number is not None else reason
            return Reject(self.item.position, self.item.key, error, reason, number)
        return self.rejected


@dataclass(slots=True, eq=False)
class Opened:
    """A part of a task: media by the modality of their codec, or an error.

    `nbytes` are those of the file, and `weight` about what the media take in memory.
    """

    task: Task
    part: int
    media: tuple[tuple[str, Medium], ...] = ()
    error: Exception | None = None
    nbytes: int = 0
    weight: int = 0


@dataclass(slots=True, eq=False)
class Window:
    """Parts in order, and the tasks that begin in this window, in order."""

    begun: list[Task] = field(default_factory=list)
    parts: list[Opened] = field(default_factory=list)
    weight: int = 0


def _line(error: Exception) -> str:
    """Return what an error says, as one line."""
    text = " ".join(str(error).split())
    if isinstance(error, OmnicodecError):
        return text
    return f"it cannot be worked on: {text}"


def token_count(tokens: Tokens) -> int:
    """Return how many tokens these are: ids of all codebooks, or positions of real values."""
    return tokens.ids.size if tokens.soft is None else len(tokens)


def measure(media: Media) -> tuple[int, float]:
    """Return the units of an item before encoding and its seconds, as `Counts` has them."""
    match media:
        case Text():
            return len(media.data), 0.0
        case Image():
            return media.height * media.width, 0.0
        case Audio():
            return media.samples.shape[1], media.duration
        case Video():
            count, height, width = media.frames.shape[:3]
            return count * height * width, float(count / media.fps)
        case Series():
            return media.values.shape[-1], media.values.shape[
                -1
            ] / media.rate if media.rate else 0.0
        case _:
            raise TypeError(type(media).__name__)
