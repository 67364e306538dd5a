"""The libraries that hold published networks: opened quietly, and their errors made plain."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from omnicodec.codecs.errors import InvalidInput, OmnicodecError, Unavailable
from omnicodec.codecs.hub.files import Snapshot


@contextlib.contextmanager
def library_errors(name: str) -> Iterator[None]:
    """Turn what a library raises while it opens `name` into one line."""
    try:
        yield
    except (OmnicodecError, MemoryError):
        raise
    except ImportError as e:
        raise Unavailable(f'{name} needs: pip install "omnicodec[hub]" ({one_line(e)})') from e
    except Exception as e:  # the libraries raise anything
        raise InvalidInput(f"{name} cannot be opened: {one_line(e)}") from e


def one_line(error: Exception, most: int = 300) -> str:
    """Return an error's message on one line, without what follows its first paragraph."""
    text = re.sub(r"\x1b\[[\d;]*m", "", str(error)).strip() or type(error).__name__
    line = " ".join(text.split("\n\n")[0].split())
    return line if len(line) <= most else line[:most] + "…"


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Let transformers print no progress and no reports."""
    reports: Any = import_module("transformers.utils.logging")
    level, bars = reports.get_verbosity(), reports.is_progress_bar_enabled()
    reports.set_verbosity(logging.CRITICAL)
    reports.disable_progress_bar()
    try:
        yield
    finally:
        reports.set_verbosity(level)
        if bars:
            reports.enable_progress_bar()


@contextlib.contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Let diffusers print no reports."""
    reports: Any = import_module("diffusers.utils.logging")
    level = reports.get_verbosity()
    reports.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        reports.set_verbosity(level)


def pretrained(cls: Any, snapshot: Snapshot) -> Any:
    """Return a transformers model `cls` with the weights of a folder, in float32 on the CPU.

    Raises `InvalidInput` when the weights are not those of the configuration: the library alone
    would go on with random numbers in their place.
    """
    import torch

    with quiet_transformers():
        return _pretrained(cls, snapshot, dtype=torch.float32)


def pretrained_of_diffusers(cls: Any, snapshot: Snapshot) -> Any:
    """Return the same of a diffusers model `cls`."""
    import torch

    with quiet_diffusers():
        return _pretrained(cls, snapshot, torch_dtype=torch.float32, low_cpu_mem_usage=False)


def diffusers_class(name: str) -> Any:
    """Return a class of diffusers; raises `Unavailable` where the library has none yet."""
    library = import_module("diffusers")
    if not hasattr(library, name):
        raise Unavailable(f"{name} needs a newer diffusers than {library.__version__}")
    return getattr(library, name)


def diffusers_config(cls: Any, snapshot: Snapshot) -> SimpleNamespace:
    """Return what a model `cls` of diffusers is made with, which the library's defaults complete.

    Raises `InvalidInput` unless it is for pictures or video of red, green and blue.
    """
    taken = inspect.signature(cls.__init__).parameters.values()
    defaults = {each.name: each.default for each in taken if each.default is not each.empty}
    with quiet_diffusers():  # it warns of what the class itself has written
        settings, *_ = cls.extract_init_dict(dict(snapshot.config))
    config = SimpleNamespace(**(defaults | settings))
    ends = config.in_channels, getattr(config, "out_channels", config.in_channels)
    if ends != (3, 3):
        raise InvalidInput(
            f"{snapshot.name} takes {ends[0]} channels and gives {ends[1]}: only networks of red, "
            "green and blue are codecs here"
        )
    return config


def _pretrained(cls: Any, snapshot: Snapshot, **options: Any) -> Any:
    snapshot.tensors  # noqa: B018  # says what is damaged or missing better than the library
    model, report = cls.from_pretrained(
        snapshot.folder,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **options,
    )
    check_report(snapshot.name, report["missing_keys"], report["mismatched_keys"])
    return model


def check_report(name: str, missing: Sequence[str], mismatched: Sequence[Any]) -> None:
    """Raise `InvalidInput` where tensors are missing or of another shape."""
    if mismatched:
        key, theirs, ours = sorted(mismatched)[0]
        raise InvalidInput(
            f"the weights of {name} do not match its configuration: {key} is "
            f"{tuple(theirs)}, not {tuple(ours)}"
        )
    if missing:
        raise InvalidInput(
            f"the weights of {name} do not match its configuration: {sorted(missing)[0]} is "
            f"missing" + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
        )
