"""From what a user asks for to a job: codecs with their fingerprints, a vocabulary, sources."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs import MODALITIES, CodecSpec, InvalidInput, describe
from omnicodec.codecs.codec import listed
from omnicodec.codecs.hub.reference import is_hub_name, of_folder, parse
from omnicodec.codecs.registry import DEFAULTS, resolve_device
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.engines.worker import visible_gpus_wanted
from omnicodec.service.batch.job import CodecChoice, ItemLimits, Job
from omnicodec.service.batch.sinks import FORMATS, check_format
from omnicodec.service.batch.sources import KINDS
from omnicodec.service.batch.sources.base import SourceSpec
from omnicodec.service.batch.sources.names import check_columns
from omnicodec.service.batch.sources.storage import is_url

CODECS: Final[Mapping[str, str]] = {**DEFAULTS, "text": "text/bpe"}
"""The codec of each modality unless told; language models are trained on pieces, not on bytes."""

SHARD_ITEMS: Final = 1024
SHARD_BYTES: Final = 1 << 28


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a user asks for; see `Job` for most of it.

    `sources` are locations, all read as `kind`, `columns` and `modality` say. `codecs` are names
    or paths, one a modality at most: modalities without one are not taken, but for text, which
    each vocabulary begins with. Without any, each modality has its default. `quality`, `effort`
    and `method` are for the codecs that have them. `format`'s own layout is taken for layout "",
    and "packed" for sequences of a `length`. `device` is as for `load`, and "auto" is settled here.
    """

    sources: Sequence[str]
    kind: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    modality: str = ""
    codecs: Sequence[str | Path] = ()
    quality: int | None = None
    effort: str | None = None
    method: str | None = None
    format: str = "parquet"
    layout: str = ""
    length: int = 0
    packing: str = "best-fit"
    pattern: str = "flat"
    patch: int = 1
    bos: bool = False
    eos: bool = True
    shard_items: int = SHARD_ITEMS
    shard_bytes: int = SHARD_BYTES
    device: str = "auto"
    limits: ItemLimits = field(default_factory=ItemLimits)


def prepare(wishes: Wishes) -> tuple[Job, Vocabulary]:
    """Return the job, and the vocabulary that it names by its SHA-256.

    Raises `InvalidInput` or `UnknownCodec` for wishes that cannot be; sources are not looked at.
    """
    layout = _layout(wishes)
    chosen = _codecs(wishes)
    with_ids = [c.place for c in chosen if layout != "raw" or not c.width]
    vocabulary = Vocabulary.build(with_ids, wishes.pattern, patch=wishes.patch)
    job = Job(
        sources=tuple(_source(wishes, location) for location in wishes.sources),
        codecs=tuple(chosen),
        vocabulary=hashlib.sha256(vocabulary.files()["vocabulary.json"]).hexdigest(),
        format=wishes.format,
        layout=layout,
        length=wishes.length,
        packing=wishes.packing,
        bos=wishes.bos,
        eos=wishes.eos,
        shard_items=wishes.shard_items,
        shard_bytes=wishes.shard_bytes,
        device=_device(wishes.device, chosen),
        limits=wishes.limits,
    )
    return job, vocabulary


def _device(wanted: str, chosen: Sequence[CodecChoice]) -> str:
    """Return the kind of device; torch is asked only where there may be a GPU that is wanted."""
    if all(choice.modality == "text" for choice in chosen):
        return "cpu"
    if wanted == "auto":
        return resolve_device(wanted) if visible_gpus_wanted(wanted) else "cpu"
    if ":" not in wanted and wanted not in ("cpu", "cuda"):
        resolve_device(wanted)  # says what is no device
    return wanted.partition(":")[0]


def _layout(wishes: Wishes) -> str:
    check_format(wishes.format, FORMATS.get(wishes.format, ("",))[0])
    if wishes.length:
        layout = wishes.layout or "packed"
        if layout != "packed":
            raise InvalidInput(f"layout {layout!r} has no sequences of a fixed length")
    else:
        layout = wishes.layout or FORMATS[wishes.format][0]
        if layout == "packed":
            raise InvalidInput("layout 'packed' needs the length of its sequences")
    check_format(wishes.format, layout)
    return layout


def _source(wishes: Wishes, location: str) -> SourceSpec:
    """Return the source at a location, which means the same from every working folder."""
    if wishes.kind and wishes.kind not in KINDS:
        raise InvalidInput(f"no kind of source {wishes.kind!r}; known: {', '.join(KINDS)}")
    if wishes.modality and wishes.modality not in MODALITIES:
        known = ", ".join(MODALITIES)
        raise InvalidInput(f"unknown modality {wishes.modality!r}; known: {known}")
    check_columns(wishes.columns)
    place = location if is_url(location) else os.path.abspath(location)  # noqa: PTH100
    return SourceSpec(
        location=place, kind=wishes.kind, columns=dict(wishes.columns), modality=wishes.modality
    )


def _codecs(wishes: Wishes) -> list[CodecChoice]:
    named = list(wishes.codecs) or list(CODECS.values())
    found: dict[str, tuple[str | Path, CodecSpec]] = {}
    for codec in named:
        spec = describe(codec)
        if spec.modality in found:
            raise InvalidInput(
                f"{found[spec.modality][1].name} and {spec.name} are both for "
                f"{spec.modality}; a data set has one codec a modality"
            )
        found[spec.modality] = codec, spec
    if "text" not in found:
        found["text"] = CODECS["text"], describe(CODECS["text"])
    settings = _settings(wishes, [spec for _, spec in found.values()])
    return [
        replace(
            CodecChoice(
                modality=modality,
                name=spec.name,
                fingerprint=spec.fingerprint,
                path=_place(codec, spec),
                width=spec.soft_width,
            ),
            **settings[modality],
        )
        for modality, (codec, spec) in sorted(found.items())
    ]


def _place(codec: str | Path, spec: CodecSpec) -> str:
    """Return where a codec is that its name alone does not tell, from every working folder."""
    if is_hub_name(spec.name):
        where = of_folder(codec) if isinstance(codec, Path) else parse(codec)
        revision = str(spec.details.get("revision", where.revision))
        return str(where if where.folder is not None else replace(where, revision=revision))
    return os.path.abspath(codec) if isinstance(codec, Path) else ""  # noqa: PTH100


def _settings(wishes: Wishes, specs: Sequence[CodecSpec]) -> dict[str, dict[str, Any]]:
    """Return the settings of each modality's codec; each must be one that some codec has."""
    found: dict[str, dict[str, Any]] = {spec.modality: {} for spec in specs}
    for what, plural, value in (
        ("quality", "qualities", wishes.quality),
        ("effort", "efforts", wishes.effort),
        ("method", "methods", wishes.method),
    ):
        if value is None:
            continue
        takers = [spec for spec in specs if value in getattr(spec, plural)]
        for spec in takers:
            found[spec.modality][what] = value
        others = [spec for spec in specs if getattr(spec, plural) and spec not in takers]
        if not takers or (wishes.codecs and others):
            first = others[0] if others else specs[0]
            known = listed(getattr(first, plural)) or "none"
            raise InvalidInput(f"{first.name} has no {what} {value}; known: {known}")
    return found
