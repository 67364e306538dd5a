"""The models, and the tensors that they take and give.

`<modality>.<kind>.<verb>` for each codec; a published one keeps its name, as in
`hf:owner/name.encode`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

from omnicodec.codecs import CodecSpec, UnknownCodec, registry
from omnicodec.codecs.hub.reference import is_hub_name
from omnicodec.inference import inference_pb2 as oip
from omnicodec.inference import model_config_pb2 as config

PLATFORM: Final = "omnicodec"


class Verb(StrEnum):
    """What a model does."""

    ENCODE = "encode"
    DECODE = "decode"
    COMPRESS = "compress"
    DECOMPRESS = "decompress"


@dataclass(frozen=True)
class Tensor:
    """What a tensor looks like; -1 stands for any size of an axis."""

    name: str
    datatype: str
    shape: tuple[int, ...]


FILE: Final = Tensor("FILE", "BYTES", (-1,))
STREAM: Final = Tensor("STREAM", "BYTES", (-1,))
FINGERPRINT: Final = Tensor("FINGERPRINT", "BYTES", (1,))
TOKENS: Final = "TOKENS"
GRID: Final = "GRID"
EXTENT: Final = "EXTENT"

# Of a batch, whose axis is the first: what an item is without a file, and what belongs to it.
RAW: Final = {
    "image": (Tensor("PIXELS", "UINT8", (-1, -1, -1, 3)),),
    "audio": (Tensor("SAMPLES", "FP32", (-1, -1, -1)), Tensor("SAMPLE_RATE", "INT32", (-1,))),
    "video": (Tensor("FRAMES", "UINT8", (-1, -1, -1, -1, 3)), Tensor("FPS", "INT64", (-1, 2))),
    "series": (Tensor("VALUES", "FP32", (-1, -1, -1)), Tensor("RATE", "FP64", (-1,))),
    "text": (Tensor("TEXT", "BYTES", (-1,)),),
}

_DATA_TYPES: Final = {"BYTES": "TYPE_STRING"}  # the others have the protocol's own name


@dataclass(frozen=True)
class Model:
    """One codec in one direction."""

    name: str
    verb: Verb
    spec: CodecSpec

    @property
    def version(self) -> str:
        return str(self.spec.version)

    @property
    def raw(self) -> tuple[Tensor, ...]:
        """The tensors of an item without a file."""
        return RAW[self.spec.modality]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        match self.verb:
            case Verb.DECODE:
                return self._tokens
            case Verb.DECOMPRESS:
                return (STREAM,)
            case _:
                return (FILE, *self.raw)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        match self.verb:
            case Verb.ENCODE:
                return self._tokens
            case Verb.COMPRESS:
                return (STREAM,)
            case _:
                return (*self.raw, FILE)

    @property
    def optional(self) -> bool:
        """Whether inputs may be left out: media come as files or raw."""
        return self.verb in (Verb.ENCODE, Verb.COMPRESS)

    @property
    def _tokens(self) -> tuple[Tensor, ...]:
        spec = self.spec
        tensors = [
            Tensor(TOKENS, "FP32" if spec.soft_width else "INT32", (spec.per_position, -1)),
            Tensor(GRID, "INT64", (-1, spec.grid_rank)),
        ]
        if spec.extent:
            tensors.append(Tensor(EXTENT, "INT64", (-1, len(spec.extent))))
        return (*tensors, FINGERPRINT)


def find(name: str, version: str = "") -> Model:
    """Return a model; raises `UnknownCodec` where there is none of this name and version."""
    known = _codecs()
    stem, _, verb = name.rpartition(".")
    if verb not in list(Verb) or stem not in known:
        raise UnknownCodec(f"unknown model {name!r}; RepositoryIndex lists those that there are")
    model = Model(name, Verb(verb), registry.describe_named(known[stem]))
    if version not in ("", model.version):
        raise UnknownCodec(f"{name} is here in version {model.version}, not {version!r}")
    return model


def every() -> Iterator[Model]:
    """Yield all models; of published codecs, those that are open in this process."""
    for stem in _codecs():
        for verb in Verb:
            yield find(f"{stem}.{verb}")


def _codecs() -> dict[str, str]:
    """Return the names of all codecs by what the names of their models begin with."""
    names = (*registry.available(), *registry.opened())
    return {name if is_hub_name(name) else name.replace("/", "."): name for name in names}


def metadata(model: Model) -> oip.ModelMetadataResponse:
    """Return what ModelMetadata says of a model."""

    def tensors(known: tuple[Tensor, ...]) -> list[oip.ModelMetadataResponse.TensorMetadata]:
        kind = oip.ModelMetadataResponse.TensorMetadata
        return [kind(name=t.name, datatype=t.datatype, shape=t.shape) for t in known]

    return oip.ModelMetadataResponse(
        name=model.name,
        versions=[model.version],
        platform=PLATFORM,
        inputs=tensors(model.inputs),
        outputs=tensors(model.outputs),
        properties=_facts(model),
    )


def configuration(model: Model) -> config.ModelConfig:
    """Return what ModelConfig says of a model."""
    versions = config.ModelVersionPolicy.Specific(versions=[model.spec.version])
    return config.ModelConfig(
        name=model.name,
        platform=PLATFORM,
        backend=PLATFORM,
        version_policy=config.ModelVersionPolicy(specific=versions),
        max_batch_size=0,
        input=[
            config.ModelInput(
                name=t.name, data_type=_data_type(t), dims=t.shape, optional=model.optional
            )
            for t in model.inputs
        ],
        output=[
            config.ModelOutput(name=t.name, data_type=_data_type(t), dims=t.shape)
            for t in model.outputs
        ],
        parameters={
            key: config.ModelParameter(string_value=value) for key, value in _facts(model).items()
        },
        model_transaction_policy=config.ModelTransactionPolicy(decoupled=False),
    )


def _facts(model: Model) -> dict[str, str]:
    """Return what a client may want to know before it asks, as text."""
    spec = model.spec
    facts = {
        "codec": spec.name,
        "summary": spec.summary,
        "fingerprint": spec.fingerprint,
        "codebook_sizes": ",".join(map(str, spec.codebook_sizes)),
        "soft_width": str(spec.soft_width or ""),
        "extent": ",".join(spec.extent),
        "qualities": ",".join(map(str, spec.qualities)),
        "efforts": ",".join(spec.efforts),
        "methods": ",".join(spec.methods),
    }
    return {key: value for key, value in facts.items() if value}


def _data_type(tensor: Tensor) -> config.DataType:
    name = _DATA_TYPES.get(tensor.datatype, f"TYPE_{tensor.datatype}")
    return cast("config.DataType", config.DataType.Value(name))
