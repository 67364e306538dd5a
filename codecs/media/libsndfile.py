"""soundfile, which reads and writes through libsndfile, and what it raises."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from omnicodec.codecs.errors import InvalidInput, Unavailable


def import_soundfile() -> Any:
    """Return the package `soundfile`; raise `Unavailable` where it is not there."""
    try:
        import soundfile  # type: ignore[import-untyped]
    except (ImportError, OSError) as e:  # OSError: the package without its shared library
        raise Unavailable('audio files need: pip install "omnicodec[audio]"') from e
    return soundfile


@contextlib.contextmanager
def damage(what: str = "audio file is damaged") -> Iterator[None]:
    """Turn what soundfile raises into `InvalidInput`."""
    soundfile = import_soundfile()
    try:
        yield
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, OSError) as e:
        # In libsndfile's own words, without the address of the buffer that it was given.
        reason = str(getattr(e, "error_string", e)).rstrip(".")
        raise InvalidInput(f"{what}: {reason}") from e
