"""Codecs of trained weights: those that ship with the package, or one's own."""

from __future__ import annotations

import os
from abc import abstractmethod
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from omnicodec.codecs.codec import Codec, CodecSpec
from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.media import Media
from omnicodec.models import weights

M = TypeVar("M", bound=Media)


class ShippedCodec(Codec[M]):
    """A codec that is made of a folder of weights; those that ship lie under its `name`.

    `shipped` is what `_read` finds in a folder: `weights.Shipped`, but for codecs of more parts.
    """

    name: ClassVar[str]

    @classmethod
    def _read(cls, folder: Path) -> Any:
        """Return what a folder holds; raises what `weights.read_folder` does."""
        return weights.read_folder(folder)

    @classmethod
    @abstractmethod
    def _spec_of(cls, shipped: Any) -> CodecSpec:
        """Return the spec of a codec of these weights, without loading a network."""

    @classmethod
    @abstractmethod
    def _build(cls, shipped: Any, device: str) -> Self:
        """Return the codec of these weights."""

    @classmethod
    def describe(cls) -> CodecSpec:
        return cls._spec_of(_shipped(cls))

    @classmethod
    def open(cls, device: str) -> Self:
        return cls._build(_shipped(cls), device)

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], *, device: str = "cpu") -> Self:
        try:
            return cls._build(cls._read(Path(folder)), device)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as e:
            raise InvalidInput(f"{os.fspath(folder)!r} holds no {cls.name}: {e}") from e


@cache
def _shipped(cls: type[ShippedCodec[Any]]) -> Any:
    return cls._read(weights.folder(cls.name))
