"""How far the work is: bars on a terminal, now and then a line elsewhere; always on stderr."""

from __future__ import annotations

import math
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from omnicodec.service.cli.console import is_terminal, note, plain

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from omnicodec.codecs import Progress

LINE_SECONDS: Final = 30.0
"""Time between two lines about the same work, where there is no terminal."""

_NAME_CHARACTERS: Final = 32


class Screen:
    """The bars of one invocation on `files` files; a context manager, which removes them.

    Any thread may call its methods.
    """

    def __init__(self, files: int) -> None:
        self._files = files
        self._bars: Bars | None = None
        self._all: TaskID | None = None
        self._stopped = not is_terminal(sys.stderr)
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        if self._files > 1 and (bars := self.bars()):
            self._all = bars.add_task("files", total=self._files, told="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def advance(self) -> None:
        """Count a file as done."""
        if self._bars is not None and self._all is not None:
            self._bars.advance(self._all)

    def stop(self) -> None:
        """Remove the bars, for good."""
        with self._lock:
            self._stopped = True
            if self._bars is not None:
                self._bars.stop()

    def remove(self, task: TaskID) -> None:
        """Remove one bar; the last of a single file takes the screen with it."""
        with self._lock:
            if self._files < 2:
                self.stop()
            elif bars := self.bars():
                bars.remove_task(task)
                bars.refresh()

    def bars(self) -> Bars | None:
        """Return the bars, begun when they are first asked for; None where none are shown."""
        with self._lock:
            if self._stopped:
                return None
            if self._bars is None:
                self._bars = _begun_bars()
            return self._bars


def _begun_bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # results go there
    )
    bars.start()
    return bars


class Shown:
    """Long work on one file, on a screen."""

    def __init__(self, screen: Screen, name: str) -> None:
        self._screen, self._name = screen, plain(name)
        self._task: TaskID | None = None
        self._next_line = time.monotonic() + LINE_SECONDS
        if bars := screen.bars():
            shown = self._name
            if len(shown) > _NAME_CHARACTERS:
                shown = f"...{shown[3 - _NAME_CHARACTERS :]}"
            self._task = bars.add_task(shown, total=1.0, told="")

    def show(self, progress: Progress) -> None:
        """Show how far the work is."""
        if self._task is not None and (bars := self._screen.bars()):
            bars.update(self._task, completed=progress.share, told=told(progress))
        elif not is_terminal(sys.stderr) and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            note(f"{self._name}: {100 * progress.share:.0f} %, {told(progress)}")

    def remove(self) -> None:
        """Show the work no more."""
        if self._task is not None:
            self._screen.remove(self._task)


def reached(progress: Progress) -> str:
    """Return the best result so far in words: "48,230 bytes, 33.41 dB"."""
    size = f"{math.ceil(progress.bits / 8):,} bytes"
    return f"{size}, {progress.psnr:.2f} dB" if math.isfinite(progress.psnr) else size


def told(progress: Progress) -> str:
    """Return a report in words: "step 1,200, 48,230 bytes, 33.41 dB, 0:42 left"."""
    words = [f"step {progress.step:,}", reached(progress)]
    if math.isfinite(progress.seconds_left):
        minutes, seconds = divmod(math.ceil(progress.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
        words.append(f"{clock} left")
    return ", ".join(words)
