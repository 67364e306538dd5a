"""The settings of a server from a TOML file, from variables and from flags, and back to TOML.

A file has the fields of `ServerOptions` by their names; `OMNICODEC_MAX_QUEUE` sets `max_queue` over
it, and a flag over both. Paths in a file are relative to it. An empty string unsets what may be
unset. Variables of other names are not looked at: Kubernetes makes some up.
"""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from omnicodec.codecs import InvalidInput
from omnicodec.service.server.options import ServerOptions

PREFIX: Final = "OMNICODEC_"

_HINTS: Final = get_type_hints(ServerOptions)
_NAMES: Final = tuple(field.name for field in fields(ServerOptions))
_DEFAULTS: Final = {field.name: field.default for field in fields(ServerOptions)}


def options_from(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> ServerOptions:
    """Return the settings of a file, of variables over it and of flags over both.

    `flags` are fields with values of their own types, or text as variables have it. Raises
    `InvalidInput` with one line that says where the mistake is.
    """
    values = {} if file is None else _from_file(file)
    for name in _NAMES:
        variable = f"{PREFIX}{name.upper()}"
        if environment is not None and variable in environment:
            values[name] = from_text(name, environment[variable], variable)
    values.update(flags or {})
    if "max_message_bytes" in values and "max_queue_bytes" not in values:
        values["max_queue_bytes"] = 8 * values["max_message_bytes"]
    return ServerOptions(**values)


def to_toml(options: ServerOptions) -> str:
    """Return settings as a file, with every field; paths are absolute, unset ones comments."""
    lines = []
    for name in _NAMES:
        value = getattr(options, name)
        if value is None:
            lines.append(f"# {name} =")
            continue
        if isinstance(value, Path):
            value = str(value.absolute())
        lines.append(f"{name} = {_literal(value)}")
    return "\n".join(lines) + "\n"


def setting(text: str) -> tuple[str, Any]:
    """Return the field and the value of "FIELD=VALUE"; raises `InvalidInput`."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals:
        raise InvalidInput(f"{text!r} is not FIELD=VALUE")
    _check_name(name, "")
    return name, from_text(name, value.strip(), name)


def from_text(name: str, text: str, where: str) -> Any:
    """Return the value of a field that text says, where lists have commas.

    Raises `InvalidInput` that begins with `where`.
    """
    kind = _HINTS[name]
    value: Any = text
    if kind is int:
        value = _number(int, text)
    elif kind is float:
        value = _number(float, text)
    elif kind == tuple[str, ...]:
        value = [part.strip() for part in text.split(",") if part.strip()]
    return _checked(name, value, where, Path())


def _from_file(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as e:
        raise InvalidInput(f"cannot read {str(path)!r}: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise InvalidInput(f"{path} is not TOML: {e}") from e
    for name in table:
        _check_name(name, f"{path}: ")
    return {
        name: _checked(name, value, f"{path}: {name}", path.parent) for name, value in table.items()
    }


def _check_name(name: str, where: str) -> None:
    if name not in _NAMES:
        near = difflib.get_close_matches(name, _NAMES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidInput(f"{where}unknown setting {name!r}{hint}")


def _checked(name: str, value: Any, where: str, folder: Path) -> Any:
    """Return a value as its field's type has it; raises `InvalidInput`."""
    kind = _HINTS[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int and number and isinstance(value, int):
        return value
    if kind is float and number and not math.isnan(value):
        return float(value)
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            return tuple(value)
    elif isinstance(value, str) and kind not in (int, float):
        if not value and kind is not str:
            return None
        if kind == Path | None:
            return folder / value
        return value
    raise InvalidInput(f"{where} must be {_WANTED[kind]}, not {value!r}")


_WANTED: Final[dict[Any, str]] = {
    int: "a whole number",
    float: "a number",
    str: "a string",
    str | None: "a string",
    Path | None: "a path",
    tuple[str, ...]: "a list of strings",
}


def _number(kind: Callable[[str], Any], text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text


def _literal(value: Any) -> str:
    if isinstance(value, str):  # a string of JSON is one of TOML, but for this sign
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)
