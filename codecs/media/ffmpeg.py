"""PyAV, opened so that a file cannot make it open other files or addresses."""

from __future__ import annotations

from typing import IO, Any, NoReturn

from omnicodec.codecs.errors import Unavailable


def import_av(what: str) -> Any:
    """Return the package `av`; raise `Unavailable` where `what` needs it and it is not there."""
    try:
        import av
    except ImportError as e:
        raise Unavailable(f'{what} need: pip install "omnicodec[video]"') from e
    return av


def open_file(av: Any, file: IO[bytes], formats: str, **options: str) -> Any:
    """Return a container of one of FFmpeg's `formats`, which are separated by commas."""
    options = {"format_whitelist": formats, **options}
    return av.open(file, "r", options=options, io_open=_refuse)


def reason(error: Exception) -> str:
    """Return FFmpeg's own words."""
    return str(getattr(error, "strerror", None) or error)


def _refuse(*_: Any) -> NoReturn:
    """Stand in for FFmpeg's way to open further files and addresses."""
    raise PermissionError("the file asks for another file")
