"""The same work on many files; a file that fails does not stop the others."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from omnicodec.service.cli.console import State, complain, explain, note, print_json
from omnicodec.service.cli.naming import shown_name
from omnicodec.service.cli.screen import Screen

if TYPE_CHECKING:
    from omnicodec.codecs.registry import AnyCodec


@dataclass(frozen=True)
class Done:
    """What became of one file: a line for people, facts for programs."""

    line: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Slow:
    """The slow part of the work on one file; beside that of other files where `parallel`.

    `size` is that of the file, or the number of its positions.
    """

    run: Callable[[], Any]
    parallel: bool
    size: int


Work = Generator[Slow, Any, Done]
"""The work on one file. It yields its slow part, is sent what that gives, and says what was done.

What stands before and behind the slow part runs in order and alone, file by file: inputs are
opened, outputs checked and written.
"""


def apart(codec: AnyCodec) -> bool:
    """Return whether items are best compressed beside others: a network uses all cores alone."""
    return codec.parallel or (codec.prior.parallel and not codec.on_device)


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Put the name of an input before the errors that it causes."""
    from omnicodec.codecs import OmnicodecError

    try:
        yield
    except OmnicodecError as e:
        raise type(e)(f"{shown_name(file)}: {e}") from e


def run_each(
    state: State,
    files: Sequence[str],
    work: Callable[[str], Work],
    *,
    as_json: bool,
    say: Callable[[str], None] = note,
    screen: Screen | None = None,
    threads: int | None = None,
) -> None:
    """Run `work` on each file and report it; exit with the code of the first failure, if any.

    Lines of files that are done go to `say`, those of failures always to stderr. `screen` is the
    one that `work` uses as well, if it uses one. `threads` are those of `in_order`.
    """
    from omnicodec.codecs import Cancelled
    from omnicodec.codecs.threads import in_order

    first_failure = 0
    results: list[dict[str, Any]] = []
    tasks = (_Task(file, work(file)) for file in files)
    with screen or Screen(len(files)) as shown:
        finished = in_order(
            _Task.run, tasks, parallel=_Task.is_parallel, size=_Task.size, threads=threads
        )
        for task in finished:
            name = shown_name(task.file)
            try:
                done = task.finish()
            except (BrokenPipeError, Cancelled):
                raise  # nobody reads or waits any more: not this file's fault
            except Exception as e:
                message, code = explain(e)
                first_failure = first_failure or code
                if state.debug:
                    traceback.print_exc()
                complain(f"{name}: {message}")
                results.append({"input": name, "error": message, "exit_code": code})
            else:
                say(f"{name}{done.line}")
                results.append({"input": name, **done.facts})
            shown.advance()
    if as_json:
        print_json({"files": results})
    raise typer.Exit(first_failure)


class _Task:
    """The work on one file in three parts; an error in one of them is kept for `finish`."""

    def __init__(self, file: str, work: Work) -> None:
        self.file = file
        self._work = work
        self._slow: Slow | None = None
        self._result: Any = None
        self._error: Exception | None = None
        try:
            self._slow = next(work)
        except Exception as e:
            self._error = e

    def is_parallel(self) -> bool:
        return self._slow is not None and self._slow.parallel

    def size(self) -> int:
        return 0 if self._slow is None else self._slow.size

    def run(self) -> _Task:
        """Do the slow part, in whatever thread."""
        if self._slow is not None:
            try:
                self._result = self._slow.run()
            except Exception as e:
                self._error = e
            self._slow = None  # and the input that it held
        return self

    def finish(self) -> Done:
        """Do the rest, or raise the error of what came before."""
        if self._error is not None:
            self._work.close()
            raise self._error
        result, self._result = self._result, None
        try:
            self._work.send(result)
        except StopIteration as e:
            done: Done = e.value
            return done
        raise RuntimeError("the work on a file has one slow part")
