"""How far a run over a whole data set is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Final

from omnicodec.service.batch.engines.base import Lost
from omnicodec.service.batch.run import Status, Watch
from omnicodec.service.cli.console import is_terminal, note
from omnicodec.service.cli.screen import LINE_SECONDS, Screen

if TYPE_CHECKING:
    from rich.progress import TaskID

_DRAW_SECONDS: Final = 0.1
_SPAN_SECONDS: Final = 60.0
"""Rates are of so much of the past."""


class RunScreen(Watch):
    """Shows a run on a screen, and says on stderr what is out of the ordinary."""

    def __init__(self, screen: Screen, name: str) -> None:
        self._screen, self._name = screen, name
        self._task: TaskID | None = None
        self._rates = Rates()
        self._next_draw = 0.0
        self._next_line = time.monotonic() + LINE_SECONDS

    def planning(self) -> None:
        self._bar("listing the sources")

    def going(self, status: Status) -> None:
        now = time.monotonic()
        self._rates.add(now, status)
        if now >= self._next_draw:
            self._next_draw = now + _DRAW_SECONDS
            self._bar(told(status, self._rates), share(status))
        if not is_terminal(sys.stderr) and now >= self._next_line:
            self._next_line = now + LINE_SECONDS
            note(f"{self._name}: {100 * share(status):.0f} %, {told(status, self._rates)}")

    def lost(self, event: Lost) -> None:
        note(f"shard {event.shard} is begun again: {event.reason}")

    def repeated(self, shard: int, reason: str) -> None:
        note(f"shard {shard} is written again: {reason}")

    def finishing(self) -> None:
        self._bar("finishing", 1.0)

    def _bar(self, words: str, completed: float = 0.0) -> None:
        if bars := self._screen.bars():
            if self._task is None:
                self._task = bars.add_task(self._name, total=1.0, told="")
            bars.update(self._task, completed=completed, told=words)


class Rates:
    """Items and bytes a second in the last minute."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int, int, float]] = []
        self.items = self.nbytes = self.share = 0.0

    def add(self, now: float, status: Status) -> None:
        """Take note of how far the run is at a time, in seconds."""
        seen = self._seen
        if seen and now - seen[-1][0] < _SPAN_SECONDS / 60:
            return
        seen.append((now, status.items, status.nbytes, share(status)))
        while len(seen) > 2 and now - seen[1][0] >= _SPAN_SECONDS:
            del seen[0]
        if (passed := now - seen[0][0]) > 0:
            first, last = seen[0], seen[-1]
            self.items = max(0.0, (last[1] - first[1]) / passed)
            self.nbytes = max(0.0, (last[2] - first[2]) / passed)
            self.share = max(0.0, (last[3] - first[3]) / passed)


def share(status: Status) -> float:
    """Return which part of a run is done, 0 to 1."""
    if status.all_items:
        return min(1.0, status.items / status.all_items)
    return status.shards / max(1, status.shards + status.left)


def told(status: Status, rates: Rates) -> str:
    """Return a status in words: "12 items (4/s), 3.1 M tokens, 5.2 MB/s, 0:42 left"."""
    words = [
        f"{status.items:,} items ({rates.items:,.0f}/s)",
        f"{short(status.tokens)} tokens",
        f"{rates.nbytes / 1e6:,.1f} MB/s",
    ]
    if status.rejects:
        words.append(f"{status.rejects:,} rejects")
    if rates.share:
        words.append(f"{clock((1 - share(status)) / rates.share)} left")
    return ", ".join(words)


def short(number: float) -> str:
    """Return a number with three digits or so: "950", "31.4 k", "2.05 M"."""
    for unit in ("", " k", " M", " G"):
        if number < 1000 or unit == " G":
            break
        number /= 1000
    return f"{number:,.0f}" if not unit else f"{number:,.3g}{unit}"


def clock(seconds: float) -> str:
    """Return a time as "0:42", "2:03:00" or "12 d 4 h"."""
    minutes, second = divmod(math.ceil(round(seconds, 3)), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 100:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
