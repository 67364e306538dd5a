"""Trained weights that ship with the package, one folder a codec, and their fingerprints.

    models/weights/<modality>/<kind>/
        config.json          the network's configuration
        model.safetensors    its weights
        prior.safetensors    the tables of its prior; packed as prior.safetensors.zst if large
        card.md              data, licences, recipe, hardware, measured results, limits

Nothing here needs torch: specs and fingerprints are read without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors

Array = NDArray[Any]

_ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Shipped:
    """What one codec ships: configuration, weights and the tables of its prior."""

    config: Mapping[str, Any]
    tensors: Mapping[str, Array]
    prior: Mapping[str, Array]

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.config, self.tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and prior."""
        return sum(a.nbytes for part in (self.tensors, self.prior) for a in part.values())


def folder(codec: str) -> Path:
    """Return the folder of a codec's weights, which need not exist yet."""
    return _ROOT / codec


@cache
def read(codec: str) -> Shipped:
    """Return what the codec `modality/kind` ships; parts that it has no need of are empty."""
    return read_folder(folder(codec))


def read_folder(path: Path) -> Shipped:
    """Return what a folder of the layout above holds; raises `OSError` if it is not there."""
    config = path / "config.json"
    return Shipped(
        json.loads(config.read_text()) if config.exists() else {},
        _read_tensors(path / "model.safetensors"),
        _read_tensors(path / "prior.safetensors"),
    )


def pack(tensors: Mapping[str, Array]) -> bytes:
    """Return tensors as the content of a `.safetensors.zst` file."""
    import zstandard

    content = safetensors.save({k: np.ascontiguousarray(v) for k, v in tensors.items()})
    return bytes(zstandard.ZstdCompressor(level=22).compress(content))


def fingerprint(config: Mapping[str, Any], tensors: Mapping[str, Array]) -> str:
    """Return SHA-256 over configuration and tensors, cut to 16 hex digits.

    It hashes values, not files, so it does not depend on key order, on the file format or
    on the machine's byte order.
    """
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"\n{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(little.data if little.size else b"")
    return digest.hexdigest()[:16]


def _read_tensors(path: Path) -> dict[str, Array]:
    packed = path.with_name(path.name + ".zst")
    if packed.exists():
        import zstandard

        return safetensors.load(zstandard.ZstdDecompressor().decompress(packed.read_bytes()))
    return safetensors.load_file(path) if path.exists() else {}
