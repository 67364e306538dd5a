"""The tensors of a TorchScript archive, read without TorchScript: none of its code is looked at.

Such an archive is a zip file: `data.pkl` pickles the module's attributes, `data/N` are the bytes of
tensors, and `code/` is the program. `torch.jit.load` compiles the program, and runs those parts
that restore modules. Here only attributes are unpacked, and classes become plain holders of them.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import torch

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.hub.libraries import one_line

_PICKLE: Final = "data.pkl"

_TYPES: Final = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers of a TorchScript archive by their names in its module.

    Raises `InvalidInput` for anything else.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            folders = [n.partition("/")[0] for n in archive.namelist() if n.endswith(_PICKLE)]
            # Beside the module there may be the constants and the inputs of its tracing.
            folder = next(f for f in folders if f"{f}/{_PICKLE}" in archive.namelist())
            with archive.open(f"{folder}/{_PICKLE}") as pickled:
                module = _Reader(pickled, archive, folder).load()
        found: dict[str, torch.Tensor] = {}
        _gather(module, "", found, set())
    except OSError as e:
        raise InvalidInput(f"cannot read {str(file)!r}: {e.strerror or e}") from e
    except Exception as e:  # unpickling raises anything
        why = one_line(e)
        raise InvalidInput(f"{str(file)!r} is no TorchScript archive of tensors: {why}") from e
    return found


class _Part:
    """What a module of an archive becomes: what it holds, by name."""

    held: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.held = dict(state)


class _Reader(pickle.Unpickler):
    """Unpacks the attributes of modules. Every name that it knows is in `find_class`."""

    def __init__(self, pickled: IO[bytes], archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(pickled)
        self._archive, self._folder = archive, folder
        self._storages: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "__torch__":
            return _Part
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return list
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """Return the bytes of tensors that `pid` names, as one row of numbers."""
        _, kind, key, _, count = pid
        if key not in self._storages:
            stored = self._archive.getinfo(f"{self._folder}/data/{key}")
            # Packed ones could hold more than there is memory for; torch packs none.
            if stored.compress_type != zipfile.ZIP_STORED:
                raise pickle.UnpicklingError("its tensors are compressed")
            data = bytearray(self._archive.read(stored))
            row = torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)
            if len(row) != count:
                raise pickle.UnpicklingError(f"it has {len(row)} of {count} numbers")
            self._storages[key] = row
        return self._storages[key]


def _tensor(
    row: torch.Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> torch.Tensor:
    if math.prod(size) > row.numel():
        raise pickle.UnpicklingError("it has a tensor that is larger than its numbers")
    return row.as_strided(size, stride, offset)


def _gather(part: Any, prefix: str, found: dict[str, torch.Tensor], seen: set[int]) -> None:
    """Add the tensors of a module and of those in it, each module once."""
    if not isinstance(part, _Part) or id(part) in seen:
        return
    seen.add(id(part))
    for name, value in part.held.items():
        if isinstance(value, torch.Tensor):
            found[f"{prefix}{name}"] = value
        _gather(value, f"{prefix}{name}.", found, seen)
