"""What trainers read, one module a format."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.sinks.base import Sink

FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "parquet": ("raw", "document", "packed"),
    "megatron": ("document", "packed"),
    "torchtitan": ("document", "packed"),
    "mds": ("raw", "document", "packed"),
    "wds": ("raw", "document", "packed"),
}
"""Each format by name, with the layouts that it stores; the first is what it stores unless told."""

_CLASSES: Final = {
    "parquet": "ParquetSink",
    "megatron": "MegatronSink",
    "torchtitan": "TorchtitanSink",
    "mds": "MdsSink",
    "wds": "WdsSink",
}


def check_format(name: str, layout: str) -> None:
    """Raise `InvalidInput` for a format that is none, or one that has no such layout."""
    if name not in FORMATS:
        raise InvalidInput(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    if layout not in FORMATS[name]:
        raise InvalidInput(
            f"{name} has no place for layout {layout!r}; it stores {' or '.join(FORMATS[name])}"
        )


def open_sink(name: str, facts: Mapping[str, Any]) -> Sink:
    """Return the sink of a format, for a data set with these facts.

    Raises `InvalidInput` as `check_format` does, and `Unavailable` for a library that is missing.
    """
    check_format(name, facts["layout"])
    module = import_module(f"omnicodec.service.batch.sinks.{name}")
    sink: Sink = getattr(module, _CLASSES[name])(facts)
    return sink
