"""What lies in the folder of a published codec: configuration, card, and safetensors files.

Weights are read from safetensors only. Pickles are never opened: reading one runs what is in it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs.errors import InvalidInput

CONFIG: Final = "config.json"
CARD: Final = "README.md"

WEIGHTS: Final = ("model.safetensors", "diffusion_pytorch_model.safetensors")
"""How transformers and diffusers call the file of all weights."""

_INDEX: Final = ".index.json"
_MAX_HEADER: Final = 100_000_000
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

_NO_LICENCE: Final = "not stated"

# A field of a card's YAML, whose value is on its line or the only one of a list.
_LICENCE: Final = re.compile(
    r"^(license\w*):[ \t]*(?:\n[ \t]*-)?[ \t]*(\S.*?)[ \t]*$", re.MULTILINE
)

# Of a configuration, what says who wrote the file and nothing about the codec.
_NOT_HASHED: Final = (
    "_name_or_path", "_commit_hash", "transformers_version", "_diffusers_version",
)  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """One tensor of a safetensors file: where its bytes are."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Snapshot:
    """A folder that holds a published codec, and what it is called.

    `weights` are the names that its file of weights may have; without any, none are looked for.
    `prefix` is that of the tensors which belong to the codec, where a larger model has it as a
    part; `also` names further files that it is made of, and `convert` the command that makes
    safetensors of a pickle. Nothing is read before it is asked for.
    """

    name: str
    folder: Path
    weights: tuple[str, ...] = WEIGHTS
    prefix: str | tuple[str, ...] = ""
    also: tuple[str, ...] = ()
    convert: str = ""
    revision: str = ""

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The configuration; raises `InvalidInput` when there is none that can be read.

        What has no weights needs none.
        """
        if not self.weights and not (self.folder / CONFIG).exists():
            return {}
        return read_json(self.folder / CONFIG)

    @cached_property
    def tensors(self) -> Mapping[str, Stored]:
        """The codec's tensors by their full names; every file is known to be whole.

        Raises `InvalidInput` where one is damaged or missing, or where there are only pickles.
        """
        if not self.weights:
            return {}
        files = weight_files(self.folder, self.weights, self.prefix)
        if not files:
            held = [path.name for path in self.folder.iterdir()]
            raise InvalidInput(no_weights(str(self.folder), held, self.convert))
        found: dict[str, Stored] = {}
        for file in files:
            for tensor in read_header(file):
                if tensor.name.startswith(self.prefix):
                    found[tensor.name] = tensor
        if not found:
            named = self.prefix if isinstance(self.prefix, str) else " or ".join(self.prefix)
            raise InvalidInput(f"{str(self.folder)!r} has no tensors {named}*")
        return found

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over configuration and tensors, cut to 16 hex digits.

        It does not depend on how the tensors are spread over files. Where there are none, the
        configuration is that of a model which the codec goes with, and is left out.
        """
        config = self.config if self.weights else {}
        facts = {k: v for k, v in config.items() if k not in _NOT_HASHED}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for name in self.also:
            file = self.folder / name
            if file.exists():
                digest.update(f"\n{name}\n".encode() + read_bytes(file))
        _hash_tensors(digest, self.tensors)
        return digest.hexdigest()[:16]

    @property
    def weight_bytes(self) -> int:
        return sum(tensor.stop - tensor.start for tensor in self.tensors.values())

    @cached_property
    def licence(self) -> str:
        """The licence that the card states."""
        return stated_licence(self.folder / CARD)

    def stamp(self) -> int:
        """Return a number that changes when one of the files does."""
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        return hash(tuple((file.name, *_times(file)) for file in files))


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; raises `InvalidInput` when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as e:
        raise InvalidInput(f"cannot read {str(path)!r}: {e.strerror or e}") from e


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises `InvalidInput` for anything else."""
    if not path.exists():
        raise InvalidInput(f"{str(path.parent)!r} has no {path.name}")
    try:
        found = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as e:
        raise InvalidInput(f"{str(path)!r} is no JSON: {e}") from e
    if not isinstance(found, dict):
        raise InvalidInput(f"{str(path)!r} holds no object")
    return found


def weight_files(
    folder: Path, names: Sequence[str] = WEIGHTS, prefix: str | tuple[str, ...] = ""
) -> list[Path]:
    """Return the safetensors files that hold tensors whose names have the prefix.

    That is one of `names`, or those that its index lists; none where neither is there. Raises
    `InvalidInput` where the index is wrong.
    """
    for name in names:
        if (folder / name).exists():
            return [folder / name]
    for name in names:
        index = folder / (name + _INDEX)
        if not index.exists():
            continue
        files = [folder / part for part in indexed(index, prefix)]
        if gone := [file.name for file in files if not file.exists()]:
            raise InvalidInput(f"{str(folder)!r} lacks {gone[0]}, which {index.name} names")
        return files
    return []


def indexed(index: Path, prefix: str | tuple[str, ...] = "") -> list[str]:
    """Return the names of the files which an index says hold tensors with the prefix."""
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise InvalidInput(f"{str(index)!r} has no weight_map")
    names = sorted({file for name, file in table.items() if name.startswith(prefix)})
    if wrong := [name for name in names if Path(name).name != name]:
        raise InvalidInput(f"{str(index)!r} names {wrong[0]!r}, which is no file beside it")
    return names


def no_weights(where: str, files: Iterable[str], convert: str = "") -> str:
    """Return the line that says why there is nothing to open among `files`."""
    pickles = sorted(name for name in files if name.endswith(_PICKLES))
    if not pickles:
        return f"{where!r} has no weights in a file of a usual name ({', '.join(WEIGHTS)})"
    return (
        f"{where!r} has its weights only as a pickle ({pickles[0]}), which can run any code when "
        f"it is read; where that does no harm, run {convert}, and open hf:converted"
    )


def read_header(file: Path) -> list[Stored]:
    """Return the tensors of a safetensors file.

    Raises `InvalidInput` when it is not one, or not all of it is there.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER):
                raise InvalidInput(f"{str(file)!r} is cut off, or no safetensors file")
            head = json.loads(opened.read(length))
        start = 8 + length
        found = [
            Stored(
                name,
                file,
                part["dtype"],
                tuple(part["shape"]),
                *_place(part["data_offsets"], start),
            )
            for name, part in head.items()
            if name != "__metadata__"
        ]
    except OSError as e:
        raise InvalidInput(f"cannot read {str(file)!r}: {e.strerror or e}") from e
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise InvalidInput(f"{str(file)!r} is no safetensors file: {e}") from e
    stop = max((tensor.stop for tensor in found), default=start)
    if stop > size:
        raise InvalidInput(f"{str(file)!r} is cut off: it has {size:,} of {stop:,} bytes")
    return found


