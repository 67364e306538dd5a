"""Inputs and outputs: what is read, where results go, and what is refused before any work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

from omnicodec.service.cli.console import UsageError, is_terminal
from omnicodec.service.cli.naming import STDIN
from omnicodec.service.cli.pipes import Pipe, Stdout

_PIECE = 1 << 22


def read_input(file: str) -> bytes:
    """Return the content of a file, or of stdin for "-".

    Raises `InvalidInput` when it cannot be read, and `LimitExceeded` when it is larger than
    any input may be, which is found out without reading it all.
    """
    from omnicodec.codecs import InvalidInput

    try:
        if file == STDIN:
            return _read(_opened(sys.stdin, "stdin").buffer)
        with open(file, "rb") as stream:
            return _read(stream)
    except OSError as e:
        raise InvalidInput(f"cannot be read: {e.strerror or e}") from e


@contextlib.contextmanager
def open_input(file: str) -> Iterator[BinaryIO | Pipe]:
    """Open a file, or stdin for "-": a `Pipe` where it cannot go back.

    Raises `InvalidInput` when it cannot be read.
    """
    from omnicodec.codecs import InvalidInput

    with contextlib.ExitStack() as stack:
        try:
            if file == STDIN:
                source: BinaryIO = _opened(sys.stdin, "stdin").buffer
            else:
                source = stack.enter_context(open(file, "rb"))
                source.read(0)
        except OSError as e:
            raise InvalidInput(f"cannot be read: {e.strerror or e}") from e
        yield source if source.seekable() else Pipe(source)


def read_rest(source: BinaryIO | Pipe) -> bytes:
    """Return what is left of an opened input; raises what `read_input` raises."""
    from omnicodec.codecs import InvalidInput

    try:
        return _read(source)
    except OSError as e:
        raise InvalidInput(f"cannot be read: {e.strerror or e}") from e


def _read(stream: BinaryIO | Pipe) -> bytes:
    from omnicodec.codecs.limits import MAX_TEXT_BYTES, check_count

    pieces, size = [], 0
    while piece := stream.read(_PIECE):
        size += len(piece)
        check_count(size, MAX_TEXT_BYTES, "bytes of input")
        pieces.append(piece)
    return b"".join(pieces)


def _opened(stream: Any, name: str) -> Any:
    if stream is None:
        raise UsageError(f"{name} is closed")
    return stream


class Outputs:
    """Where the results of one invocation go, and the writing of them.

    `out` is the argument of -o, if any: a file, "-" for stdout, or a folder, which exists or
    ends in "/" and is then made for the first result. Without it, results lie beside their
    inputs, and stdin's result is stdout. Raises `UsageError` when `files` cannot go there.
    """

    def __init__(
        self, out: str | None, files: Sequence[str], *, force: bool, as_json: bool = False
    ) -> None:
        if out == "":
            raise UsageError("-o needs a name")
        self._out = "-" if out == "/dev/stdout" else out
        self._force = force
        self._written: set[str] = set()
        self._folder: Path | None = None
        if out and self._out != "-" and (out.endswith(("/", os.sep)) or Path(out).is_dir()):
            self._folder = Path(out)
        if len(files) > 1 and out is not None and self._folder is None:
            raise UsageError("several files need a folder to go to: -o DIR/")
        if list(files).count(STDIN) > 1:
            raise UsageError("stdin ('-') can be read only once")
        if as_json and any(self._goes_to_stdout(file) for file in files):
            raise UsageError("--json prints to stdout, so the result needs -o FILE")

    @property
    def suffix(self) -> str | None:
        """The ending of the file that -o names, if it names one; it chooses the format."""
        named = self._out and self._out != "-" and not self._folder
        return Path(self._out or "").suffix.lower() or None if named else None

    def path(self, file: str, name: str, *, binary: bool) -> Path | None:
        """Return where the result of `file` goes, by default called `name`; None is stdout.

        Raises `UsageError` when it must not be written there.
        """
        if self._goes_to_stdout(file):
            if binary and is_terminal(sys.stdout):
                raise UsageError("will not write binary data to a terminal; use -o FILE or a pipe")
            return None
        if self._out and not self._folder:
            path = Path(self._out)
        else:
            path = (self._folder or Path(file).parent) / name
        self._check(path, file)
        return path

    def write(self, file: str, path: Path | None, data: bytes) -> str:
        """Write the result of `file` to a path of `path()`; return how to call that place.

        A file appears whole or not at all.
        """
        from omnicodec.codecs.files import atomic_write

        if path is None:
            stdout = _opened(sys.stdout, "stdout")
            if b"\0" in data and is_terminal(stdout):
                raise UsageError("will not write binary data to a terminal; use -o FILE or a pipe")
            Stdout(stdout.buffer).write(data)
            return "stdout"
        self._prepare(path, file)
        atomic_write(path, data)
        self._written.add(os.path.realpath(path))
        return str(path)

    @contextlib.contextmanager
    def open(self, file: str, path: Path | None) -> Iterator[IO[bytes] | Stdout]:
        """Open where the result of `file` goes, for writing it piece by piece.

        A file appears when all of it was written; stdout gets what is written at once.
        """
        from omnicodec.codecs.files import atomic_file

        if path is None:
            yield Stdout(_opened(sys.stdout, "stdout").buffer)
            return
        self._prepare(path, file)
        with atomic_file(path) as out:
            yield out
        self._written.add(os.path.realpath(path))

    def _prepare(self, path: Path, file: str) -> None:
        self._check(path, file)  # again: time has passed
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    def _goes_to_stdout(self, file: str) -> bool:
        return self._out == "-" or (self._out is None and file == STDIN)

    def _check(self, path: Path, file: str) -> None:
        if file != STDIN and path.is_file() and Path(file).exists() and path.samefile(file):
            raise UsageError("the result would overwrite its own input; use -o")
        if os.path.realpath(path) in self._written:
            raise UsageError(f"{str(path)!r} was just written for another file; use other names")
        check_new(path, self._force)


def check_new(path: Path, force: bool) -> None:
    """Raise `UsageError` when a file cannot be written here without destroying another."""
    from omnicodec.codecs.files import is_special

    if not os.path.lexists(path) or is_special(path):
        return
    if path.is_dir():
        raise UsageError(f"{str(path)!r} is a folder")
    if not force:
        raise UsageError(f"{str(path)!r} exists; -f overwrites it")
