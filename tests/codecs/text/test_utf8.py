"""Runs of valid UTF-8, and pieces that can be cut apart without changing a token."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import Text, load
from omnicodec.codecs.text import _utf8

# What the cut of text/bpe tells apart, and what Python and the engine might see differently.
SIGNS = st.sampled_from(
    [*"abA\u00e9\u4e2d\u03011! \t\n\u3000\x1c\x85\u200b\U0001f600", "'s", "'S", "  ", " a", "\r\n"]
    + [sign * 70 for sign in "x \n"]
)


@given(st.binary(max_size=60))
def test_segments_are_the_bytes(data: bytes) -> None:
    found = list(_utf8.segments(data))
    assert b"".join(s.encode() if isinstance(s, str) else s for s in found) == data
    assert all(type(a) is not type(b) for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a\xffb", ["a", b"\xff", "b"]),
        ("\ud800".encode("utf-8", "surrogatepass"), [b"\xed\xa0\x80"]),
        (b"\xc0\x80\xf5\xe4\xbd", [b"\xc0\x80\xf5\xe4\xbd"]),
        ("\udcff".encode("utf-8", "surrogatepass") + b"z", [b"\xed\xb3\xbf", "z"]),
    ],
)
def test_only_invalid_bytes_stand_alone(data: bytes, expected: list[str | bytes]) -> None:
    assert list(_utf8.segments(data)) == expected


@settings(deadline=None)
@given(st.lists(SIGNS, max_size=60).map("".join))
def test_pieces_have_the_tokens_of_the_whole(text: str) -> None:
    codec = load("text/bpe")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_utf8, "PIECE", 10)
        found = list(_utf8.pieces(text))
        (tokens,) = codec.encode([Text(text)])
    assert "".join(found) == text
    whole = codec._engine.encode(text, add_special_tokens=False).ids
    assert tokens.ids[0].tolist() == whole


def test_pieces_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_utf8, "PIECE", 10)
    assert list(_utf8.pieces("a few words and\nlines of them")) == [
        "a few words", " and\nlines", " of them",
    ]  # fmt: skip
    assert list(_utf8.pieces("x" * 50)) == ["x" * 50]
