"""Files of a data set: folders of files, .tar shards, and .zst files unpacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from omnicodec.codecs import CorruptStream, InvalidInput, Unavailable
from omnicodec.models import weights
from omnicodec.service.batch.sources.packed import unpacked
from omnicodec.service.shards import read_shard


def read_files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (group, content) of every file below a folder, or in a shard, in a fixed order.

    The group is the name of the shard or folder. Raises `InvalidInput` for anything else.
    """
    if source.is_file():
        yield from _members(source)
        return
    if not source.is_dir():
        raise InvalidInput(f"{str(source)!r} is not a folder or a tar shard")
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        yield from _members(path)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix == ".zst":
        yield path.name.split(".")[0], _unpacked(path)
        return
    if path.suffix != ".tar":
        yield path.parent.name, path.read_bytes()
        return
    for _, data in read_shard(path, lambda _: True):
        yield path.stem, data


def _unpacked(path: Path) -> bytes:
    try:
        with path.open("rb") as file, unpacked(file, path.name) as stream:
            return stream.read()
    except ImportError as e:
        raise Unavailable('reading .zst files needs: pip install "omnicodec[train]"') from e
    except CorruptStream as e:
        raise InvalidInput(f"{str(path)!r} is not a readable .zst file: {e}") from e


def write_model(folder: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write the weights into a folder of weights, in place of any others."""
    _write(folder, "model.safetensors", tensors)


def write_prior(folder: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write the prior into a folder of weights, in place of any other."""
    _write(folder, "prior.safetensors", tensors)


def _write(folder: Path, name: str, tensors: Mapping[str, NDArray[Any]]) -> None:
    (folder / f"{name}.zst").write_bytes(weights.pack(tensors))
    (folder / name).unlink(missing_ok=True)
