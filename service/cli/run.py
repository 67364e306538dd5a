"""Running the program: every error becomes one plain line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, Final

import typer

from omnicodec.service.cli.app import program
from omnicodec.service.cli.console import State, complain, explain

INTERRUPTED: Final = 130
_BEFORE: Final = ("--debug", "--server", "--token", "--tls-ca", "--tls-certificate", "--tls-key")
"""Options that hold for every command."""

BROKEN_PIPE: Final = 141
"""What a shell reports of a program that SIGPIPE ended; Python ignores that signal."""


def run(arguments: Sequence[str]) -> int:
    """Run the program and return its exit code; errors go to stderr, as one line each."""
    state = State()
    try:
        return _invoke(arguments, state)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except Exception as e:
        message, code = _misuse(e) or explain(e)
        if state.debug:
            traceback.print_exc()
        complain(message)
        return code


def _invoke(arguments: Sequence[str], state: State) -> int:
    command = program()
    code = 0
    with warnings.catch_warnings():
        if not sys.warnoptions:
            # Libraries warn developers; a user gets results and errors.
            warnings.simplefilter("ignore")
        try:
            with command.make_context("omnicodec", list(arguments), obj=state) as context:
                command.invoke(context)
        except typer.Exit as e:
            code = e.exit_code
    if sys.stdout is not None:
        sys.stdout.flush()  # here, where a broken pipe can still be caught
    return code


def _misuse(error: Exception) -> tuple[str, int] | None:
    """Return what to say when the parser refused the arguments, else None."""
    # Newer versions of typer bring a copy of click, older ones import click itself; this way
    # to its base class holds for both.
    refusal = typer.BadParameter.__base__
    if refusal is None or not isinstance(error, refusal):
        return None
    parsed: Any = error
    path = parsed.ctx.command_path if parsed.ctx else "omnicodec"
    message = " ".join(parsed.format_message().split())
    for option in _BEFORE:
        if message.startswith("No such option") and option in message:
            return f"{option} goes before the command: omnicodec {option} ... COMMAND ...", 2
    return f"{message.rstrip('.')}; see {path} --help", 2


def _silence_stdout() -> None:
    """Point stdout at nothing, or the interpreter reports the broken pipe when it exits."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
