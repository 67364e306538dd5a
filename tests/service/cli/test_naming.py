"""Default output names, and names that are not trusted."""

from __future__ import annotations

import pytest

from omnicodec.codecs import describe
from omnicodec.service.cli.naming import decoded_name, is_plain_name

PICTURE, TEXT = describe("image/vq"), describe("text/bytes")


@pytest.mark.parametrize(
    ("file", "original", "picture", "text"),
    [
        ("a/x.omc", "photo.jpg", "photo.png", "photo.jpg"),
        ("a/x.omc", "Makefile", "Makefile.png", "Makefile"),
        ("a/x.omc", "a.b.jpg", "a.b.png", "a.b.jpg"),
        ("a/photo.jpg.omc", "", "photo.png", "photo.jpg"),
        ("a/photo.omc", "", "photo.png", "photo.txt"),
        ("a/photo", "", "photo.png", "photo.txt"),
        (".env.omc", ".env", ".env.png", ".env"),
        ("x.omc", "../y.txt", "x.png", "x.txt"),
        ("-", "", "stdin.png", "stdin.txt"),
    ],
)
def test_decoded_name(file: str, original: str, picture: str, text: str) -> None:
    assert decoded_name(PICTURE, file, original) == picture
    assert decoded_name(TEXT, file, original) == text


@pytest.mark.parametrize("name", ["a", "photo.jpg", "with space.txt", "\u00e4\u4e2d.txt", "-rf"])
def test_plain_names(name: str) -> None:
    assert is_plain_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".profile", "a/b", "a\\b", "C:x", "a\0b", "a\nb", "\x1b[2J", "\u202egpj.exe",
     " a", "a ", "x" * 241, "\u00e4" * 121],
)  # fmt: skip
def test_names_that_are_not_used(name: str) -> None:
    assert not is_plain_name(name)
