"""info and verify: what a stream says, and whether it holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import Text, compress, describe, load
from omnicodec.codecs.stream import frames, inspect, write_tokens
from omnicodec.v1.stream_pb2 import StreamHeader

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("folder")


def facts_of(cli: Cli, name: str) -> dict[str, Any]:
    done = cli("info", name, "--json")
    assert done.code == 0
    facts: dict[str, Any] = json.loads(done.out)
    return facts


def test_info_of_a_picture(cli: Cli) -> None:
    cli("compress", "photo.jpg", "-q", "30")
    facts = facts_of(cli, "photo.jpg.omc")
    spec = describe("image/rate")
    assert facts["fingerprint"] == spec.fingerprint
    assert facts["prior"] == spec.prior
    assert facts["decodable"] is True
    assert facts["source_name"] == "photo.jpg"
    assert facts["source_bytes"] == Path("photo.jpg").stat().st_size
    assert facts["grid"] == [3, 4]
    assert facts["extent"] == {"height": 40, "width": 50, "quality": 30}
    assert facts["bits_per_position"] == pytest.approx(8 * facts["bytes"] / 12)
    assert (facts["chunks"], facts["whole_chunks"], facts["damage"]) == (1, 1, None)


def test_info_for_people(cli: Cli) -> None:
    cli("compress", "photo.jpg")
    text = cli("info", "photo.jpg.omc").out.decode()
    assert "\ndecodable          yes\n" in text
    assert "\ngrid               3x4\n" in text
    assert "\nextent             height 40, width 50, quality 40\n" in text
    assert "None" not in text


def test_info_of_stdin(cli: Cli) -> None:
    done = cli("info", "-", "--json", stdin=compress(Text("words"), "text/bytes"))
    assert json.loads(done.out)["file"] == "stdin"


def test_info_of_damage_behind_the_header(cli: Cli) -> None:
    codec = load("text/bytes")
    (tokens,) = codec.encode([Text("What is told in few words is found again by those who look.")])
    Path("cut.omc").write_bytes(write_tokens(tokens, codec, chunk_positions=40)[:-10])
    facts = facts_of(cli, "cut.omc")
    assert (facts["chunks"], facts["whole_chunks"]) == (2, 1)
    assert "cut off" in facts["damage"]
    assert facts["bits_per_position"] is None
    assert "damage " in cli("info", "cut.omc").out.decode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"fingerprint": bytes(8)}, "another codec"),
        ({"prior": bytes(8)}, "another prior"),
        ({"codec": "text/other"}, "unknown codec"),
    ],
)
def test_info_says_why_a_stream_does_not_decode_here(
    cli: Cli, change: dict[str, Any], why: str
) -> None:
    header = inspect(compress(Text("words"), "text/bytes"))
    for name, value in change.items():
        setattr(header, name, value)
    Path("x.omc").write_bytes(b"".join(frames.write_frames(header.SerializeToString(), ())))
    facts = facts_of(cli, "x.omc")
    assert facts["decodable"] is False
    assert why in facts["obstacle"]


def test_info_survives_a_header_of_lies(cli: Cli) -> None:
    header = StreamHeader(codec="image/vq", grid=[(1 << 64) - 1] * 4, chunk_positions=1)
    Path("x.omc").write_bytes(b"".join(frames.write_frames(header.SerializeToString(), ())))
    assert facts_of(cli, "x.omc")["whole_chunks"] == 0
    header.grid.extend([2] * 1000)
    Path("x.omc").write_bytes(b"".join(frames.write_frames(header.SerializeToString(), ())))
    assert cli("info", "x.omc").code == 4


def test_info_escapes_names(cli: Cli) -> None:
    stream = compress(Text("words"), "text/bytes", source_name="\x1b[31mred\nname")
    done = cli("info", "-", stdin=stream)
    assert b"\x1b" not in done.out
    assert b"\\x1b[31mred name" in done.out


@pytest.mark.parametrize("content", [b"", b"\x89OMC", b"something else entirely"])
def test_info_of_what_is_no_stream(cli: Cli, content: bytes) -> None:
    Path("x.omc").write_bytes(content)
    done = cli("info", "x.omc")
    assert done.code == 4
    assert done.err.startswith("omnicodec: x.omc: ")


def test_verify_says_ok_on_stdout(cli: Cli) -> None:
    cli("compress", "photo.jpg", "notes.txt")
    size = Path("notes.txt").stat().st_size
    done = cli("verify", "photo.jpg.omc", "notes.txt.omc")
    assert done.code == 0
    assert done.out.decode().splitlines() == [
        "photo.jpg.omc: ok, 12 positions of image/rate",
        f"notes.txt.omc: ok, {size:,} positions of text/bytes",
    ]
    assert done.err == ""


def test_verify_goes_on_after_damage(cli: Cli) -> None:
    cli("compress", "notes.txt")
    Path("cut.omc").write_bytes(Path("notes.txt.omc").read_bytes()[:-1])
    done = cli("verify", "cut.omc", "notes.txt.omc", "--json")
    assert done.code == 4
    cut, notes = json.loads(done.out)["files"]
    assert cut["exit_code"] == 4
    assert notes["ok"] is True
