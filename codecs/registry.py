"""Which codecs there are: one file `codecs/<modality>/<kind>.py` each, found by name."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from omnicodec.codecs.codec import Codec, CodecSpec
from omnicodec.codecs.errors import InvalidInput, Unavailable, UnknownCodec
from omnicodec.codecs.hub.reference import is_hub_name, of_folder, parse
from omnicodec.codecs.media import MODALITIES

AnyCodec = Codec[Any]
C = TypeVar("C", bound=type[AnyCodec])

_classes: dict[str, type[AnyCodec]] = {}
_loaded: dict[tuple[str, str], AnyCodec] = {}
_loading = threading.Lock()

DEFAULTS = {
    "image": "image/vq",
    "audio": "audio/rvq",
    "text": "text/bytes",
    "video": "video/inr",
}
"""The codec of each modality that is used when none is named."""

COMPRESSION_DEFAULTS = {**DEFAULTS, "image": "image/rate"}
"""The same for compression, where what counts is to look as before at fewer bytes."""


def register(name: str) -> Callable[[C], C]:
    """Return a decorator that makes a codec class known as `modality/kind`."""

    def add(cls: C) -> C:
        _classes[name] = cls
        return cls

    return add


@cache
def available() -> tuple[str, ...]:
    """Return the names of all codecs, sorted; nothing heavy is imported."""
    names = []
    for modality in MODALITIES:
        try:
            package = importlib.import_module(f"omnicodec.codecs.{modality}")
        except ModuleNotFoundError:
            continue  # no codec of this modality yet
        names += [
            f"{modality}/{module.name}"
            for module in pkgutil.iter_modules(package.__path__)
            if not module.name.startswith("_")
        ]
    return tuple(sorted(names))


def describe(name: str | os.PathLike[str]) -> CodecSpec:
    """Return the spec of the codec `name[@version]` without loading its network.

    Raises `UnknownCodec` when there is no such codec or version, and for a path or a published
    codec what `load` raises.
    """
    if isinstance(name, os.PathLike):
        return load(name).spec
    if is_hub_name(name):
        from omnicodec.codecs.hub import opening

        return opening.describe(parse(name))
    return _find(name)[1]


def load(name: str | os.PathLike[str], *, device: str = "auto") -> AnyCodec:
    """Return the codec `name[@version]`, the same instance for the same name and device.

    A path opens what is not shipped: a `tokenizer.json`, a folder with one, or the `export/`
    that `omnicodec train` left, whose `config.json` names its codec (`text/bpe` where it names
    none), and a folder with a published codec. It is read again when one of its files has
    changed. It must be a `pathlib.Path` and no str.

    `hf:owner/name[@revision]` and `hf:FOLDER` open a published codec, and download it where need
    be. So no name from a stream or a request comes here: those are for `load_named`.

    `device` is "auto" (a GPU where there is one), "cpu", or a torch device such as
    "cuda:1". Raises `UnknownCodec`, `InvalidInput` or `Unavailable`.
    """
    if isinstance(name, os.PathLike):
        return _load_path(Path(name), device)
    if is_hub_name(name):
        from omnicodec.codecs.hub import opening

        return opening.open_codec(parse(name), device)
    cls, spec = _find(name)
    device = resolve_device(device) if cls.on_device else "cpu"
    with _loading:
        key = (spec.name, device)
        if key not in _loaded:
            _loaded[key] = cls.open(device)
        return _loaded[key]


def load_named(name: str, *, device: str = "auto") -> AnyCodec:
    """Return the codec that a stream, a request or an archive of tokens names.

    As `load`, but nothing is read or downloaded on a stranger's word: of published codecs, only
    those that this process has opened are found. Raises `UnknownCodec` or `Unavailable`.
    """
    if is_hub_name(name):
        from omnicodec.codecs.hub import opening

        return opening.already_open(name, device)
    return load(name, device=device)


def describe_named(name: str) -> CodecSpec:
    """Return the spec of the codec that a stream, a request or an archive names.

    As `describe`, under the rules of `load_named`. Raises `UnknownCodec`.
    """
    if is_hub_name(name):
        from omnicodec.codecs.hub import opening

        return opening.described(name)
    return describe(name)


def opened() -> tuple[str, ...]:
    """Return the names of the published codecs that are open in this process, sorted."""
    hub = sys.modules.get("omnicodec.codecs.hub.opening")
    return hub.open_names() if hub is not None else ()


def _load_path(path: Path, device: str) -> AnyCodec:
    from omnicodec.codecs.hub import opening
    from omnicodec.codecs.text.bpe import BPECodec

    if opening.is_known(path):
        return opening.open_codec(of_folder(path), device)
    file = path
    if path.is_dir():
        ours = any(path.glob("model.safetensors*"))
        file = path / ("config.json" if ours else "tokenizer.json")
    try:
        trained = file.name == "config.json" and path.is_dir()
        cls = _trained_class(file) if trained else BPECodec
        parts = sorted(p for p in path.rglob("*") if p.is_file()) if trained else [file]
        changed = hash(tuple((p.name, p.stat().st_mtime_ns) for p in parts))
    except OSError as e:
        raise InvalidInput(f"cannot read {str(path)!r}: {e.strerror}") from e
    device = resolve_device(device) if cls.on_device else "cpu"
    with _loading:
        key = (f"{file.resolve()}@{changed}", device)
        if key not in _loaded:
            _loaded[key] = (
                cls.from_folder(path, device=device) if trained else BPECodec.from_file(file)
            )
        return _loaded[key]


def _trained_class(config: Path) -> type[AnyCodec]:
    """Return the class of the codec that a folder's configuration names."""
    try:
        name = json.loads(config.read_bytes()).get("codec", "text/bpe")
        return _find(name)[0]
    except (AttributeError, ValueError, UnknownCodec) as e:
        raise InvalidInput(f"{str(config)!r} names no codec: {e}") from e


def default_codec(modality: str, *, compressing: bool = False) -> str:
    """Return the name of the codec for a modality when none is named.

    For pictures, compression has another than tokens for a language model.
    """
    try:
        return (COMPRESSION_DEFAULTS if compressing else DEFAULTS)[modality]
    except KeyError:
        raise UnknownCodec(f"there is no codec for {modality} in this version") from None


def _find(name: str) -> tuple[type[AnyCodec], CodecSpec]:
    base, _, version = name.partition("@")
    if base not in available():
        raise UnknownCodec(f"unknown codec {base!r}; known: {', '.join(available())}")
    if base not in _classes:
        importlib.import_module(f"omnicodec.codecs.{base.replace('/', '.')}")
    cls = _classes[base]
    spec = _spec(cls)
    if version and version != str(spec.version):
        raise UnknownCodec(f"{base} is here in version {spec.version}, not {version!r}")
    return cls, spec


@cache
def _spec(cls: type[AnyCodec]) -> CodecSpec:
    return cls.describe()


def resolve_device(device: str) -> str:
    """Return the torch device that `load` takes for `device`.

    Raises `InvalidInput` for an unknown one and `Unavailable` for one that is not there.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError as e:
        raise InvalidInput(f"unknown device {device!r}") from e
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as e:  # which of them depends on the device
        raise Unavailable(f"device {device!r} is not there") from e
    return device
