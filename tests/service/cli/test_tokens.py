"""encode and decode: archives that numpy reads, and back."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Image, Tokens

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("folder")


def test_archive_is_read_by_numpy(cli: Cli) -> None:
    done = cli("encode", "photo.jpg", "-o", "tokens.npz")
    assert done.code == 0
    assert done.lines == ["photo.jpg -> tokens.npz: 12 positions of image/vq, grid 3x4"]
    with np.load("tokens.npz") as archive:
        assert archive["ids"].shape == (1, 12)
        assert archive["ids"].dtype == np.int32


def test_text_comes_back_exactly(cli: Cli) -> None:
    original = Path("notes.txt").read_bytes()
    assert cli("encode", "notes.txt").code == 0
    assert cli("decode", "notes.txt.npz", "-o", "-").out == original
    Path("notes.txt").unlink()
    assert cli("decode", "notes.txt.npz").code == 0
    assert Path("notes.txt").read_bytes() == original


def test_picture_comes_back_at_its_size(cli: Cli) -> None:
    cli("encode", "photo.jpg")
    assert cli("decode", "photo.jpg.npz").code == 0
    assert Image.open("photo.png").pixels.shape == (40, 50, 3)
    assert cli("decode", "photo.jpg.npz", "-o", "x.bmp").code == 0
    assert Path("x.bmp").read_bytes().startswith(b"BM")


def test_pipes(cli: Cli) -> None:
    archive = cli("encode", "-", "-c", "text/bytes", stdin=b"some words").out
    assert list(Tokens.load(archive).ids[0]) == list(b"some words")
    assert cli("decode", "-", stdin=archive).out == b"some words"


def test_json_has_the_facts(cli: Cli) -> None:
    (facts,) = json.loads(cli("encode", "photo.jpg", "--json").out)["files"]
    assert facts["grid"] == [3, 4]
    assert facts["extent"] == {"height": 40, "width": 50}
    assert len(facts["fingerprint"]) == 16
    (facts,) = json.loads(cli("decode", "photo.jpg.npz", "--json").out)["files"]
    assert facts["output"] == "photo.png"


def test_many_files_to_a_folder(cli: Cli) -> None:
    assert cli("encode", "photo.jpg", "notes.txt", "-o", "tokens/").code == 0
    assert cli("decode", "tokens/photo.jpg.npz", "tokens/notes.txt.npz", "-o", "back/").code == 0
    assert sorted(p.name for p in Path("back").iterdir()) == ["notes.txt", "photo.png"]


def changed(archive: str, **changes: Any) -> None:
    tokens = Tokens.load(archive)
    dataclasses.replace(tokens, **changes).save("changed.npz")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fingerprint": "0" * 16}, 5),
        ({"codec": "image/other"}, 2),
        ({"codec": "text/bytes"}, 5),
        ({"extent": {"height": 400, "width": 50}}, 3),
        ({"extent": {"height": 1 << 40, "width": 1 << 40}}, 6),
        ({"ids": np.full((1, 12), 1 << 30)}, 3),
    ],
)
def test_tokens_that_cannot_be_decoded(
    cli: Cli, files: Any, changes: dict[str, Any], code: int
) -> None:
    cli("encode", "photo.jpg")
    changed("photo.jpg.npz", **changes)
    before = files()
    done = cli("decode", "changed.npz")
    assert done.code == code
    assert len(done.lines) == 1
    assert files() == before


def test_what_is_no_archive(cli: Cli, files: Any) -> None:
    other = io.BytesIO()
    np.savez(other, a=np.zeros(3))
    Path("other.npz").write_bytes(other.getvalue())
    Path("empty.npz").touch()
    before = files()
    for name in ("other.npz", "empty.npz", "notes.txt"):
        done = cli("decode", name)
        assert done.code == 3
        assert done.err.startswith(f"omnicodec: {name}: not a token archive")
    assert files() == before
