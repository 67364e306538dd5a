"""What the program says: lines on stderr, one JSON object on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnicodec.service.cli.server import Server


@dataclass
class State:
    """Global options, as `Context.obj` of every command."""

    debug: bool = False
    device: str = "auto"
    server: Server | None = None


class UsageError(Exception):
    """The command line asks for something that will not be done; exit code 2."""


def explain(error: Exception) -> tuple[str, int]:
    """Return the line that reports an error, and its exit code."""
    from omnicodec.codecs.errors import OmnicodecError, error_codes

    if isinstance(error, UsageError):
        return str(error), 2
    if isinstance(error, OmnicodecError):
        return str(error), error_codes(error).exit_code
    if isinstance(error, MemoryError):
        return "this does not fit into memory", 6
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename!r}: " if error.filename else ""
        return f"{where}{error.strerror}", 3
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"unexpected error, please report it: {what} (--debug shows where)", 1


def complain(message: str) -> None:
    """Report an error on stderr, as one line."""
    note(f"omnicodec: {message}")


def note(message: str) -> None:
    """Say something on stderr, as one line."""
    print(plain(message), file=sys.stderr, flush=True)


def plain(text: str) -> str:
    """Return text on one line, with what is not printable escaped.

    File names and streams come from anywhere, and a terminal obeys some characters.
    """
    line = " ".join(text.split("\n"))
    shown = [c if c.isprintable() else ascii(c)[1:-1] for c in line]
    return "".join(shown)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout."""
    print(json.dumps(value, indent=2))


def is_terminal(stream: Any) -> bool:
    """Return whether a standard stream is there and is a terminal."""
    return stream is not None and stream.isatty()
