"""ModelInfer requests to requests of the engine: the same facts, in tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.limits import MAX_POSITIONS
from omnicodec.inference import inference_pb2 as oip
from omnicodec.service.convert import fitting
from omnicodec.service.server.inference.models import EXTENT, FINGERPRINT, GRID, TOKENS, Model, Verb
from omnicodec.service.server.inference.tensors import Given, read_tensors, wanted
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2

EngineRequest = pb.EncodeRequest | pb.CompressRequest | pb.DecodeRequest | pb.DecompressRequest

_SETTINGS: Final[dict[Verb, dict[str, type]]] = {
    Verb.ENCODE: {"quality": int, "effort": str, "method": str},
    Verb.COMPRESS: {"quality": int, "effort": str, "method": str},
    Verb.DECODE: {"format": str},
    Verb.DECOMPRESS: {"format": str, "partial": bool},
}

# What the protocol and Triton's clients send with any request.
_RESERVED: Final = ("priority", "timeout", "binary_data", "binary_data_output")


@dataclass(frozen=True)
class Asked:
    """A request of the engine, and how many items it is about."""

    request: EngineRequest
    items: int


def engine_request(request: oip.ModelInferRequest, model: Model, most: int) -> Asked:
    """Return what the engine is to do for a request of at most `most` items.

    Raises `InvalidInput` and `LimitExceeded`.
    """
    settings = _settings(request.parameters, model)
    wanted(request, model)  # wrong names are noticed before there is work
    tensors = read_tensors(request, model, most)
    with fitting("values"):
        match model.verb:
            case Verb.ENCODE:
                items = _media(model, tensors)
                asked = pb.EncodeRequest(codec=model.spec.name, items=items, **settings)
                return Asked(asked, len(items))
            case Verb.COMPRESS:
                items = _media(model, tensors)
                compress = pb.CompressRequest(codec=model.spec.name, items=items, **settings)
                return Asked(compress, len(items))
            case Verb.DECODE:
                tokens = _tokens(model, tensors)
                if "format" not in settings:
                    _check_one_size(model, tokens)
                return Asked(pb.DecodeRequest(tokens=tokens, **settings), len(tokens))
            case Verb.DECOMPRESS:
                streams = _needed(tensors, "STREAM").elements
                return Asked(pb.DecompressRequest(streams=streams, **settings), len(streams))


def seconds_of(request: oip.ModelInferRequest) -> float | None:
    """Return the time limit that a request states in microseconds; None for none."""
    value = request.parameters.get("timeout")
    kind = None if value is None else value.WhichOneof("parameter_choice")
    if kind is None:
        return None
    limit = getattr(value, kind)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise InvalidInput("timeout is a whole number of microseconds")
    return limit / 1e6 if limit else None


def _settings(parameters: Mapping[str, oip.InferParameter], model: Model) -> dict[str, Any]:
    known = _SETTINGS[model.verb]
    settings = {}
    for key, parameter in parameters.items():
        if key.startswith("triton_") or key in _RESERVED:
            continue
        if key not in known:
            raise InvalidInput(
                f"{model.name} has no parameter {key!r}; it takes {', '.join(known)}"
            )
        kind = parameter.WhichOneof("parameter_choice")
        value = None if kind is None else getattr(parameter, kind)
        if type(value) is not known[key]:
            raise InvalidInput(f"the parameter {key} is of {known[key].__name__}")
        settings[key] = value
    return settings


def _media(model: Model, tensors: Mapping[str, Given]) -> list[media_pb2.Media]:
    """Return the items of a batch: files, or raw ones of the same shape."""
    name = model.raw[0].name
    if ("FILE" in tensors) == (name in tensors):
        raise InvalidInput(f"{model.name} takes either FILE or {name}")
    if "FILE" in tensors:
        if len(tensors) > 1:
            raise InvalidInput("a FILE needs no other inputs")
        return [media_pb2.Media(file=data) for data in tensors["FILE"].elements]
    first = tensors[name]
    count = first.shape[0]
    if model.spec.modality == "text":
        return [media_pb2.Media(text=data) for data in first.elements]
    size = len(first.data) // count if count else 0
    parts = [first.data[i * size : (i + 1) * size] for i in range(count)]
    match model.spec.modality:
        case "image":
            _, height, width, _ = first.shape
            return [
                media_pb2.Media(image={"height": height, "width": width, "pixels": part})
                for part in parts
            ]
        case "audio":
            rates = _beside(tensors, "SAMPLE_RATE", "INT32", count)
            return [
                media_pb2.Media(
                    audio={"channels": first.shape[1], "sample_rate": int(rate), "samples": part}
                )
                for part, rate in zip(parts, rates, strict=True)
            ]
        case "video":
            _, frames, height, width, _ = first.shape
            rates = _beside(tensors, "FPS", "INT64", count)
            return [
                media_pb2.Media(
                    video={
                        "count": frames,
                        "height": height,
                        "width": width,
                        "fps_numerator": int(numerator),
                        "fps_denominator": int(denominator),
                        "frames": part,
                    }
                )
                for part, (numerator, denominator) in zip(parts, rates, strict=True)
            ]
        case _:
            rates = _beside(tensors, "RATE", "FP64", count)
            return [
                media_pb2.Media(
                    series={"channels": first.shape[1], "rate": float(rate), "values": part}
                )
                for part, rate in zip(parts, rates, strict=True)
            ]


def _beside(tensors: Mapping[str, Given], name: str, datatype: str, count: int) -> NDArray[Any]:
    """Return what goes with each item; a single value is that of all."""
    values = _needed(tensors, name).array(datatype)
    if len(values) not in (1, count):
        raise InvalidInput(f"{len(values)} {name} were given for {count} items")
    return np.broadcast_to(values, (count, *values.shape[1:])) if len(values) == 1 else values


def _tokens(model: Model, tensors: Mapping[str, Given]) -> list[media_pb2.Tokens]:
    """Return the tokens of a batch: those of all items stand one after the other."""
    spec = model.spec
    values = _needed(tensors, TOKENS).array("FP32" if spec.soft_width else "INT32")
    grids = _needed(tensors, GRID).array("INT64").tolist()
    extents: list[list[int]] = [[]] * len(grids)
    if spec.extent:
        extents = _needed(tensors, EXTENT).array("INT64").tolist()
    (fingerprint,) = _needed(tensors, FINGERPRINT.name).elements
    if len(extents) != len(grids):
        raise InvalidInput(f"{len(extents)} rows of EXTENT were given for {len(grids)} of GRID")
    sizes = [_positions(grid) for grid in grids]
    if sum(sizes) != values.shape[1]:
        raise InvalidInput(f"GRID tells of {sum(sizes)} positions, TOKENS has {values.shape[1]}")
    found = []
    start = 0
    for grid, extent, size in zip(grids, extents, sizes, strict=True):
        named = dict(zip(spec.extent, extent, strict=True))
        part = values[:, start : start + size]
        content = {"codebooks": part.shape[0], "ids": part.tobytes()}
        if spec.soft_width:
            content = _soft(part, named["bits"])
        found.append(
            media_pb2.Tokens(
                codec=spec.name,
                fingerprint=fingerprint.decode("ascii", "replace"),
                grid=grid,
                extent=named,
                **content,
            )
        )
        start += size
    return found


def _soft(rows: NDArray[Any], bits: int) -> dict[str, Any]:
    """Return the fields of real values `(D, N)`, narrowed to the bits that they are to have."""
    soft = np.ascontiguousarray(rows.T)
    if bits == 16:
        with np.errstate(over="ignore"):  # what is too large comes out as another value
            soft = soft.astype("<f2")
        if not np.array_equal(soft.astype("<f4"), rows.T, equal_nan=True):
            raise InvalidInput("EXTENT tells of 16 bits, and TOKENS has values that need 32")
    return {"soft": soft.tobytes(), "soft_bits": 8 * soft.itemsize, "soft_width": soft.shape[1]}


def _positions(grid: list[int]) -> int:
    positions = math.prod(grid)
    if min(grid) < 0 or positions > MAX_POSITIONS:
        raise InvalidInput(f"a row of GRID is {grid}")
    return positions


def _check_one_size(model: Model, tokens: list[media_pb2.Tokens]) -> None:
    if model.spec.modality != "text" and any(t.extent != tokens[0].extent for t in tokens):
        raise InvalidInput(
            "items of different sizes do not fit one tensor: ask for them one by one, or as files "
            "with the parameter format"
        )


def _needed(tensors: Mapping[str, Given], name: str) -> Given:
    try:
        return tensors[name]
    except KeyError:
        raise InvalidInput(f"the input {name} is missing") from None
