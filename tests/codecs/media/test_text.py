"""Text: any bytes and any `str` come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs.errors import InvalidInput, LimitExceeded
from omnicodec.codecs.media import Text
from omnicodec.codecs.media import text as text_module

ANY_STR = st.text(st.characters(codec=None, exclude_categories=()))  # with lone surrogates


@given(st.binary())
def test_any_bytes_round_trip(data: bytes) -> None:
    text = Text(data)
    assert text.data == data
    assert text.nbytes == len(data)
    assert Text.open(text.to_bytes()) == text
    str(text)  # never fails


@given(ANY_STR)
def test_any_str_round_trips(data: str) -> None:
    text = Text(data)  # type: ignore[arg-type]
    assert isinstance(text.data, bytes)
    assert str(text) == data
    assert Text.open(text.to_bytes()) == text


def test_lone_surrogates_come_back() -> None:
    for data in ("\ud800", "a\udfffb", "\udc00\ud800", "\ud83d\ude00"):
        assert str(Text(data)) == data  # type: ignore[arg-type]


def test_valid_text_is_plain_utf_8() -> None:
    assert Text("\u00e9\U0001f600").data == b"\xc3\xa9\xf0\x9f\x98\x80"  # type: ignore[arg-type]


def test_invalid_bytes_show_as_replacement_characters() -> None:
    assert str(Text(b"a\xffb")) == "a\ufffdb"


def test_line_ends_and_marks_are_kept(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbfa\r\nb\rc\n\0"
    Text(data).save(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == data
    assert Text.open(tmp_path / "a.txt").data == data


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab"), memoryview(b"a-b")[::2]])
def test_other_buffers_become_bytes(data: object) -> None:
    text = Text(data)  # type: ignore[arg-type]
    assert text.data == b"ab"
    assert type(text.data) is bytes


def test_text_is_hashable_by_value() -> None:
    assert len({Text(b"a"), Text("a"), Text(b"b")}) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [None, 1, ["a"]])
def test_anything_else_is_refused(data: object) -> None:
    with pytest.raises(InvalidInput):
        Text(data)  # type: ignore[arg-type]


def test_the_limit_is_the_last_size_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "MAX_TEXT_BYTES", 4)
    assert Text(b"1234").nbytes == 4
    with pytest.raises(LimitExceeded):
        Text(b"12345")
