"""The settings of a recipe that trains a network: which there are, and of what type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omnicodec.codecs import InvalidInput

Settings = dict[str, Any]


def split_settings(
    codec: str,
    settings: Mapping[str, Any],
    recipe: Any,
    network: Any,
    *,
    positive: bool = False,
    items_above: int = 0,
) -> tuple[Settings, Settings]:
    """Return the settings of the recipe, and those of its network, whose keys begin "network.".

    `recipe` and `network` are dataclasses with the defaults; the recipe's field `network` is
    no setting. Raises `InvalidInput` for one that is not theirs, or unless it is of its
    default's type and not negative (with `positive`, above 0), lists by their items.
    """
    parts: tuple[Settings, Settings] = ({}, {})
    for key, value in sorted(settings.items()):
        deep = "." in key
        name = key.removeprefix("network.")
        defaults = network if deep else recipe
        if name not in {f.name for f in fields(defaults)} - {"network"}:
            raise InvalidInput(f"the recipe of {codec} has no setting {name!r}")
        default = getattr(defaults, name)
        if not _fits(value, default, positive, items_above):
            raise InvalidInput(
                f"the setting {name} cannot be {value!r}; its default is {default!r}"
            )
        parts[deep][name] = value
    return parts


def _fits(value: Any, default: Any, positive: bool, items_above: int) -> bool:
    if isinstance(default, tuple):
        kinds = (int, float) if isinstance(default[0], float) else (int,)
        return isinstance(value, list | tuple) and all(
            type(item) in kinds and item > items_above for item in value
        )
    if type(value) is not type(default) and (type(value), type(default)) != (int, float):
        return False
    return isinstance(value, str) or (value > 0 if positive else value >= 0)
