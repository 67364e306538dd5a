"""Answers of the engine to ModelInfer responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import InvalidInput
from omnicodec.inference import inference_pb2 as oip
from omnicodec.service.server.inference.models import (
    EXTENT,
    FILE,
    FINGERPRINT,
    GRID,
    STREAM,
    TOKENS,
    Model,
)
from omnicodec.service.server.inference.tensors import Made, made_array, made_bytes, respond
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1 import media_pb2

EngineAnswer = pb.EncodeResponse | pb.CompressResponse | pb.DecodeResponse | pb.DecompressResponse


def infer_response(
    request: oip.ModelInferRequest, model: Model, answer: EngineAnswer
) -> oip.ModelInferResponse:
    """Return the response to a request; raises `InvalidInput` for what no tensor can hold."""
    if isinstance(answer, pb.EncodeResponse):
        tensors = _tokens(model, answer.tokens)
    elif isinstance(answer, pb.CompressResponse):
        tensors = {STREAM.name: made_bytes(answer.streams)}
    else:
        tensors = _media(model, answer.items)
    return respond(request, model, tensors)


def _tokens(model: Model, items: Sequence[media_pb2.Tokens]) -> dict[str, Made]:
    spec, rows = model.spec, model.spec.per_position
    parts = [_rows(item, rows) for item in items]
    values = np.concatenate(parts, 1) if parts else np.zeros((rows, 0))
    tensors = {
        TOKENS: made_array(values, values.shape, "FP32" if spec.soft_width else "INT32"),
        GRID: made_array([list(i.grid) for i in items], (len(items), spec.grid_rank), "INT64"),
    }
    if spec.extent:
        extents = [[item.extent[name] for name in spec.extent] for item in items]
        tensors[EXTENT] = made_array(extents, (len(items), len(spec.extent)), "INT64")
    tensors[FINGERPRINT.name] = made_bytes([spec.fingerprint.encode()])
    return tensors


def _rows(item: media_pb2.Tokens, rows: int) -> NDArray[Any]:
    """Return ids `(K, N)` or real values `(D, N)` of an item."""
    if not item.soft_width:
        return np.frombuffer(item.ids, "<i4").reshape(rows, -1)
    return np.frombuffer(item.soft, f"<f{item.soft_bits // 8}").reshape(-1, rows).T


def _media(model: Model, items: Sequence[media_pb2.Media]) -> dict[str, Made]:
    if any(item.WhichOneof("kind") == "file" for item in items):
        return {FILE.name: made_bytes([item.file for item in items])}
    names = [tensor.name for tensor in model.raw]
    count = len(items)
    match model.spec.modality:
        case "text":
            return {names[0]: made_bytes([item.text for item in items])}
        case "image":
            images = [item.image for item in items]
            shape = (*_one([(image.height, image.width) for image in images], 2), 3)
            return {names[0]: _stacked([image.pixels for image in images], shape)}
        case "audio":
            sounds = [item.audio for item in items]
            shape = _one([(a.channels, _steps(a.samples, a.channels)) for a in sounds], 2)
            return {
                names[0]: _stacked([audio.samples for audio in sounds], shape),
                names[1]: made_array([audio.sample_rate for audio in sounds], (count,), "INT32"),
            }
        case "video":
            videos = [item.video for item in items]
            sizes = [(video.count, video.height, video.width) for video in videos]
            rates = [(video.fps_numerator, video.fps_denominator) for video in videos]
            return {
                names[0]: _stacked([video.frames for video in videos], (*_one(sizes, 3), 3)),
                names[1]: made_array(rates, (count, 2), "INT64"),
            }
        case _:
            series = [item.series for item in items]
            shape = _one([(s.channels, _steps(s.values, s.channels)) for s in series], 2)
            return {
                names[0]: _stacked([item.values for item in series], shape),
                names[1]: made_array([item.rate for item in series], (count,), "FP64"),
            }


def _one(shapes: Sequence[tuple[int, ...]], rank: int) -> tuple[int, ...]:
    """Return the shape that all items have."""
    if any(shape != shapes[0] for shape in shapes):
        raise InvalidInput(
            "items of different sizes do not fit one tensor: ask for them one by one, or as files "
            "with the parameter format"
        )
    return shapes[0] if shapes else (0,) * rank


def _stacked(parts: Sequence[bytes], shape: tuple[int, ...]) -> Made:
    return Made((len(parts), *shape), b"".join(parts))


def _steps(data: bytes, channels: int) -> int:
    return len(data) // (4 * channels) if channels else 0
