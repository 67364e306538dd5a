"""Tensors in messages: what came is not trusted, and checked before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import InvalidInput, LimitExceeded
from omnicodec.inference import inference_pb2 as oip
from omnicodec.service.convert import fitting
from omnicodec.service.server.inference.models import Model, Tensor
from omnicodec.service.server.jobs import BatchTooLarge

_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "UINT8": np.dtype("u1"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}

_CONTENTS: Final = {
    "UINT8": "uint_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

_LENGTH_BYTES: Final = 4
"""Of an element of raw BYTES: its length, little-endian, stands before it."""

_MAX_SHAPE: Final = 1 << 40


@dataclass(frozen=True)
class Given:
    """A tensor that came: row-major bytes of its elements, or of BYTES the elements."""

    name: str
    shape: tuple[int, ...]
    data: bytes
    elements: list[bytes]

    def array(self, datatype: str) -> NDArray[Any]:
        """Return the tensor as an array that cannot be written to."""
        return np.frombuffer(self.data, _DTYPES[datatype]).reshape(self.shape)


def read_tensors(request: oip.ModelInferRequest, model: Model, most: int) -> dict[str, Given]:
    """Return the inputs of a request by name, each of a rank and type that the model takes.

    The axis of the batch may be left out, and is there in what is returned; it has at most `most`
    items. Raises `InvalidInput` and `LimitExceeded`.
    """
    known = {tensor.name: tensor for tensor in model.inputs}
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(f"{len(raw)} raw_input_contents came for {len(request.inputs)} inputs")
    found: dict[str, Given] = {}
    for index, message in enumerate(request.inputs):
        tensor = known.get(message.name)
        if tensor is None:
            raise InvalidInput(
                f"{model.name} has no input {message.name!r}; it takes {', '.join(known)}"
            )
        if message.name in found:
            raise InvalidInput(f"the input {message.name} came twice")
        if raw and message.HasField("contents"):
            raise InvalidInput(f"the input {message.name} has contents beside the raw ones")
        if shared := [key for key in message.parameters if key.startswith("shared_memory")]:
            raise InvalidInput(f"{shared[0]}: this server shares no memory with clients")
        shape = _shape(message, tensor, most)
        found[message.name] = (
            _from_raw(tensor, shape, raw[index])
            if raw
            else _from_contents(tensor, shape, message.contents)
        )
    return found


def _shape(
    message: oip.ModelInferRequest.InferInputTensor, tensor: Tensor, most: int
) -> tuple[int, ...]:
    """Return the shape of an input, with the axis of the batch."""
    if message.datatype != tensor.datatype:
        raise InvalidInput(f"{tensor.name} is of {tensor.datatype}, not {message.datatype!r}")
    shape = tuple(message.shape)
    if len(shape) == len(tensor.shape) - 1:
        shape = (1, *shape)
    fits = len(shape) == len(tensor.shape) and all(
        n == wanted or (wanted < 0 <= n) for n, wanted in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        sizes = ", ".join("any" if n < 0 else str(n) for n in tensor.shape)
        raise InvalidInput(f"the shape {shape[:8]} of {tensor.name} is not ({sizes})")
    if tensor.shape[0] < 0 and shape[0] > most:
        raise BatchTooLarge(f"{shape[0]} items are over the limit of {most} a request", most)
    if math.prod(shape) > _MAX_SHAPE:
        raise LimitExceeded(f"the shape {shape} of {tensor.name} is over any limit")
    return shape


def _from_raw(tensor: Tensor, shape: tuple[int, ...], data: bytes) -> Given:
    if tensor.datatype == "BYTES":
        return Given(tensor.name, shape, b"", _split(tensor.name, data, math.prod(shape)))
    expected = math.prod(shape) * _DTYPES[tensor.datatype].itemsize
    if len(data) != expected:
        raise InvalidInput(
            f"the shape {shape} of {tensor.name} needs {expected:,} bytes, not {len(data):,}"
        )
    return Given(tensor.name, shape, data, [])


def _from_contents(
    tensor: Tensor, shape: tuple[int, ...], contents: oip.InferTensorContents
) -> Given:
    field = _CONTENTS[tensor.datatype]
    if others := [f.name for f, _ in contents.ListFields() if f.name != field]:
        raise InvalidInput(f"{tensor.name} is of {tensor.datatype}: {field}, not {others[0]}")
    values = getattr(contents, field)
    if len(values) != math.prod(shape):
        raise InvalidInput(f"the shape {shape} of {tensor.name} does not hold {len(values)} values")
    if tensor.datatype == "BYTES":
        return Given(tensor.name, shape, b"", list(values))
    with fitting("values"):
        data = np.array(values, _DTYPES[tensor.datatype]).tobytes()
    return Given(tensor.name, shape, data, [])


def _split(name: str, data: bytes, count: int) -> list[bytes]:
    """Return the elements of raw BYTES."""
    elements: list[bytes] = []
    at = 0
    while at < len(data) and len(elements) < count:
        length = int.from_bytes(data[at : at + _LENGTH_BYTES], "little")
        at += _LENGTH_BYTES
        if at + length > len(data):
            break
        elements.append(data[at : at + length])
        at += length
    if len(elements) != count or at != len(data):
        raise InvalidInput(f"the raw contents of {name} are not {count} elements with their length")
    return elements


@dataclass(frozen=True)
class Made:
    """A tensor to be sent."""

    shape: tuple[int, ...]
    data: bytes


def made_array(values: NDArray[Any] | Sequence[Any], shape: Sequence[int], datatype: str) -> Made:
    """Return a tensor of numbers."""
    array = np.asarray(values, _DTYPES[datatype]).reshape(tuple(shape))
    return Made(tuple(array.shape), array.tobytes())


def made_bytes(elements: Sequence[bytes]) -> Made:
    """Return a tensor of BYTES."""
    parts = [part for e in elements for part in (len(e).to_bytes(_LENGTH_BYTES, "little"), e)]
    return Made((len(elements),), b"".join(parts))


def respond(
    request: oip.ModelInferRequest, model: Model, tensors: Mapping[str, Made]
) -> oip.ModelInferResponse:
    """Return the response with the outputs that were asked for; raw, as all clients read them."""
    types = {tensor.name: tensor.datatype for tensor in model.outputs}
    response = oip.ModelInferResponse(
        model_name=model.name, model_version=model.version, id=request.id
    )
    for name in wanted(request, model) or tensors:
        if name not in tensors:
            raise InvalidInput(f"this request has no output {name}: it has {', '.join(tensors)}")
        made = tensors[name]
        response.outputs.add(name=name, datatype=types[name], shape=made.shape)
        response.raw_output_contents.append(made.data)
    return response


def wanted(request: oip.ModelInferRequest, model: Model) -> list[str]:
    """Return the names of the outputs that a request asks for, none where it wants all.

    Raises `InvalidInput` for those that the model does not have.
    """
    known = [tensor.name for tensor in model.outputs]
    names: list[str] = []
    for output in request.outputs:
        if output.name not in known or output.name in names:
            raise InvalidInput(
                f"{model.name} has no output {output.name!r}, or not twice; "
                f"it gives {', '.join(known)}"
            )
        _check_output(output.parameters)
        names.append(output.name)
    return names


def _check_output(parameters: Iterable[str]) -> None:
    for key in parameters:
        if key.startswith("shared_memory"):
            raise InvalidInput(f"{key}: this server shares no memory with clients")
        if key == "classification":
            raise InvalidInput("classification: these models do not classify")
