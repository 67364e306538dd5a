"""Items in pieces, as the messages of EncodeStream and DecodeStream carry them.

Cut here or by any client, joined they are the same item: bytes are cut anywhere, raw media along
time, pictures between rows, tokens along the first axis of their grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import InvalidInput
from omnicodec.service.convert import fitting, grid_of, real_type
from omnicodec.v1 import media_pb2

PIECE_BYTES: Final = 256 << 10
"""Bytes of a piece: larger ones gain no speed, and smaller ones lose some."""


def cut_bytes(data: bytes, most: int = PIECE_BYTES) -> Iterator[bytes]:
    """Yield `data` in pieces of at most `most` bytes; a single one when it is empty."""
    for start in range(0, max(len(data), 1), most):
        yield data[start : start + most]


def cut_media(media: media_pb2.Media, most: int = PIECE_BYTES) -> Iterator[media_pb2.Media]:
    """Yield an item in pieces of about `most` bytes, one at least.

    A row of a picture, a frame of a video and a sample of all channels stay whole.
    """
    match media.WhichOneof("kind"):
        case "file":
            yield from (media_pb2.Media(file=data) for data in cut_bytes(media.file, most))
        case "text":
            yield from (media_pb2.Media(text=data) for data in cut_bytes(media.text, most))
        case "image":
            width = media.image.width
            for rows in _cut_steps(media.image.pixels, media.image.height, most):
                height, pixels = rows
                raw = media_pb2.RawImage(height=height, width=width, pixels=pixels)
                yield media_pb2.Media(image=raw)
        case "audio":
            yield from (media_pb2.Media(audio=piece) for piece in _cut_audio(media.audio, most))
        case "video":
            yield from (media_pb2.Media(video=piece) for piece in _cut_video(media.video, most))
        case "series":
            series = media.series
            for values in _cut_channels(series.values, series.channels, most):
                raw_series = media_pb2.RawSeries(
                    channels=series.channels, rate=series.rate, values=values
                )
                yield media_pb2.Media(series=raw_series)
        case _:
            yield media


def join_media(pieces: Sequence[media_pb2.Media]) -> media_pb2.Media:
    """Return the item whose pieces these are, one at least.

    Raises `InvalidInput` for pieces that cannot be of one item. Sizes are not compared with bytes,
    as in any message that nobody has looked at: `convert.media_from_proto` does that.
    """
    if len(pieces) == 1:
        return pieces[0]
    with fitting("pieces"):
        return _join_media(pieces)


def _join_media(pieces: Sequence[media_pb2.Media]) -> media_pb2.Media:
    kinds = {piece.WhichOneof("kind") for piece in pieces}
    if len(kinds) > 1:
        raise InvalidInput("the pieces of an item are all of one kind")
    match kinds.pop():
        case "file":
            return media_pb2.Media(file=b"".join(piece.file for piece in pieces))
        case "text":
            return media_pb2.Media(text=b"".join(piece.text for piece in pieces))
        case "image":
            images = [piece.image for piece in pieces]
            raw = media_pb2.RawImage(
                height=sum(image.height for image in images),
                width=_same("width", [image.width for image in images]),
                pixels=b"".join(image.pixels for image in images),
            )
            return media_pb2.Media(image=raw)
        case "audio":
            return media_pb2.Media(audio=_join_audio([piece.audio for piece in pieces]))
        case "video":
            return media_pb2.Media(video=_join_video([piece.video for piece in pieces]))
        case "series":
            series = [piece.series for piece in pieces]
            channels = _same("number of channels", [piece.channels for piece in series])
            joined = media_pb2.RawSeries(
                channels=channels,
                rate=_same("rate", [piece.rate for piece in series]),
                values=_join_channels([piece.values for piece in series], channels),
            )
            return media_pb2.Media(series=joined)
        case _:
            raise InvalidInput("a piece is empty: no file, text or raw media is set")


def cut_tokens(
    tokens: media_pb2.Tokens, grows: str, most: int = PIECE_BYTES
) -> Iterator[media_pb2.Tokens]:
    """Yield tokens in pieces of about `most` bytes of ids or real values, one at least.

    `grows` is the first of the codec's `extent`, "" where it has none: the first piece has the
    whole of it, the others 0. Raises `InvalidInput` for tokens that contradict themselves.
    """
    grid = tuple(tokens.grid)
    content = _content(tokens)
    books, _, size = content.shape
    inner = math.prod(grid[1:])
    steps = max(1, most // max(1, books * size * inner))
    if grid[0] <= steps:
        yield tokens
        return
    for start in range(0, grid[0], steps):
        part = content[:, start * inner : (start + steps) * inner].tobytes()
        extent = dict(tokens.extent)
        if start and grows in extent:
            extent[grows] = 0
        yield media_pb2.Tokens(
            codec=tokens.codec,
            fingerprint=tokens.fingerprint,
            grid=(min(steps, grid[0] - start), *grid[1:]),
            extent=extent,
            **_content_fields(tokens, part),
        )


def join_tokens(pieces: Sequence[media_pb2.Tokens], grows: str) -> media_pb2.Tokens:
    """Return the tokens whose pieces these are, one at least; `grows` as in `cut_tokens`.

    Raises `InvalidInput` for pieces that cannot be of one item.
    """
    first = pieces[0]
    contents = [_content(piece) for piece in pieces]
    if len(pieces) == 1:
        return first
    steps = size = 0
    for piece in pieces:
        steps += piece.grid[0]
        size += piece.extent.get(grows, 0)
    extents = [{**piece.extent, grows: 0} for piece in pieces]
    extent = {**_same("extent", extents), grows: size}
    if grows not in first.extent:
        del extent[grows]
    _same("number of codebooks", [piece.codebooks for piece in pieces])
    _same("type of values", [(piece.soft_bits, piece.soft_width) for piece in pieces])
    with fitting("pieces"):
        return media_pb2.Tokens(
            codec=_same("codec", [piece.codec for piece in pieces]),
            fingerprint=_same("fingerprint", [piece.fingerprint for piece in pieces]),
            grid=(steps, *_same("grid", [tuple(piece.grid[1:]) for piece in pieces])),
            extent=extent,
            **_content_fields(first, np.concatenate(contents, 1).tobytes()),
        )


def _content(tokens: media_pb2.Tokens) -> NDArray[np.uint8]:
    """Return the bytes of ids `(K, N, 4)` or of real values `(1, N, 2 D or 4 D)`.

    Raises `InvalidInput` unless there are as many as the grid says.
    """
    real, grid = real_type(tokens), grid_of(tokens)
    positions = math.prod(grid)
    data, books, size = tokens.ids, tokens.codebooks, 4
    what = f"ids do not fit {books} codebooks"
    if real is not None:
        data, books, size = tokens.soft, 1, real.itemsize * tokens.soft_width
        what = f"real values do not fit {tokens.soft_width} a position"
    if len(data) != books * positions * size:
        raise InvalidInput(f"{len(data):,} bytes of {what} and the grid {grid}")
    return np.frombuffer(data, np.uint8).reshape(books, positions, size)


def _content_fields(tokens: media_pb2.Tokens, data: bytes) -> dict[str, Any]:
    """Return the fields of ids or real values like those of `tokens`, with these bytes."""
    if not tokens.soft_width:
        return {"codebooks": tokens.codebooks, "ids": data}
    return {"soft": data, "soft_bits": tokens.soft_bits, "soft_width": tokens.soft_width}


def _same(what: str, values: Sequence[Any]) -> Any:
    if any(value != values[0] for value in values):
        raise InvalidInput(f"the pieces of an item have the same {what}")
    return values[0]


def _cut_steps(data: bytes, count: int, most: int) -> Iterator[tuple[int, bytes]]:
    """Yield `count` steps of equal size, some at a time: how many, and their bytes."""
    size = len(data) // count if count else 0
    steps = max(1, most // max(size, 1))
    for start in range(0, max(count, 1), steps):
        yield min(steps, count - start), data[start * size : (start + steps) * size]


def _cut_channels(data: bytes, channels: int, most: int) -> Iterator[bytes]:
    """Yield float32 `(channels, T)` cut along time."""
    values = _channels(data, channels)
    steps = max(1, most // (4 * channels))
    for start in range(0, max(values.shape[1], 1), steps):
        yield values[:, start : start + steps].tobytes()


def _join_channels(parts: Sequence[bytes], channels: int) -> bytes:
    return np.concatenate([_channels(part, channels) for part in parts], 1).tobytes()


def _channels(data: bytes, channels: int) -> NDArray[np.float32]:
    if not channels or len(data) % (4 * channels):
        raise InvalidInput(f"{len(data):,} bytes are no float32 samples of {channels} channels")
    return np.frombuffer(data, "<f4").reshape(channels, -1)


def _cut_audio(audio: media_pb2.RawAudio, most: int) -> Iterator[media_pb2.RawAudio]:
    for samples in _cut_channels(audio.samples, audio.channels, most):
        yield media_pb2.RawAudio(
            channels=audio.channels, sample_rate=audio.sample_rate, samples=samples
        )


def _join_audio(pieces: Sequence[media_pb2.RawAudio]) -> media_pb2.RawAudio:
    channels = _same("number of channels", [piece.channels for piece in pieces])
    return media_pb2.RawAudio(
        channels=channels,
        sample_rate=_same("sample_rate", [piece.sample_rate for piece in pieces]),
        samples=_join_channels([piece.samples for piece in pieces], channels),
    )


def _cut_video(video: media_pb2.RawVideo, most: int) -> Iterator[media_pb2.RawVideo]:
    """Yield the frames, and behind them the sound in pieces that have none."""

    def piece(count: int, frames: bytes) -> media_pb2.RawVideo:
        return media_pb2.RawVideo(
            height=video.height,
            width=video.width,
            fps_numerator=video.fps_numerator,
            fps_denominator=video.fps_denominator,
            count=count,
            frames=frames,
        )

    for count, frames in _cut_steps(video.frames, video.count, most):
        yield piece(count, frames)
    if video.HasField("audio"):
        for audio in _cut_audio(video.audio, most):
            part = piece(0, b"")
            part.audio.CopyFrom(audio)
            yield part


def _join_video(pieces: Sequence[media_pb2.RawVideo]) -> media_pb2.RawVideo:
    audio = [piece.audio for piece in pieces if piece.HasField("audio")]
    rates = [(piece.fps_numerator, piece.fps_denominator) for piece in pieces]
    numerator, denominator = _same("rate", rates)
    return media_pb2.RawVideo(
        height=_same("height", [piece.height for piece in pieces]),
        width=_same("width", [piece.width for piece in pieces]),
        fps_numerator=numerator,
        fps_denominator=denominator,
        count=sum(piece.count for piece in pieces),
        frames=b"".join(piece.frames for piece in pieces),
        audio=_join_audio(audio) if audio else None,
    )
