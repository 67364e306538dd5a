"""The command line, `omnicodec`: one command a module in `commands/`.

    app.py        the program, its global options and its commands
    run.py        what every error becomes: one line, and an exit code
    batch.py      the same work on one file after another
    files.py      inputs, outputs, stdin, stdout; what is refused before any work
    naming.py     default output names
    screen.py     how far the work is
    excerpt.py    some frames of a video
    long_work.py  encodes of minutes: their checkpoints, and Ctrl-C

Nothing heavy is imported at the top of these modules: `omnicodec --help` has to be quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with `sys.argv` or other arguments, then exit with its code."""
    try:
        # Imported here, so that Ctrl-C is quiet from the first moment on.
        from omnicodec.service.cli.run import run

        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
