"""What a command is, and how its help is shown: in plain words, the same under every typer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Command(NamedTuple):
    """A command: `run`'s docstring is its description, `usage` what follows its name."""

    name: str
    run: Callable[..., None]
    usage: str
    epilog: str

    def add_to(self, app: typer.Typer) -> None:
        add = app.command(
            self.name, cls=_PlainCommand, options_metavar=self.usage, epilog=self.epilog
        )
        add(self.run)


class PlainGroup(TyperGroup):
    """The program itself."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS] COMMAND ..."]


class _PlainCommand(TyperCommand):
    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [self.options_metavar or ""]
