"""Priors of published codecs: uniform, until one is measured and kept in the user's cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.files import atomic_write
from omnicodec.codecs.prior import StaticPrior

CACHE: Final = "OMNICODEC_CACHE"
"""The environment variable that names the folder of what omnicodec keeps for a user."""


def cache_folder() -> Path:
    """Return where omnicodec keeps what it measured for a user; it need not exist."""
    if own := os.environ.get(CACHE):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "omnicodec"


def prior_files(fingerprint: str) -> list[Path]:
    """Return the files of the priors that were measured for a codec, the last one first."""
    folder = cache_folder() / "priors" / fingerprint
    files = [(path.stat().st_mtime_ns, path) for path in folder.glob("*.safetensors")]
    return [path for _, path in sorted(files, reverse=True)]


def prior_stamp(fingerprint: str) -> int:
    """Return a number that changes when a prior of this codec is measured."""
    return hash(tuple(prior_files(fingerprint)))


def uniform_prior(codebook_sizes: Sequence[int]) -> StaticPrior:
    """Return the prior that knows nothing."""
    return StaticPrior.train([[np.zeros(size, np.int64)] for size in codebook_sizes])


def current_prior(fingerprint: str, codebook_sizes: Sequence[int]) -> StaticPrior:
    """Return the prior that was measured last for a codec, or the uniform one.

    Raises `InvalidInput` for a file that holds something else.
    """
    files = prior_files(fingerprint)
    return _read(files[0], codebook_sizes) if files else uniform_prior(codebook_sizes)


def find_prior(fingerprint: str, codebook_sizes: Sequence[int], prior: str) -> StaticPrior | None:
    """Return the prior of this fingerprint, if a codec ever had it here: what old streams need."""
    uniform = uniform_prior(codebook_sizes)
    if uniform.fingerprint == prior:
        return uniform
    files = [path for path in prior_files(fingerprint) if path.stem == prior]
    return _read(files[0], codebook_sizes) if files else None


def save_prior(fingerprint: str, prior: StaticPrior) -> Path:
    """Write a measured prior of a codec to the user's cache, as its current one; return the file.

    Raises `InvalidInput` when it cannot be written.
    """
    file = cache_folder() / "priors" / fingerprint / f"{prior.fingerprint}.safetensors"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InvalidInput(f"cannot write {str(file)!r}: {e.strerror or e}") from e
    atomic_write(file, safetensors.save(prior.tables()))
    return file


def _read(file: Path, codebook_sizes: Sequence[int]) -> StaticPrior:
    try:
        prior = StaticPrior.from_tables(safetensors.load_file(file))
    except (OSError, SafetensorError, ValueError, KeyError, InvalidInput) as e:
        raise InvalidInput(f"{str(file)!r} is no prior: {e}") from e
    if prior.codebook_sizes != tuple(codebook_sizes):
        raise InvalidInput(f"{str(file)!r} is the prior of other codebooks")
    return prior
