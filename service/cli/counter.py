"""A bar of how many of a known number are done, on a terminal only."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from omnicodec.service.cli.screen import Screen

if TYPE_CHECKING:
    from rich.progress import TaskID


class Counter:
    """The bar of one piece of work; a context manager, which removes it."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._screen = Screen(1)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if bars := self._screen.bars():
            self._task = bars.add_task(self._what, total=self._total, told="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._screen.stop()

    def show(self, done: int) -> None:
        """Show how many are done."""
        if self._task is not None and (bars := self._screen.bars()):
            bars.update(self._task, completed=done, told=f"{done:,} of {self._total:,}")
