"""`omnicodec warm`: what the first use would compile, compiled ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from omnicodec.service.cli.command import Command
from omnicodec.service.cli.console import plain, print_json
from omnicodec.service.cli.options import Json

if TYPE_CHECKING:
    from omnicodec.models.kernels import Kernel

EPILOG = """\
\b
Examples:
  omnicodec warm
  NUMBA_CACHE_DIR=/var/cache/omnicodec omnicodec warm
"""


def warm(as_json: Json = False) -> None:
    """Compile loops ahead, so that the first use need not.

    Some priors have loops that are compiled for this processor when they are first called,
    and then kept on disk: in NUMBA_CACHE_DIR if it is set, else beside the installed
    package, else below ~/.cache. Where none of these can be written, every process compiles
    for itself, and this command fails.
    """
    from omnicodec.codecs import OmnicodecError, available, load
    from omnicodec.models.kernels import kernels

    for name in available():
        load(name, device="cpu").warm()
    found = kernels()
    if as_json:
        print_json({"kernels": [_facts(kernel) for kernel in found]})
    else:
        for line in [*map(_line, found)] or ["there is nothing to compile"]:
            typer.echo(plain(line))
    if any(kernel.folder is None for kernel in found):
        raise OmnicodecError(
            "no folder for compiled loops can be written; set NUMBA_CACHE_DIR to one"
        )


def _line(kernel: Kernel) -> str:
    if not kernel.seconds:
        return f"{kernel.name}: found compiled in {kernel.folder}"
    kept = f"kept in {kernel.folder}" if kernel.folder else "kept nowhere"
    return f"{kernel.name}: compiled in {kernel.seconds:.1f} s, {kept}"


def _facts(kernel: Kernel) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "compiled": kernel.seconds > 0,
        "seconds": kernel.seconds,
        "folder": None if kernel.folder is None else str(kernel.folder),
    }


COMMANDS = (Command("warm", warm, "[--json]", EPILOG),)
