"""Protocol buffers to media, tokens and codec specs, and back.

What arrives in a message is not trusted: the sizes it claims must agree with the bytes it
holds before anything is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import (
    Audio,
    CodecSpec,
    Image,
    InvalidInput,
    LimitExceeded,
    Media,
    Series,
    Text,
    Tokens,
    Video,
)
from omnicodec.codecs.limits import MAX_POSITIONS
from omnicodec.codecs.stream.header import MAX_GRID_RANK
from omnicodec.v1 import codec_service_pb2, media_pb2

MAX_MESSAGE_BYTES: Final = 64 << 20
"""Bytes of one message in either direction, unless server and client are told otherwise."""

MAX_ITEMS: Final = 1024
"""Items of one request, unless the server is told otherwise."""

# An array without elements costs nothing whatever its shape, but who loops over its rows
# would pay for them.
_MAX_EMPTY_SIDE: Final = 1 << 20

_FLOAT: Final = np.dtype("<f4")
_INT: Final = np.dtype("<i4")


def media_to_proto(media: Media, suffix: str | None = None) -> media_pb2.Media:
    """Return the message of one item: raw, or with `suffix` (".png") as a file.

    Raises `InvalidInput` for a suffix that cannot be written and for numbers that the
    message has no room for.
    """
    with fitting("media"):
        if suffix is not None:
            return media_pb2.Media(file=media.to_bytes(suffix))
        match media:
            case Text():
                return media_pb2.Media(text=media.data)
            case Image():
                raw = media_pb2.RawImage(
                    height=media.height, width=media.width, pixels=media.pixels.tobytes()
                )
                return media_pb2.Media(image=raw)
            case Audio():
                return media_pb2.Media(audio=_audio_to_proto(media))
            case Video():
                return media_pb2.Media(video=_video_to_proto(media))
            case Series():
                series = media_pb2.RawSeries(
                    channels=media.values.shape[0],
                    rate=media.rate,
                    values=media.values.astype(_FLOAT, copy=False).tobytes(),
                )
                return media_pb2.Media(series=series)
            case _:  # a modality without a raw form travels as a file
                return media_pb2.Media(file=media.to_bytes())


def media_from_proto(message: media_pb2.Media, media_type: type[Media]) -> Media:
    """Return the item of a message; `media_type` says how a file in it is read.

    Raw media come back as what they are, which need not be `media_type`. Arrays are
    writable and the item's own. Raises `InvalidInput` or `LimitExceeded`.
    """
    kind = message.WhichOneof("kind")
    match kind:
        case "file":
            return media_type.open(message.file)
        case "text":
            return Text(message.text)
        case "image":
            image = message.image
            return Image(_array(image.pixels, np.dtype(np.uint8), (image.height, image.width, 3)))
        case "audio":
            return _audio_from_proto(message.audio)
        case "video":
            return _video_from_proto(message.video)
        case "series":
            series = message.series
            return Series(_channels(series.values, series.channels), series.rate)
        case _:
            raise InvalidInput("a media message is empty: no file, text or raw media is set")


def tokens_to_proto(tokens: Tokens) -> media_pb2.Tokens:
    """Return the message of one item's tokens.

    Raises `InvalidInput` for numbers that the message has no room for.
    """
    soft = tokens.soft
    with fitting("tokens"):
        message = media_pb2.Tokens(
            codec=tokens.codec,
            fingerprint=tokens.fingerprint,
            codebooks=tokens.ids.shape[0],
            ids=tokens.ids.astype(_INT, copy=False).tobytes(),
            grid=tokens.grid,
            extent=tokens.extent,
        )
        if soft is not None:
            message.soft = soft.astype(soft.dtype.newbyteorder("<"), copy=False).tobytes()
            message.soft_bits, message.soft_width = 8 * soft.itemsize, soft.shape[1]
        return message


def tokens_from_proto(message: media_pb2.Tokens) -> Tokens:
    """Return the tokens of a message; `Codec.check` is what compares them with a codec.

    Raises `InvalidInput` when grid, codebooks or width, and bytes do not agree.
    """
    grid, real = grid_of(message), real_type(message)
    positions = math.prod(grid)
    if positions > MAX_POSITIONS:
        raise LimitExceeded(f"{positions:,} positions are over the limit of {MAX_POSITIONS:,}")
    if real is None:
        soft, ids = None, _array(message.ids, _INT, (message.codebooks, positions))
    else:
        soft = _array(message.soft, real, (positions, message.soft_width))
        ids = np.zeros((0, positions), _INT)
    ids = ids.astype(np.int32, copy=False)
    return Tokens(message.codec, message.fingerprint, ids, grid, dict(message.extent), soft)


def grid_of(message: media_pb2.Tokens) -> tuple[int, ...]:
    """Return the grid of tokens; raises `InvalidInput` for one with too few or too many axes."""
    if not 0 < len(message.grid) <= MAX_GRID_RANK:
        raise InvalidInput(f"a grid has 1 to {MAX_GRID_RANK} dimensions, not {len(message.grid)}")
    return tuple(message.grid)


def real_type(message: media_pb2.Tokens) -> np.dtype[Any] | None:
    """Return the type of the real values of tokens, None where they are ids.

    Raises `InvalidInput` for a message that has both or neither, or values of other sizes.
    """
    if not (message.soft or message.soft_bits or message.soft_width):
        if message.codebooks < 1:
            raise InvalidInput("tokens have at least 1 codebook")
        return None
    if message.codebooks or message.ids:
        raise InvalidInput("tokens are ids or real values, not both")
    if message.soft_bits not in (16, 32) or not message.soft_width:
        raise InvalidInput(
            "real-valued tokens have at least 1 value of 16 or 32 bits at a position, "
            f"not {message.soft_width} of {message.soft_bits}"
        )
    return np.dtype(f"<f{message.soft_bits // 8}")


def spec_to_proto(spec: CodecSpec) -> codec_service_pb2.Codec:
    """Return the message of a codec's spec; its fields have the names of the spec's."""
    names = codec_service_pb2.Codec.DESCRIPTOR.fields_by_name
    return codec_service_pb2.Codec(**{name: getattr(spec, name) for name in names})


def spec_from_proto(message: codec_service_pb2.Codec) -> CodecSpec:
    """Return the spec of a message."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if isinstance(value, Mapping):
            value = dict(value)
        elif not isinstance(value, str | int | float):  # a repeated field
            value = tuple(value)
        values[field.name] = value
    return CodecSpec(**values)


