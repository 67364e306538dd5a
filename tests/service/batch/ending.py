"""A program that ends a run at each of its steps, as kill -9 would, and looks what the next made.

It is given a source, a folder, a format, and a number: each so-manyth step is tried. A step is what
the system is asked for: a file that is opened for writing, renamed or removed, a folder that is
made. A process is forked for each, so this one has no threads; nothing waits for the disk, since
what is not on it yet outlives them all.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from here import Here, small_job, tree

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.run import tokenize

STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "open", "fcntl.flock"}
ENDED = 9


def in_process(work: Callable[[], None]) -> int:
    """Do something in a process of its own, and return its exit code."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        work()
        os._exit(0)
    except BaseException as e:
        print(f"{type(e).__name__}: {e}", flush=True)
        os._exit(1)


def digest(out: Path) -> str:
    found = hashlib.sha256()
    for name, data in tree(out).items():
        found.update(f"{name}\0{len(data)}\0".encode() + data)
    return found.hexdigest()


def main() -> None:
    source, folder, form, stride = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
    setattr(os, "fsync", lambda _: None)  # noqa: B010  # else mypy asks for the name of its argument
    job, vocabulary = small_job(source, format=form)

    def run(out: Path) -> None:
        tokenize(job, vocabulary, out, engine=Here())

    for name in (f"sinks.{form}", "sources.parquet"):  # imported once, not by each process
        import_module(f"omnicodec.service.batch.{name}")
    for name in ("pyarrow.parquet", "pyarrow.dataset", "numpy.lib.format"):
        import_module(name)
    assert in_process(lambda: run(folder / "whole")) == 0
    wanted = digest(folder / "whole")

    def run_until(step: int, out: Path) -> None:
        left = step

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event not in STEPS or (event == "open" and not is_written(arguments)):
                return
            left -= 1
            if left < 0:
                os._exit(ENDED)

        sys.addaudithook(watch)
        run(out)

    for step in range(0, 10_000, int(stride)):
        out = folder / str(step)
        code = in_process(lambda step=step, out=out: run_until(step, out))  # type: ignore[misc]
        assert code in (0, ENDED), (step, code)
        assert in_process(lambda out=out: run(out)) == 0, step  # type: ignore[misc]
        assert digest(out) == wanted, step
        assert not (out / ".tmp").exists()
        shutil.rmtree(out)
        if code == 0:
            break
    print("steps", step)

    def run_small(most: int, out: Path) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        try:
            run(out)
        except InvalidInput as e:
            assert str(e).startswith("cannot write ")
            assert "\n" not in str(e)
            os._exit(ENDED)

    full = set()
    for most in (100, 500, 1000, 2000, 4000, 8000):
        out = folder / f"small-{most}"
        code = in_process(lambda most=most, out=out: run_small(most, out))  # type: ignore[misc]
        full.add(code)
        assert code in (0, ENDED), (most, code)
        assert in_process(lambda out=out: run(out)) == 0  # type: ignore[misc]
        assert digest(out) == wanted, most
    assert ENDED in full
    print("whole")


def is_written(arguments: tuple[Any, ...]) -> bool:
    """Return whether the file of an "open" event is written to."""
    _, mode, flags = arguments
    return bool(set(mode or "") & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR))


if __name__ == "__main__":
    main()
