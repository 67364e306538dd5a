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


def prior_file(fingerprint: str) -> Path:
    """Return the file of the measured prior of the codec with this fingerprint."""
    return cache_folder() / "priors" / f"{fingerprint}.safetensors"


def uniform_prior(codebook_sizes: Sequence[int]) -> StaticPrior:
    """Return the prior that knows nothing."""
    return StaticPrior.train([[np.zeros(size, np.int64)] for size in codebook_sizes])


def read_prior(fingerprint: str, codebook_sizes: Sequence[int]) -> StaticPrior:
    """Return the measured prior of a codec, or the uniform one where there is none.

    Raises `InvalidInput` for a file that holds something else.
    """
    file = prior_file(fingerprint)
    if not file.exists():
        return uniform_prior(codebook_sizes)
    try:
        prior = StaticPrior.from_tables(safetensors.load_file(file))
    except (OSError, SafetensorError, ValueError, KeyError, InvalidInput) as e:
        raise InvalidInput(f"{str(file)!r} is no prior: {e}") from e
    if prior.codebook_sizes != tuple(codebook_sizes):
        raise InvalidInput(f"{str(file)!r} is the prior of other codebooks")
    return prior


def save_prior(fingerprint: str, prior: StaticPrior) -> Path:
    """Write the measured prior of a codec to the user's cache; return the file."""
    file = prior_file(fingerprint)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InvalidInput(f"cannot write {str(file)!r}: {e.strerror or e}") from e
    atomic_write(file, safetensors.save(prior.tables()))
    return file
