"""The same work on one file after another; a file that fails does not stop the others."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import typer

from omnicodec.service.cli.console import State, complain, explain, note, print_json, progress
from omnicodec.service.cli.naming import shown_name


@dataclass(frozen=True)
class Done:
    """What became of one file: a line for people, facts for programs."""

    line: str
    facts: Mapping[str, Any] = field(default_factory=dict)


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
    work: Callable[[str], Done],
    *,
    as_json: bool,
    say: Callable[[str], None] = note,
) -> None:
    """Run `work` on each file and report it; exit with the code of the first failure, if any.

    Lines of files that are done go to `say`, those of failures always to stderr.
    """
    first_failure = 0
    results: list[dict[str, Any]] = []
    with progress(len(files)) as advance:
        for file in files:
            name = shown_name(file)
            try:
                done = work(file)
            except BrokenPipeError:
                raise  # nobody reads any more: not this file's fault
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
            advance()
    if as_json:
        print_json({"files": results})
    raise typer.Exit(first_failure)
