"""Messages to media, tokens and specs, and back; messages are hostile."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import (
    MODALITIES,
    Audio,
    CodecSpec,
    Image,
    InvalidInput,
    LimitExceeded,
    Media,
    OmnicodecError,
    Series,
    Text,
    Tokens,
    Video,
    available,
    describe,
    load,
)
from omnicodec.service.convert import (
    media_from_proto,
    media_to_proto,
    spec_from_proto,
    spec_to_proto,
    tokens_from_proto,
    tokens_to_proto,
)
from omnicodec.v1 import codec_service_pb2, media_pb2

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def samples(*shape: int) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    "media",
    [
        Text(b""),
        Text("\u00e9\ud800"),
        Text(bytes(range(256))),
        Image(noise(3, 5, 3)),
        Image(noise(0, 7, 3)),
        Audio(samples(2, 100), 44100),
        Audio(samples(1, 0), 8000),
        Video(noise(4, 2, 3, 3), Fraction(30000, 1001)),
        Video(noise(4, 2, 3, 3), 29.97, Audio(samples(1, 9), 48000)),
        Video(noise(5, 0, 4, 3), 25),
        Video(noise(0, 6, 4, 3), 25, Audio(samples(1, 0), 8000)),
        Series(np.array([[1, np.nan, 3]], np.float32), 0.1),
        Series(samples(7, 0), 1000.0),
    ],
    ids=repr,
)
def test_raw_media_come_back(media: Media) -> None:
    message = media_pb2.Media.FromString(media_to_proto(media).SerializeToString())
    back = media_from_proto(message, Text)
    assert type(back) is type(media)
    assert back == media
    assert back.nbytes == media.nbytes


def test_arrays_are_writable() -> None:
    image = media_from_proto(media_to_proto(Image(noise(2, 2, 3))), Image)
    image.pixels[0, 0] = 0
    tokens = Tokens("a/b", "0" * 16, np.ones((1, 3), np.int32), (3,))
    tokens_from_proto(tokens_to_proto(tokens)).ids[0, 0] = 2


def test_media_as_files() -> None:
    image = Image(noise(3, 5, 3))
    message = media_to_proto(image, ".png")
    assert message.file.startswith(b"\x89PNG")
    assert media_from_proto(message, Image) == image
    text = media_to_proto(Text("a"), ".txt")
    assert media_from_proto(text, Text) == Text("a")
    with pytest.raises(InvalidInput, match="not a picture"):
        media_from_proto(text, Image)
    with pytest.raises(InvalidInput, match="cannot write pictures"):
        media_to_proto(image, ".exe")


def test_numbers_that_no_message_holds_are_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be sent"):
        media_to_proto(Video(noise(1, 1, 1, 3), Fraction(1, 1 << 65)))
    for extent in ({"height": 1 << 63}, {"\ud800": 1}):
        tokens = Tokens("a/b", "0" * 16, np.zeros((1, 0), np.int32), (0,), extent)
        with pytest.raises(InvalidInput, match="cannot be sent"):
            tokens_to_proto(tokens)


M = media_pb2
BILLION = 10**9


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (M.Media(), InvalidInput),
        (M.Media(image=M.RawImage(height=2, width=2, pixels=b"x" * 11)), InvalidInput),
        (M.Media(image=M.RawImage(height=2, width=2, pixels=b"x" * 13)), InvalidInput),
        (M.Media(image=M.RawImage(height=BILLION, width=BILLION)), InvalidInput),
        (M.Media(image=M.RawImage(height=BILLION, width=BILLION, pixels=b"x")), InvalidInput),
        (M.Media(image=M.RawImage(height=BILLION)), LimitExceeded),
        (M.Media(image=M.RawImage(pixels=b"x")), InvalidInput),
        (M.Media(audio=M.RawAudio(sample_rate=8000)), InvalidInput),
        (M.Media(audio=M.RawAudio(channels=1, samples=b"\0" * 4)), InvalidInput),
        (M.Media(audio=M.RawAudio(channels=1, sample_rate=1, samples=b"\0" * 7)), InvalidInput),
        (M.Media(audio=M.RawAudio(channels=2, sample_rate=1, samples=b"\0" * 12)), InvalidInput),
        (M.Media(audio=M.RawAudio(channels=1, sample_rate=1, samples=b"\xff" * 4)), InvalidInput),
        (M.Media(audio=M.RawAudio(channels=BILLION, sample_rate=1)), LimitExceeded),
        (M.Media(audio=M.RawAudio(channels=1, sample_rate=(1 << 32) - 1)), InvalidInput),
        (M.Media(video=M.RawVideo(count=1, height=1, width=1, frames=b"xyz")), InvalidInput),
        (M.Media(video=M.RawVideo(height=1, width=1, fps_denominator=1)), InvalidInput),
        (
            M.Media(
                video=M.RawVideo(
                    count=BILLION, height=BILLION, width=1, fps_numerator=1, fps_denominator=1
                )
            ),
            InvalidInput,
        ),
        (
            M.Media(video=M.RawVideo(count=BILLION, fps_numerator=1, fps_denominator=1)),
            LimitExceeded,
        ),
        (M.Media(series=M.RawSeries(channels=0, rate=1)), InvalidInput),
        (M.Media(series=M.RawSeries(channels=1, rate=float("nan"))), InvalidInput),
        (M.Media(series=M.RawSeries(channels=3, rate=1, values=b"\0" * 16)), InvalidInput),
    ],
    ids=lambda value: str(value).replace("\n", " ")[:60],
)
def test_media_that_lie_are_refused(message: M.Media, error: type[OmnicodecError]) -> None:
    with pytest.raises(error):
        media_from_proto(message, Image)


@given(st.data())
def test_random_media_messages_raise_nothing_else(data: st.DataObject) -> None:
    raw = data.draw(st.binary(max_size=64))
    size = st.integers(0, (1 << 32) - 1) | st.integers(0, 4)
    numbers = data.draw(st.lists(size, min_size=4, max_size=4))
    message = data.draw(
        st.sampled_from(
            [
                M.Media(file=raw),
                M.Media(text=raw),
                M.Media(image=M.RawImage(height=numbers[0], width=numbers[1], pixels=raw)),
                M.Media(
                    audio=M.RawAudio(channels=numbers[0], sample_rate=numbers[1], samples=raw)
                ),
                M.Media(
                    video=M.RawVideo(
                        count=numbers[0], height=numbers[1], width=numbers[2],
                        fps_numerator=numbers[3], fps_denominator=1, frames=raw,
                    )
                ),
                M.Media(series=M.RawSeries(channels=numbers[0], rate=numbers[1], values=raw)),
            ]
        )
    )  # fmt: skip
    kind = data.draw(st.sampled_from([MODALITIES[m] for m in ("image", "text", "series")]))
    try:
        media = media_from_proto(message, kind)
    except OmnicodecError:
        return
    assert media_from_proto(media_to_proto(media), kind) == media


@pytest.mark.parametrize("shape", [(1, (7,)), (4, (5,)), (2, (3, 4)), (1, (2, 0, 3)), (3, (0,))])
def test_tokens_come_back(shape: tuple[int, tuple[int, ...]]) -> None:
    books, grid = shape
    ids = RNG.integers(0, 1 << 20, (books, int(np.prod(grid))), np.int32)
    tokens = Tokens("image/vq", "0123456789abcdef", ids, grid, {"height": 5, "width": -1})
    message = media_pb2.Tokens.FromString(tokens_to_proto(tokens).SerializeToString())
    back = tokens_from_proto(message)
    assert back == tokens
    assert back.ids.dtype == np.int32


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("grid", [(7,), (3, 4), (0, 4)])
def test_real_valued_tokens_come_back(dtype: type, grid: tuple[int, ...]) -> None:
    positions = int(np.prod(grid))
    soft = RNG.standard_normal((positions, 5)).astype(dtype)
    soft[:1] = np.nan  # any bits, for those who check them
    ids = np.zeros((0, positions), np.int32)
    tokens = Tokens("image/kl", "0123456789abcdef", ids, grid, {"bits": 16}, soft)
    message = media_pb2.Tokens.FromString(tokens_to_proto(tokens).SerializeToString())
    assert (message.codebooks, message.ids) == (0, b"")
    back = tokens_from_proto(message)
    assert back == tokens
    assert back.soft.flags.writeable


def test_more_positions_than_an_empty_array_may_have() -> None:
    soft = np.zeros(((1 << 20) + 1, 1), np.float16)
    tokens = Tokens("a", "b", np.zeros((0, len(soft)), np.int32), (len(soft),), {}, soft)
    assert tokens_from_proto(tokens_to_proto(tokens)) == tokens


REAL = {"grid": [2], "soft": bytes(24), "soft_bits": 32, "soft_width": 3}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"soft": bytes(23)}, InvalidInput),
        ({"soft": b""}, InvalidInput),
        ({"soft_bits": 16}, InvalidInput),
        ({"soft_bits": 64}, InvalidInput),
        ({"soft_bits": 0}, InvalidInput),
        ({"soft_width": 0}, InvalidInput),
        ({"soft_width": 4}, InvalidInput),
        ({"soft_width": (1 << 32) - 1}, InvalidInput),
        ({"codebooks": 1}, InvalidInput),
        ({"codebooks": 1, "ids": bytes(8)}, InvalidInput),
        ({"ids": bytes(8)}, InvalidInput),
        ({"grid": []}, InvalidInput),
        ({"grid": [1] * 100}, InvalidInput),
        ({"grid": [BILLION, BILLION]}, LimitExceeded),
        ({"grid": [0], "soft": b"", "soft_width": (1 << 32) - 1}, LimitExceeded),
    ],
    ids=str,
)
def test_real_valued_tokens_that_lie_are_refused(
    changes: dict[str, object], error: type[OmnicodecError]
) -> None:
    tokens_from_proto(M.Tokens(**REAL))
    with pytest.raises(error):
        tokens_from_proto(M.Tokens(**{**REAL, **changes}))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (M.Tokens(codebooks=1), InvalidInput),
        (M.Tokens(codebooks=0, grid=[5]), InvalidInput),
        (M.Tokens(codebooks=1, grid=[2], ids=b"\0" * 4), InvalidInput),
        (M.Tokens(codebooks=1, grid=[1], ids=b"\0" * 5), InvalidInput),
        (M.Tokens(codebooks=2, grid=[2], ids=b"\0" * 8), InvalidInput),
        (M.Tokens(codebooks=1, grid=[1] * 100), InvalidInput),
        (M.Tokens(codebooks=1, grid=[BILLION, BILLION]), LimitExceeded),
        (M.Tokens(codebooks=(1 << 32) - 1, grid=[0]), LimitExceeded),
        (M.Tokens(codebooks=1, grid=[(1 << 64) - 1, 0]), InvalidInput),
    ],
    ids=lambda value: str(value).replace("\n", " ")[:60],
)
def test_tokens_that_lie_are_refused(message: M.Tokens, error: type[OmnicodecError]) -> None:
    with pytest.raises(error):
        load("text/bytes").check(tokens_from_proto(message))


@pytest.mark.parametrize("name", available())
def test_specs_come_back(name: str) -> None:
    spec = describe(name)
    message = codec_service_pb2.Codec.FromString(spec_to_proto(spec).SerializeToString())
    assert spec_from_proto(message) == spec


def test_a_spec_with_all_settings_comes_back() -> None:
    settings: dict[str, object] = {
        "qualities": (10, 90),
        "efforts": ("low", "high"),
        "methods": ("a", "b"),
    }
    settings["usual"] = {"tile": 128}
    for yes in ({"streaming": True}, {"resumable": True}, {"soft_width": 16}):
        spec = replace(describe("text/bytes"), **settings, **yes)
        assert spec_from_proto(spec_to_proto(spec)) == spec


def test_every_field_of_a_spec_has_one_in_the_message() -> None:
    names = set(codec_service_pb2.Codec.DESCRIPTOR.fields_by_name)
    assert names == set(CodecSpec.__dataclass_fields__)
