"""Opens published codecs by reference, and remembers those that are open."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omnicodec.codecs.codec import CodecSpec
from omnicodec.codecs.errors import InvalidInput, UnknownCodec
from omnicodec.codecs.hub.families import Family, family_of, unsupported
from omnicodec.codecs.hub.files import CONFIG, Snapshot, read_json
from omnicodec.codecs.hub.hub_codec import HubCodec
from omnicodec.codecs.hub.libraries import library_errors
from omnicodec.codecs.hub.prior import prior_stamp
from omnicodec.codecs.hub.reference import Reference

AnyHubCodec = HubCodec[Any]


@dataclass(frozen=True)
class Found:
    """A published codec that lies in a folder, in one state of its files."""

    snapshot: Snapshot
    family: Family

    @cached_property
    def adapter(self) -> type[AnyHubCodec]:
        with library_errors(self.snapshot.name):
            return self.family.adapter().variant(self.snapshot)

    @cached_property
    def spec(self) -> CodecSpec:
        return self.adapter.spec_of(self.snapshot)


_found: dict[tuple[str, Path], tuple[tuple[int, int], Found]] = {}
_opened: dict[tuple[int, str], tuple[Found, AnyHubCodec]] = {}
_by_name: dict[str, Found] = {}
_opening = threading.RLock()


def describe(reference: Reference) -> CodecSpec:
    """Return the spec of a published codec without loading its network; raises what `open` does."""
    return _find(reference).spec


def open_codec(reference: Reference, device: str) -> AnyHubCodec:
    """Return a published codec on a device as `load` has it; the same, while no file changes.

    Raises `InvalidInput` for files that cannot be used, `UnknownCodec` for a repository that
    there is not, `Unavailable` where a library or the network is not there.
    """
    with _opening:
        found = _find(reference)
        codec = _on(found, device)
        _by_name[found.snapshot.name] = found
        return codec


def already_open(name: str, device: str) -> AnyHubCodec:
    """Return the codec of this name that was opened in this process, the last one first.

    Names in streams, requests and archives end here: they make nothing be found or downloaded.
    Raises `UnknownCodec`.
    """
    found = _named(name)
    with _opening:
        return _on(found, device)


def described(name: str) -> CodecSpec:
    """Return the spec of a codec that was opened in this process; raises `UnknownCodec`."""
    return _named(name).spec


def open_names() -> tuple[str, ...]:
    """Return the names of the published codecs that were opened in this process, sorted."""
    return tuple(sorted(_by_name))


def is_known(folder: Path) -> bool:
    """Return whether a folder's configuration is that of a known family."""
    if not (folder / CONFIG).is_file():
        return False
    try:
        config = read_json(folder / CONFIG)
        family = family_of(config, folder)
    except InvalidInput:
        return False
    # Exports of our own name theirs, and paths of a tokenizer.json are for `text/bpe`.
    return bool(family.values) and "codec" not in config


def _named(name: str) -> Found:
    if name not in _by_name:
        raise UnknownCodec(
            f"{name} is a published codec that is not open here: name it with -c, or for a server "
            "with --preload"
        )
    return _by_name[name]


def _find(reference: Reference) -> Found:
    """Return what a reference names, downloaded if need be."""
    if reference.folder is None:
        from omnicodec.codecs.hub.download import fetched

        folder = fetched(reference)
        revision = folder.name
    else:
        folder, revision = reference.folder, ""
    config = read_json(folder / CONFIG) if (folder / CONFIG).exists() else {}
    if not (config or any(folder.glob("*.json")) or unsupported(config, folder)):
        raise InvalidInput(f"{str(folder)!r} has no {CONFIG}")
    family = family_of(config, folder)
    snapshot = Snapshot(
        reference.name,
        folder,
        family.weights,
        family.prefix,
        family.also,
        family.convert(reference.repository or str(folder)),
        revision,
    )
    with _opening:
        key = (reference.name, folder)
        before = _found.get(key)
        stamp = snapshot.stamp()
        if before is not None and before[0] == (stamp, prior_stamp(before[1].snapshot.fingerprint)):
            return before[1]
        found = Found(snapshot, family)
        _found[key] = (stamp, prior_stamp(snapshot.fingerprint)), found
        return found


def _on(found: Found, device: str) -> AnyHubCodec:
    from omnicodec.codecs.registry import resolve_device

    place = resolve_device(device) if found.adapter.on_device else "cpu"
    key = (id(found), place)
    if key not in _opened:
        codec = found.adapter(found.snapshot, found.spec, place)
        for old in [k for k, (other, _) in _opened.items() if _replaces(found, other, k, place)]:
            del _opened[old]
        _opened[key] = found, codec  # `found` is kept, so that its id stays its own
    return _opened[key][1]


def _replaces(found: Found, other: Found, key: tuple[int, str], place: str) -> bool:
    """Return whether a codec is the same folder's on the same device, before its files changed."""
    return key[1] == place and other.snapshot.folder == found.snapshot.folder
