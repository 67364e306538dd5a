"""Hugging Face datasets as `save_to_disk` leaves them; their library is not needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from omnicodec.codecs import InvalidInput, OmnicodecError, Unavailable
from omnicodec.service.batch.sources.arrow import ArrowSource
from omnicodec.service.batch.sources.location import Location
from omnicodec.service.batch.sources.storage import Found

STATE: Final = "state.json"
SPLITS: Final = "dataset_dict.json"


class HuggingFaceSource(ArrowSource):
    """A `Dataset` on disk, or a `DatasetDict`: all of its splits, as listed; one is its folder.

    Files are read in the order of `state.json`.
    """

    def files(self) -> Iterator[Found]:
        if not self.location.whole:
            raise InvalidInput(f"{self.spec.location!r} is no folder of a saved dataset")
        splits: Any = [""]
        if is_there(self.location, SPLITS):
            splits = _json(self.location, SPLITS).get("splits")
        if not isinstance(splits, list) or not all(_plain(split) for split in splits):
            raise InvalidInput(f"{SPLITS} does not list the names of splits")
        for split in splits:
            yield from self._files_of(f"{split}/" if split else "")

    def _files_of(self, folder: str) -> Iterator[Found]:
        state = _json(self.location, folder + STATE)
        if state.get("_indices_files") or state.get("_indices_data_files"):
            raise InvalidInput(f"{folder + STATE} has indices: save it with flatten_indices()")
        names = _names(state.get("_data_files"))
        if not names:
            raise InvalidInput(f"{folder + STATE} does not list the dataset's files")
        for name in names:
            status = self.location.storage.status(self.location.path(folder + name))
            if status is None:
                yield Found(folder + name, 0, "cannot be read: No such file or directory")
            else:
                yield replace(status, name=folder + name)


def is_there(location: Location, name: str) -> bool:
    """Return whether a folder has a file of this name."""
    return location.storage.status(location.path(name)) is not None


def _plain(name: Any) -> bool:
    return isinstance(name, str) and name not in (".", "..") and "/" not in name


def _names(files: Any) -> list[str]:
    """Return the names of the files that `state.json` lists; none where it does so wrongly."""
    if not isinstance(files, list) or not all(isinstance(one, dict) for one in files):
        return []
    names = [one.get("filename") for one in files]
    return names if all(map(_plain, names)) else []


def _json(location: Location, name: str) -> dict[str, Any]:
    path = location.path(name)
    try:
        value = json.loads(location.storage.read(path))
    except Unavailable:
        raise
    except (OmnicodecError, ValueError, RecursionError) as e:
        raise InvalidInput(f"{path!r} is not that of a saved dataset: {e}") from e
    if not isinstance(value, dict):
        raise InvalidInput(f"{path!r} is not that of a saved dataset")
    return value
