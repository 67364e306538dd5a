"""Trained weights that ship with the package, one folder a codec, and their fingerprints.

    models/weights/<modality>/<kind>/
        config.json          the network's configuration
        model.safetensors    its weights; packed as model.safetensors.zst if large
        prior.safetensors    the tables of its prior; packed in the same way
        card.md              data, licences, recipe, hardware, measured results, limits

Weights may be stored in 8 bits or fewer: a tensor `name` of int8 has a scale for each row beside
it, `name:scale`, and `dequantize` gives the values. Fingerprints are those of what is stored.

Nothing here needs torch: specs and fingerprints are read without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

Array = NDArray[Any]

_ROOT = Path(__file__).parent

_SCALE: Final = ":scale"
_NOTHING: Final = 1e-30
"""Rows of smaller steps are stored as zeros: such numbers have few digits, or none."""

_SHORT: Final = 16
"""Rows shorter than this stay in half precision: a scale each would cost too much of them."""


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
    """Return what a folder of the layout above holds; parts that are not there are empty.

    Raises `OSError` for what cannot be read and `ValueError` for what is damaged.
    """
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


def quantize_rows(
    tensors: Mapping[str, Array], *, keep: Container[str] = (), bits: int = 8
) -> dict[str, Array]:
    """Return float tensors as they are stored: int8 of so many bits, and a float32 scale a row.

    A row is all that belongs to one index of the first axis, such as an output channel of a
    convolution. Vectors, tensors of short rows and those named in `keep` are stored in half
    precision, integers as they are. Raises `ValueError` for values that are not finite.

    Fewer bits than 8 make packed files smaller: by a seventh with 7, which cost `image/vq`
    0.006 dB, and by a quarter with 6, which cost it 0.02 dB.
    """
    stored: dict[str, Array] = {}
    for name, tensor in tensors.items():
        if not np.issubdtype(tensor.dtype, np.floating):
            stored[name] = np.ascontiguousarray(tensor)
            continue
        if not np.isfinite(tensor).all():
            raise ValueError(f"the tensor {name} has values that are not finite")
        if name in keep or tensor.ndim < 2 or tensor[:1].size < _SHORT:
            stored[name] = np.ascontiguousarray(tensor, np.float16)
            continue
        rows = np.asarray(tensor, np.float32).reshape(len(tensor), -1)
        scale = np.abs(rows).max(1, keepdims=True) / np.float32(2 ** (bits - 1) - 1)
        scale[scale < _NOTHING] = 0
        steps = np.round(rows / np.where(scale > 0, scale, np.inf))
        stored[name] = steps.astype(np.int8).reshape(tensor.shape)
        stored[name + _SCALE] = scale[:, 0]
    return stored


def dequantize(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return stored tensors, with float32 values for those that `quantize_rows` put in 8 bits.

    Others are returned as they are. Raises `ValueError` for a scale that has no tensor, or
    one of another shape.
    """
    values: dict[str, Array] = {}
    scales = {name.removesuffix(_SCALE): name for name in tensors if name.endswith(_SCALE)}
    for name, scale in scales.items():
        steps = tensors.get(name)
        if steps is None or steps.dtype != np.int8 or tensors[scale].shape != steps.shape[:1]:
            raise ValueError(f"{scale} is not the scale of a tensor")
        wide = tensors[scale].astype(np.float32).reshape(-1, *(1,) * (steps.ndim - 1))
        values[name] = steps.astype(np.float32) * wide
    rest = {k: v for k, v in tensors.items() if k not in scales and k not in scales.values()}
    return {**values, **rest}


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
    try:
        if not packed.exists():
            return safetensors.load_file(path) if path.exists() else {}
        import zstandard

        return safetensors.load(zstandard.ZstdDecompressor().decompress(packed.read_bytes()))
    except (SafetensorError, _zstd_error()) as e:
        raise ValueError(f"{path.name} is damaged: {e}") from e


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError
