"""Items in pieces are the same items, however they are cut."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import Audio, Image, InvalidInput, Series, Text, Tokens, Video
from omnicodec.service.convert import media_to_proto, tokens_to_proto
from omnicodec.service.pieces import cut_bytes, cut_media, cut_tokens, join_media, join_tokens
from omnicodec.v1 import media_pb2

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def samples(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


ITEMS = [
    media_pb2.Media(file=bytes(range(200))),
    media_pb2.Media(file=b""),
    media_to_proto(Text(b"some text " * 20)),
    media_to_proto(Image(pixels(7, 5, 3))),
    media_to_proto(Image(pixels(0, 5, 3))),
    media_to_proto(Image(pixels(5, 0, 3))),
    media_to_proto(Audio(samples(2, 75), 16_000)),
    media_to_proto(Audio(samples(3, 0), 8_000)),
    media_to_proto(Video(pixels(6, 3, 4, 3), Fraction(24), None)),
    media_to_proto(Video(pixels(6, 3, 4, 3), Fraction(30_000, 1001), Audio(samples(2, 90), 8_000))),
    media_to_proto(Series(samples(4, 33), 12.5)),
]


@given(st.sampled_from(ITEMS), st.integers(1, 400))
def test_media_are_the_same_in_any_pieces(item: media_pb2.Media, most: int) -> None:
    pieces = list(cut_media(item, most))
    assert join_media(pieces) == item
    step = {"video": 200, "image": 100}.get(item.WhichOneof("kind") or "", 0)
    assert max(piece.ByteSize() for piece in pieces) <= most + step + 64


@given(st.integers(1, 3), st.integers(0, 9), st.integers(0, 4), st.integers(1, 500))
def test_tokens_are_the_same_in_any_pieces(books: int, steps: int, width: int, most: int) -> None:
    ids = RNG.integers(0, 9, (books, steps * width)).astype(np.int32)
    extent = {"height": 16 * steps, "width": 16 * width}
    tokens = tokens_to_proto(Tokens("image/vq", "ab", ids, (steps, width), extent))
    pieces = list(cut_tokens(tokens, "height", most))
    assert join_tokens(pieces, "height") == tokens
    assert sum(piece.extent["height"] for piece in pieces) == 16 * steps
    plain = tokens_to_proto(Tokens("text/bytes", "ab", ids, (steps * width,)))
    assert join_tokens(list(cut_tokens(plain, "", most)), "") == plain


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 4), st.integers(1, 500), st.booleans())
def test_real_values_are_the_same_in_any_pieces(
    size: int, steps: int, width: int, most: int, half: bool
) -> None:
    soft = RNG.normal(size=(steps * width, size)).astype(np.float16 if half else np.float32)
    ids = np.zeros((0, len(soft)), np.int32)
    extent = {"height": 16 * steps, "width": 16 * width, "bits": 8 * soft.itemsize}
    tokens = tokens_to_proto(Tokens("image/kl", "ab", ids, (steps, width), extent, soft))
    pieces = list(cut_tokens(tokens, "height", most))
    assert join_tokens(pieces, "height") == tokens
    row = width * size * soft.itemsize
    assert all(len(piece.soft) <= max(most, row) for piece in pieces)


def test_bytes_are_cut() -> None:
    assert list(cut_bytes(b"abcde", 2)) == [b"ab", b"cd", b"e"]
    assert list(cut_bytes(b"")) == [b""]


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([{"file": b"a"}, {"text": b"a"}], "one kind"),
        ([{}, {}], "empty"),
        ([{"image": {"width": 1}}, {"image": {"width": 2}}], "same width"),
        ([{"image": {"height": 1 << 31}}] * 2, "cannot be sent"),
        ([{"audio": {"channels": 1}}, {"audio": {"channels": 2}}], "same number of channels"),
        ([{"audio": {"sample_rate": 1, "channels": 1}}, {"audio": {"channels": 1}}], "same sample"),
        ([{"audio": {"channels": 2, "samples": b"1234"}}] * 2, "no float32 samples"),
        ([{"audio": {}}] * 2, "no float32 samples"),
        ([{"video": {"fps_numerator": 1}}, {"video": {}}], "same rate"),
        ([{"series": {"channels": 1, "rate": 1}}, {"series": {"channels": 1}}], "same rate"),
    ],
)
def test_pieces_that_do_not_fit(pieces: list[dict[str, object]], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        join_media([media_pb2.Media(**piece) for piece in pieces])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codec": "b"}, "same codec"),
        ({"fingerprint": "b"}, "same fingerprint"),
        ({"codebooks": 2, "ids": bytes(16)}, "same number of codebooks"),
        ({"ids": bytes(5)}, "do not fit"),
        ({"grid": [1, 2], "extent": {"a": 1}}, "same"),
        ({"extent": {"a": 1, "b": 2}}, "same extent"),
        ({"extent": {"a": (1 << 63) - 1}}, "cannot be sent"),
    ],
)
def test_tokens_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    first = {"codec": "a", "codebooks": 1, "ids": bytes(8), "grid": [2], "extent": {"a": 2}}
    pieces = [media_pb2.Tokens(**first), media_pb2.Tokens(**{**first, **changes})]
    with pytest.raises(InvalidInput, match=message):
        join_tokens(pieces, "a")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"soft_bits": 16, "soft": bytes(8)}, "same type of values"),
        ({"soft_width": 1, "soft": bytes(8)}, "same type of values"),
        ({"soft": bytes(15)}, "do not fit"),
        ({"soft_bits": 64}, "16 or 32 bits"),
        ({"grid": [1] * 9}, "dimensions"),
        ({"codebooks": 1}, "not both"),
        ({"soft_width": 0, "soft_bits": 0, "soft": b"", "codebooks": 1, "ids": bytes(8)}, "same"),
    ],
)
def test_real_values_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    first = {"grid": [2], "soft": bytes(16), "soft_bits": 32, "soft_width": 2}
    pieces = [media_pb2.Tokens(**first), media_pb2.Tokens(**{**first, **changes})]
    with pytest.raises(InvalidInput, match=message):
        join_tokens(pieces, "")
