"""Python's collector in a process that is a server and nothing else."""

from __future__ import annotations

import gc


def freeze() -> None:
    """Leave out of collections what is there now, which makes them short.

    What is there is not freed any more.
    """
    gc.collect()
    gc.freeze()
