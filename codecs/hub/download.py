"""Repositories of the Hugging Face hub to folders in its cache: only what a codec is made of.

The variables of `huggingface_hub` hold: `HF_HOME` and `HF_HUB_CACHE` for where the cache is,
`HF_HUB_OFFLINE=1` to stay off the network, `HF_TOKEN` for what is not public.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs.errors import InvalidInput, OmnicodecError, Unavailable, UnknownCodec
from omnicodec.codecs.hub.families import Family, family_of
from omnicodec.codecs.hub.files import CONFIG, indexed, no_weights, read_json
from omnicodec.codecs.hub.libraries import one_line
from omnicodec.codecs.hub.reference import Reference

SMALL: Final = ("*.json", "*.txt", "*.model", "README.md", "LICENSE*")
"""What is downloaded to find out what a repository holds."""

_fetched: dict[tuple[str, str], Path] = {}
_fetching = threading.Lock()


def fetched(reference: Reference) -> Path:
    """Return the folder of a repository's revision, downloaded where it is not in the cache.

    Once in the life of a process the hub is asked what the revision is, or never for a reference
    to what is cached. Raises `UnknownCodec` for
    a repository or a revision that there is not, `InvalidInput` for one that is no codec, and
    `Unavailable` where the hub cannot be reached.
    """
    key = (reference.repository, reference.revision)
    with _fetching:
        if key not in _fetched or not _fetched[key].is_dir():
            with _errors(reference):
                _fetched[key] = _fetch(reference)
        return _fetched[key]


def _fetch(reference: Reference) -> Path:
    folder = _download(reference, reference.revision or None, SMALL)
    config = read_json(folder / CONFIG) if (folder / CONFIG).exists() else {}
    family = family_of(config, folder)
    wanted = [*family.also, *_weights(folder, family)]
    if not wanted:
        return folder
    # The name of the folder is the commit, of which all files are to be.
    _download(reference, folder.name, [*SMALL, *wanted])
    if family.weights and not _weights_are_there(folder, wanted):
        if reference.cached:
            raise _not_whole(reference)
        held = _files(reference.repository, folder.name)
        raise InvalidInput(no_weights(str(reference), held, family.convert(reference.repository)))
    return folder


def _weights(folder: Path, family: Family) -> list[str]:
    """Return the names of the files of weights that are to be downloaded, if they are there."""
    for name in family.weights:
        if (index := folder / f"{name}.index.json").exists():
            return indexed(index, family.prefix)
    return list(family.weights)


def _weights_are_there(folder: Path, names: Sequence[str]) -> bool:
    return any(name.endswith(".safetensors") and (folder / name).exists() for name in names)


def _download(reference: Reference, revision: str | None, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    with _quiet_unless_seen():
        found = snapshot_download(
            reference.repository,
            revision=revision,
            allow_patterns=list(patterns),
            local_files_only=reference.cached,
        )
    return Path(found)


def _files(repository: str, revision: str) -> list[str]:
    """Return the names of all files of a repository, as far as they can be known."""
    from huggingface_hub import HfApi

    try:
        return HfApi().list_repo_files(repository, revision=revision)
    except Exception:  # then the error that follows says less
        return []


@contextlib.contextmanager
def _quiet_unless_seen() -> Iterator[None]:
    """Let progress be shown on a terminal only."""
    bars: Any = import_module("huggingface_hub.utils")
    if sys.stderr.isatty() or bars.are_progress_bars_disabled():
        yield
        return
    bars.disable_progress_bars()
    try:
        yield
    finally:
        bars.enable_progress_bars()


@contextlib.contextmanager
def _errors(reference: Reference) -> Iterator[None]:
    """Turn what the library raises into one line of ours."""
    try:
        yield
    except OmnicodecError:
        raise
    except ImportError as e:
        raise Unavailable(f'{reference} needs: pip install "omnicodec[hub]"') from e
    except Exception as e:  # it passes on what its HTTP library raises, which changed before
        raise _plain(reference, e) from e


def _plain(reference: Reference, error: Exception) -> OmnicodecError:
    from huggingface_hub import errors

    cases: tuple[tuple[type[Any], OmnicodecError], ...] = (
        (
            errors.GatedRepoError,
            Unavailable(f"{reference} is gated: accept its terms on its page, and log in"),
        ),
        (
            errors.RepositoryNotFoundError,
            UnknownCodec(f"there is no repository {reference.repository}, or it is not public"),
        ),
        (
            errors.RevisionNotFoundError,
            UnknownCodec(f"{reference.repository} has no revision {reference.revision!r}"),
        ),
        (
            errors.HFValidationError,
            UnknownCodec(f"{reference} is no name of a repository: {one_line(error)}"),
        ),
    )
    for kind, meaning in cases:
        if isinstance(error, kind):
            return meaning
    return _not_whole(reference, f"the hub cannot be reached: {one_line(error)}")


def _not_whole(reference: Reference, why: str = "") -> Unavailable:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE forbids to download it"
    if reference.cached:
        why = f"workers download nothing: run `omnicodec codecs {reference}` on this machine"
    return Unavailable(
        f"{reference} is not whole in the cache ({constants.HF_HUB_CACHE}), and {why}"
    )