@contextmanager
def fitting(what: str) -> Iterator[None]:
    """Turn protobuf's complaints about a value that a message cannot hold into `InvalidInput`."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as e:
        raise InvalidInput(f"these {what} cannot be sent in a message: {e}") from e


def _audio_to_proto(audio: Audio) -> media_pb2.RawAudio:
    return media_pb2.RawAudio(
        channels=audio.samples.shape[0],
        sample_rate=audio.sample_rate,
        samples=audio.samples.astype(_FLOAT, copy=False).tobytes(),
    )


def _audio_from_proto(raw: media_pb2.RawAudio) -> Audio:
    return Audio(_channels(raw.samples, raw.channels), raw.sample_rate)


def _video_to_proto(video: Video) -> media_pb2.RawVideo:
    count, height, width, _ = video.frames.shape
    return media_pb2.RawVideo(
        count=count,
        height=height,
        width=width,
        fps_numerator=video.fps.numerator,
        fps_denominator=video.fps.denominator,
        frames=video.frames.tobytes(),
        audio=None if video.audio is None else _audio_to_proto(video.audio),
    )


def _video_from_proto(raw: media_pb2.RawVideo) -> Video:
    if not raw.fps_denominator:
        raise InvalidInput("a video's fps_denominator must not be 0")
    fps = Fraction(raw.fps_numerator, raw.fps_denominator)
    shape = (raw.count, raw.height, raw.width, 3)
    audio = _audio_from_proto(raw.audio) if raw.HasField("audio") else None
    return Video(_array(raw.frames, np.dtype(np.uint8), shape), fps, audio)


def _channels(data: bytes, channels: int) -> NDArray[np.float32]:
    """Return float32 `(channels, T)`; the bytes decide about T."""
    if channels < 1:
        raise InvalidInput("media must have at least 1 channel")
    steps = len(data) // (channels * _FLOAT.itemsize)
    return _array(data, _FLOAT, (channels, steps)).astype(np.float32, copy=False)


def _array(data: bytes, dtype: np.dtype[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Return a writable array of this shape, allocated after the bytes proved to be its own."""
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise InvalidInput(f"shape {tuple(shape)} needs {expected:,} bytes, not {len(data):,}")
    if not expected and max(shape) > _MAX_EMPTY_SIDE:
        raise LimitExceeded(f"empty media of shape {tuple(shape)} are longer than any limit")
    return np.frombuffer(data, dtype).reshape(shape).copy()
