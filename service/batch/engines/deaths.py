"""Which items workers died at: the second time at the same one, the item is to blame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from omnicodec.codecs import Unavailable

BLAMED: Final = "the process that works on it dies, or does not come back"
"""The reason of such a reject: the same from every engine, whatever the process died of."""

_TIMES: Final = 2
_AT_NOTHING: Final = 3
_WITHOUT_BLAME: Final = 10


class Deaths:
    """Counts the deaths of workers by shard and item.

    A worker may die for reasons of its own, and has many items in work at a time: after a first
    death its shard goes item by item, and an item at which two workers have died is blamed.
    """

    def __init__(self) -> None:
        self._deaths: dict[int, Counter[str]] = {}
        self._blamed: dict[int, dict[str, str]] = {}

    def note(self, shard: int, position: str, reason: str) -> None:
        """Count a death of a shard's worker, which was at the item `position`, "" for none.

        Raises `Unavailable` when they die again and again before they come to any item, or at one
        item after the other: then it is not the data. `reason` is what is known of the death.
        """
        deaths = self._deaths.setdefault(shard, Counter())
        deaths[position] += 1
        if position and deaths[position] >= _TIMES:
            self._blamed.setdefault(shard, {})[position] = BLAMED
            deaths.clear()  # the item is not touched again: all begins anew
        elif not position and deaths[position] >= _AT_NOTHING:
            raise Unavailable(f"workers die before they come to an item of shard {shard}: {reason}")
        elif deaths.total() >= _WITHOUT_BLAME:  # such as on a machine without memory
            raise Unavailable(f"workers die all over shard {shard}: {reason}")

    def blamed(self, shard: int) -> Mapping[str, str]:
        """Return the items of a shard that are to be rejected untouched, each with the reason."""
        return dict(self._blamed.get(shard, {}))

    def any(self, shard: int) -> bool:
        """Return whether a worker has died at this shard: then it is to go item by item."""
        return shard in self._deaths

    def forget(self, shard: int) -> None:
        """Drop what is known of a shard that is committed."""
        self._deaths.pop(shard, None)
        self._blamed.pop(shard, None)
