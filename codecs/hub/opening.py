"""Opens published codecs by reference, and remembers those that are open."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from omnicodec.codecs.codec import CodecSpec
from omnicodec.codecs.errors import InvalidInput, UnknownCodec
from omnicodec.codecs.hub.families import Family, family_of
from omnicodec.codecs.hub.files import CONFIG, Snapshot, read_json
from omnicodec.codecs.hub.hub_codec import HubCodec
from omnicodec.codecs.hub.reference import Reference

AnyHubCodec = HubCodec[Any]

_opened: dict[tuple[str, int, str], AnyHubCodec] = {}
_by_name: dict[tuple[str, str], AnyHubCodec] = {}
_opening = threading.Lock()


def describe(reference: Reference) -> CodecSpec:
    """Return the spec of a published codec without loading its network; raises what `open` does."""
    snapshot, family = locate(reference)
    return family.adapter().spec_of(snapshot)


def open_codec(reference: Reference, device: str) -> AnyHubCodec:
    """Return a published codec on a torch device; the same, while its files do not change.

    Raises `InvalidInput` for files that cannot be used, `UnknownCodec` for a repository that
    there is not, `Unavailable` where a library or the network is not there.
    """
    with _opening:
        snapshot, family = locate(reference)
        adapter = family.adapter()
        place = device if adapter.on_device else "cpu"
        key = (str(snapshot.folder), snapshot.stamp(), place)
        if key not in _opened:
            _opened[key] = adapter(snapshot, place)
        codec = _by_name[snapshot.name, place] = _opened[key]
        return codec


def already_open(name: str, device: str) -> AnyHubCodec:
    """Return the codec of this name that was opened in this process, the last one first.

    Names in streams, requests and archives end here: they make nothing be read or downloaded.
    Raises `UnknownCodec`.
    """
    for place in (device, "cpu"):
        if (name, place) in _by_name:
            return _by_name[name, place]
    raise UnknownCodec(f"{name} is a published codec that is not open here: name it with -c {name}")


def is_known(folder: Path) -> bool:
    """Return whether a folder's configuration is that of a known family."""
    if not (folder / CONFIG).is_file():
        return False
    try:
        config = read_json(folder / CONFIG)
        family_of(config, folder)
    except InvalidInput:
        return False
    return "codec" not in config  # exports of our own name theirs


def locate(reference: Reference) -> tuple[Snapshot, Family]:
    """Return what a reference names, downloaded if need be, and its family."""
    if reference.folder is None:
        from omnicodec.codecs.hub.download import fetched

        folder = fetched(reference)
    else:
        folder = reference.folder
    family = family_of(read_json(folder / CONFIG), folder)
    return Snapshot(reference.name, folder, family.prefix, family.also), family
