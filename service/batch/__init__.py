"""Whole data sets as tokens: sources, shards that are written exactly once, and what trainers load.

    sources/    what there is to read: folders, tars, Parquet, Arrow, JSON lines, Hugging Face
    plan, job   what is to be done, settled before anything is; the same for any number of workers
    shards      one shard from its sources to its files: what every engine runs
    engines/    who runs it: processes of this machine, or Ray
    sinks/      what trainers read: Parquet, Megatron, torchtitan, MDS, WebDataset
    run         all shards, once each, and the manifest

`open` gives a data set back to a training loop, and `Encode` is a codec for Ray Data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnicodec.service.batch.dataset import TokenDataset, open  # noqa: A004
    from omnicodec.service.batch.ray_data import Encode

__all__ = ["Encode", "TokenDataset", "open"]

_HOMES = {"Encode": "ray_data", "TokenDataset": "dataset", "open": "dataset"}


def __getattr__(name: str) -> Any:
    """Import each when it is first asked for: most runs need none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