def _place(offsets: Sequence[int], start: int) -> tuple[int, int]:
    first, last = offsets
    if not 0 <= first <= last:
        raise ValueError(f"a tensor cannot lie from {first} to {last}")
    return start + first, start + last


def _hash_tensors(digest: Any, tensors: Mapping[str, Stored]) -> None:
    """Hash names, types, shapes and bytes, sorted by name."""
    opened: dict[Path, mmap.mmap] = {}
    try:
        for name in sorted(tensors):
            tensor = tensors[name]
            digest.update(f"\n{name} {tensor.dtype} {tensor.shape}\n".encode())
            if tensor.file not in opened:
                with tensor.file.open("rb") as file:
                    opened[tensor.file] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with memoryview(opened[tensor.file]) as view, view[tensor.start : tensor.stop] as part:
                digest.update(part)
    except (OSError, ValueError) as e:  # mmap's for a file that has become shorter
        raise InvalidInput(f"cannot read {str(tensor.file)!r}: {e}") from e
    finally:
        for mapped in opened.values():
            mapped.close()


def _times(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


def stated_licence(card: Path) -> str:
    """Return the licence in the front matter of a card, or "not stated"."""
    try:
        text = card.read_text("utf-8", "replace")
    except OSError:
        return _NO_LICENCE
    front = re.match(r"\s*---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    fields = dict(_LICENCE.findall(front[1])) if front else {}
    stated = fields.get("license", "").strip("'\"[]") or _NO_LICENCE
    own = fields.get("license_name", "").strip("'\"")
    return own if stated == "other" and own else stated
