"""Loops that numba compiles: once for a machine, and kept on disk where that can be written.

Compiled loops are kept in the first of these folders that has them, else in the first that can
be written:

1. `NUMBA_CACHE_DIR`, where it is set; then nowhere else
2. `__pycache__` beside the source
3. `omnicodec` in `XDG_CACHE_HOME`, else in `~/.cache`

A folder that has them but cannot be written, as in a container, is copied to a temporary one,
because numba wants to write where it reads. Without any folder they live in memory.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias, TypeVar

import numba
import numba.core.event

F = TypeVar("F", bound=Callable[..., Any])

Integer: TypeAlias = Any
"""An integer of Python or of numpy: compiled code has but one kind."""

_ROOM: Final = 1 << 20
"""Bytes that must fit a folder before it is chosen: a quota shows only when it is used up."""

# Some versions of numba have types and some have none.
_config: Any = numba.config
_event: Any = numba.core.event
_njit: Any = numba.njit


@dataclass(frozen=True)
class Kernel:
    """What became of a loop in this process.

    `seconds` is what compiling it took, 0 if it was found compiled; `folder` where it is
    kept, None if nowhere.
    """

    name: str
    seconds: float
    folder: Path | None


def float_kernel(function: F) -> F:
    """Compile a loop over floats, whose sums may be taken in any order: nothing exact."""
    return _compile(function, fastmath=True)


def kernel(function: F) -> F:
    """Compile a loop when it is first called; other threads go on while it runs.

    What is kept belongs to all sources in the folder of the function, and in those of other
    loops that it names: numba alone would not notice a changed constant of another file.
    """
    return _compile(function, fastmath=False)


def inlined(function: F) -> F:
    """Compile what loops call for each of their samples: into them, without a call.

    A call would put all arguments on the stack: an array takes seven words and more.
    """
    return _compile(function, fastmath=False, forceinline=True)


def _compile(function: F, **options: bool) -> F:
    named = _named(function)
    called = {
        facts.key for loop, facts in _watch.loops.items() if any(loop is other for other in named)
    }
    source = Path(function.__code__.co_filename)
    key = _key(source.parent, frozenset(called))
    folder, place = _home(source, key)
    before = _config.CACHE_DIR
    try:
        if place is not None:
            _config.CACHE_DIR = str(place)
        keep = place is not None
        compiled: F = _njit(nogil=True, cache=keep, **options)(function)
    finally:
        _config.CACHE_DIR = before
    if hasattr(compiled, "signatures"):  # else numba was told to let Python run everything
        _watch.loops[compiled] = _Loop(key, folder, place == folder is not None)
    return compiled


def kernels() -> list[Kernel]:
    """Return the loops that were called in this process, in the order of their definition.

    Loops that were only compiled as parts of others are left out.
    """
    return [
        Kernel(
            f"{loop.__module__}.{loop.__qualname__}",
            facts.seconds,
            facts.folder if facts.lasting or not facts.seconds else None,
        )
        for loop, facts in _watch.loops.items()
        if loop.signatures and not facts.inner
    ]


def _named(function: Callable[..., Any]) -> list[Any]:
    """Return what the names in a function stand for, also those behind the name of a module."""
    names, known = function.__code__.co_names, function.__globals__
    modules = [known[name] for name in names if isinstance(known.get(name), ModuleType)]
    return [known.get(name) for name in names] + [
        getattr(module, name, None) for module in modules for name in names
    ]


@dataclass
class _Loop:
    key: str
    folder: Path | None
    lasting: bool
    inner: bool = False
    seconds: float = 0.0


class _Watch:
    """Says when a first loop is compiled, and measures how long each takes."""

    def __init__(self) -> None:
        self.loops: dict[Any, _Loop] = {}
        self._began: list[float] = []
        self._said = False
        _event.Listener.register(_Watch)
        _event.register("numba:compile", self)

    def notify(self, event: Any) -> None:
        """Take numba's word that compiling begins or ends, under a lock: of a loop, or in one."""
        facts = self.loops.get(event.data["dispatcher"])
        if facts is None:
            return
        if event.is_end:
            facts.seconds += time.perf_counter() - self._began.pop()
            return
        facts.inner = facts.inner or bool(self._began)
        self._began.append(time.perf_counter())
        if not self._said and sys.stderr is not None:
            often = (
                "once on this machine" if facts.lasting else "as there is no folder to keep them"
            )
            line = f"omnicodec: compiling loops, which takes some seconds, {often}"
            print(line, file=sys.stderr, flush=True)
        self._said = True


_watch = _Watch()


@cache
def _key(folder: Path, called: frozenset[str]) -> str:
    """Return 16 hex digits over the sources in a folder, the keys of others, and numba."""
    digest = hashlib.sha256(" ".join([numba.__version__, *sorted(called)]).encode())
    for path in sorted(folder.glob("*.py")):
        content = path.read_bytes()
        digest.update(f"\n{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


@cache
def _home(source: Path, key: str) -> tuple[Path | None, Path | None]:
    """Return where the loops of a source file are kept, and where numba shall look for them."""
    folders = [root / f"kernels-{key}" for root in _roots(source)]
    filled = (folder for folder in folders if any(folder.rglob("*.nbi")))
    folder = next(filled, None) or next(filter(_writable, folders), None)
    if folder is None or _writable(folder):
        return folder, folder
    return folder, _copy(folder)


def _roots(source: Path) -> Iterator[Path]:
    if _config.CACHE_DIR:
        yield Path(_config.CACHE_DIR)
        return
    yield Path(cache_from_source(os.fspath(source))).parent
    with suppress(RuntimeError):  # there need not be a home
        caches = os.environ.get("XDG_CACHE_HOME")
        yield (Path(caches) if caches else Path.home() / ".cache") / "omnicodec"


def _copy(folder: Path) -> Path | None:
    """Return a copy of a folder that goes with this process, None if there is no room for it."""
    try:
        copy = Path(tempfile.mkdtemp(prefix="omnicodec-"))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        return Path(shutil.copytree(folder, copy, dirs_exist_ok=True))
    except OSError:  # shutil.Error is one, too
        return None


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
            file.flush()
    except OSError:
        return False
    return True
