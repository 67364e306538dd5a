"""The job: everything that the bytes of a run's output depend upon, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs import CorruptStream, FingerprintMismatch, InvalidInput, load
from omnicodec.codecs.hub.reference import is_hub_name, parse
from omnicodec.codecs.registry import AnyCodec, load_named
from omnicodec.service.batch.sources.base import SourceSpec

FULL_BITS: Final = 32
"""Bits of a real value of a codec whose quality is not named."""

_FORMAT: Final = "omnicodec.job.v1"


@dataclass(frozen=True, kw_only=True)
class CodecChoice:
    """The codec of a modality, with its settings: `name` as `load` takes it, or else `path`.

    That of a published codec is a name too: `hf:` with an absolute folder or a pinned revision.
    `width` is how many real values a position has, of a codec without ids.
    """

    modality: str
    name: str
    fingerprint: str
    path: str = ""
    quality: int | None = None
    effort: str | None = None
    method: str | None = None
    width: int = 0

    def open(self, device: str) -> AnyCodec:
        """Return the codec; raises `FingerprintMismatch` when it is no longer what it was.

        Who made the job has downloaded what there was to be. This is for workers, of which there
        may be many, and they ask the network for nothing.
        """
        codec = self._opened(device)
        self._compare(codec.spec.fingerprint)
        return codec

    def _opened(self, device: str) -> AnyCodec:
        if not is_hub_name(self.path):
            return load(self.place, device=device)
        from omnicodec.codecs.hub.opening import open_codec

        return open_codec(replace(parse(self.path), cached=True), device)

    def open_named(self, device: str) -> AnyCodec:
        """Return the codec on the word of a data set, which may be a stranger's.

        As `open`, but of published codecs only those that this process has opened are found.
        Raises `UnknownCodec` and `FingerprintMismatch`.
        """
        if not is_hub_name(self.name) and not is_hub_name(self.path):
            return self.open(device)
        codec = load_named(self.name, device=device)
        self._compare(codec.spec.fingerprint)
        return codec

    def to_json(self) -> dict[str, Any]:
        # Jobs from before there were real values have the digests that they had.
        return {name: value for name, value in asdict(self).items() if name != "width" or value}

    @property
    def place(self) -> str | Path:
        """What `load` opens it by."""
        path = self.path
        return (path if is_hub_name(path) else Path(path)) if path else self.name

    def _compare(self, here: str) -> None:
        if here != self.fingerprint:
            raise FingerprintMismatch(
                f"{self.name} here is {here}, this data set was begun with {self.fingerprint}"
            )


@dataclass(frozen=True, kw_only=True)
class ItemLimits:
    """The largest items that are taken: pixels of all frames, seconds, bytes of the file."""

    pixels: int = 1 << 31
    seconds: float = 24 * 3600.0
    nbytes: int = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be made of which sources.

    `codecs` has one choice a modality; `vocabulary` is the SHA-256 of `vocabulary.json`. `format`
    names a sink, `layout` is one of `sinks.base.LAYOUTS`; `length` and `packing` are of packed
    sequences ("best-fit" or "concatenate"). Shards have at most about `shard_items` items and
    `shard_bytes` bytes of sources. `device` is the kind that networks run on, "cpu" or "cuda":
    their last bits differ between kinds, and so may a token here and there.
    """

    sources: tuple[SourceSpec, ...]
    codecs: tuple[CodecChoice, ...]
    vocabulary: str
    format: str
    layout: str
    length: int = 0
    packing: str = "best-fit"
    bos: bool = False
    eos: bool = True
    shard_items: int = 1024
    shard_bytes: int = 1 << 28
    device: str = "cpu"
    limits: ItemLimits = field(default_factory=ItemLimits)
    version: int = 1

    def codec_of(self, modality: str) -> CodecChoice | None:
        """Return the choice for a modality; None where its items are not taken."""
        return next((c for c in self.codecs if c.modality == modality), None)

    @property
    def soft(self) -> dict[str, dict[str, int]]:
        """The codecs of real-valued tokens by name: values of a position, and bits of each."""
        return {
            choice.name: {"width": choice.width, "bits": choice.quality or FULL_BITS}
            for choice in self.codecs
            if choice.width
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the job, in hex: two runs with the same one write the same bytes."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        sources = [source.to_json() for source in self.sources]
        codecs = [choice.to_json() for choice in self.codecs]
        return {"format_of_job": _FORMAT, **asdict(self), "sources": sources, "codecs": codecs}

    def to_bytes(self) -> bytes:
        """Return the content of `job.json`."""
        return (json.dumps(self.to_json(), indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Job:
        """Return the job of `to_json`; raises `InvalidInput` for anything else."""
        try:
            fields = dict(value)
            if fields.pop("format_of_job") != _FORMAT:
                raise ValueError("it is of another version")
            return cls(
                **{
                    **fields,
                    "sources": tuple(map(SourceSpec.from_json, fields["sources"])),
                    "codecs": tuple(CodecChoice(**choice) for choice in fields["codecs"]),
                    "limits": ItemLimits(**fields["limits"]),
                }
            )
        except (KeyError, TypeError, ValueError) as e:
            raise InvalidInput(f"not a job of this version of omnicodec: {e}") from e


def parse_job(data: bytes, path: Path) -> Job:
    """Return the job in a file's content; raises `CorruptStream` for anything else."""
    try:
        return Job.from_json(json.loads(data))
    except (ValueError, AttributeError, InvalidInput) as e:
        raise CorruptStream(f"{str(path)!r}: {e}") from e


def differences(first: Job, second: Job) -> list[tuple[str, Any, Any]]:
    """Return what differs between jobs: names such as "codecs.image.quality", and both values."""
    one, other = _flat(first), _flat(second)
    names = dict.fromkeys([*one, *other])
    return [
        (name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)
    ]


def _flat(job: Job) -> dict[str, Any]:
    """Return the values in a job by name; the codecs have those of their modalities."""
    value = job.to_json()
    value["codecs"] = {choice["modality"]: choice for choice in value["codecs"]}
    found: dict[str, Any] = {}

    def take(name: str, value: Any) -> None:
        if isinstance(value, list | tuple):
            value = dict(enumerate(value, 1))
        if isinstance(value, dict):
            for key, inner in value.items():
                take(f"{name}.{key}" if name else str(key), inner)
        else:
            found[name] = value

    take("", value)
    return found
