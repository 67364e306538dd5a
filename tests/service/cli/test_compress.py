"""compress and decompress: round trips, names, summaries, several files, partial streams."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import Image, InvalidInput, Text, compress
from omnicodec.codecs.stream import inspect, write_tokens

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("folder")


def test_text_comes_back_exactly_under_its_own_name(cli: Cli) -> None:
    original = Path("notes.txt").read_bytes()
    assert cli("compress", "notes.txt").code == 0
    Path("notes.txt").rename("before.txt")
    assert cli("decompress", "notes.txt.omc").code == 0
    assert Path("notes.txt").read_bytes() == original


def test_picture_comes_back_as_png_at_its_size(cli: Cli, picture: Image) -> None:
    assert cli("compress", "photo.jpg").code == 0
    assert cli("decompress", "photo.jpg.omc").code == 0
    back = Image.open("photo.png")
    assert Path("photo.png").read_bytes().startswith(b"\x89PNG")
    assert back.pixels.shape == picture.pixels.shape


def test_stream_keeps_name_and_size_of_its_source(cli: Cli) -> None:
    Path("deep").mkdir()
    Path("notes.txt").rename("deep/notes.txt")
    assert cli("compress", "deep/notes.txt").code == 0
    source = inspect(Path("deep/notes.txt.omc").read_bytes()).source
    assert source.name == "notes.txt"
    assert source.size == len(Path("deep/notes.txt").read_bytes())


def test_method_reaches_the_codec(cli: Cli, cased: str) -> None:
    assert cli("compress", "notes.txt", "-c", cased, "--method", "upper").code == 0
    upper = Path("notes.txt").read_bytes().upper()
    assert cli("decompress", "notes.txt.omc", "-o", "-").out == upper
    assert cli("encode", "notes.txt", "-c", cased, "--method", "upper").code == 0
    assert cli("decode", "notes.txt.npz", "-o", "-").out == upper
    done = cli("encode", "notes.txt", "-c", cased, "--method", "x", "-o", "y.npz")
    assert done.err == "omnicodec: text/cased has no method 'x'; known: keep, upper\n"
    assert done.code == 2


def test_many_files_are_worked_on_side_by_side(
    cli: Cli, crew: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNICODEC_THREADS", "2")
    crew.at_once = 2
    texts = {f"{i}.txt": bytes([i]) * i for i in range(1, 30)}
    for name, text in texts.items():
        Path(name).write_bytes(text)
    crew.broken = {7: InvalidInput("seven")}
    done = cli("compress", *texts, "missing.txt", "-c", crew.name, "-o", "out/")
    assert (done.code, crew.most) == (3, 2)
    assert [line.partition(" -> ")[0] for line in done.lines] == [
        *(f"{i}.txt" for i in range(1, 7)),
        "omnicodec: 7.txt: seven",
        *(f"{i}.txt" for i in range(8, 30)),
        "omnicodec: missing.txt: cannot be read: No such file or directory",
    ]
    streams = [f"out/{name}.omc" for name in texts if name != "7.txt"]
    for command in ("decompress", "verify"):
        crew.most = 0
        assert cli(command, *streams).code == 0
        assert crew.most == 2
    assert all(Path(f"out/{name}").read_bytes() == texts[name] for name in texts if name != "7.txt")


def test_files_of_the_same_name_do_not_meet(cli: Cli, crew: Any) -> None:
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "x.txt").write_text(folder)
    done = cli("compress", "a/x.txt", "b/x.txt", "-c", crew.name, "-o", "out/")
    assert done.code == 2
    assert "was just written for another file" in done.lines[1]
    assert cli("decompress", "out/x.txt.omc", "-o", "-").out == b"a"


def test_summary_is_one_line(cli: Cli) -> None:
    done = cli("compress", "photo.jpg")
    size = len(Path("photo.jpg.omc").read_bytes())
    before = len(Path("photo.jpg").read_bytes())
    (line,) = done.lines
    assert done.out == b""
    assert line == (
        f"photo.jpg -> photo.jpg.omc: {before:,} -> {size:,} bytes, "
        f"ratio {before / size:.2f}, {8 * size / 2000:.3f} bits per pixel"
    )


def test_json_is_one_object(cli: Cli) -> None:
    done = cli("compress", "photo.jpg", "notes.txt", "missing.txt", "--json")
    photo, notes, missing = json.loads(done.out)["files"]
    assert done.code == 3
    assert photo["codec"] == "image/rate"
    assert photo["bits_per_pixel"] == pytest.approx(8 * photo["bytes"] / 2000)
    assert notes["output"] == "notes.txt.omc"
    assert notes["ratio"] == pytest.approx(notes["source_bytes"] / notes["bytes"])
    assert missing == {
        "input": "missing.txt",
        "error": "cannot be read: No such file or directory",
        "exit_code": 3,
    }


def test_stdin_to_stdout_and_back(cli: Cli) -> None:
    stream = cli("compress", "-", stdin=b"some words")
    assert stream.code == 0
    assert inspect(stream.out).codec == "text/bytes"
    assert inspect(stream.out).source.name == ""
    assert cli("decompress", "-", stdin=stream.out).out == b"some words"


def test_a_picture_on_stdin_is_known_by_its_content(cli: Cli) -> None:
    stream = cli("compress", "-", stdin=Path("photo.jpg").read_bytes()).out
    assert inspect(stream).codec == "image/rate"
    png = cli("decompress", "-", stdin=stream).out
    assert Image.open(png).pixels.shape == (40, 50, 3)


@pytest.mark.parametrize("name", ["photo", "photo.unknown"])
def test_an_unknown_ending_leaves_it_to_the_content(cli: Cli, name: str) -> None:
    Path("photo.jpg").rename(name)
    Path("words").write_text("P1 is how a picture could begin, but does not")
    assert cli("compress", name, "words").code == 0
    assert inspect(Path(f"{name}.omc").read_bytes()).codec == "image/rate"
    assert inspect(Path("words.omc").read_bytes()).codec == "text/bytes"


def test_any_file_is_bytes_when_told_so(cli: Cli) -> None:
    original = Path("photo.jpg").read_bytes()
    assert cli("compress", "photo.jpg", "-c", "text/bytes").code == 0
    Path("photo.jpg").unlink()
    assert cli("decompress", "photo.jpg.omc").code == 0
    assert Path("photo.jpg").read_bytes() == original


def test_output_folder_is_made(cli: Cli) -> None:
    assert cli("compress", "photo.jpg", "notes.txt", "-o", "small/").code == 0
    assert sorted(p.name for p in Path("small").iterdir()) == ["notes.txt.omc", "photo.jpg.omc"]
    done = cli("decompress", "small/photo.jpg.omc", "small/notes.txt.omc", "-o", "back/")
    assert done.code == 0
    assert sorted(p.name for p in Path("back").iterdir()) == ["notes.txt", "photo.png"]


@pytest.mark.parametrize(("suffix", "magic"), [(".jpg", b"\xff\xd8"), (".webp", b"RIFF")])
def test_ending_of_the_output_chooses_the_format(cli: Cli, suffix: str, magic: bytes) -> None:
    cli("compress", "photo.jpg")
    assert cli("decompress", "photo.jpg.omc", "-o", f"out{suffix}").code == 0
    assert Path(f"out{suffix}").read_bytes().startswith(magic)


def test_an_unknown_output_ending_lists_the_known_ones(cli: Cli) -> None:
    cli("compress", "photo.jpg")
    done = cli("decompress", "photo.jpg.omc", "-o", "out.xyz")
    assert done.code == 3
    assert ".png, .jpg" in done.err
    assert not Path("out.xyz").exists()


def test_others_are_done_when_one_fails(cli: Cli) -> None:
    Path("broken.png").write_bytes(b"nothing")
    done = cli("compress", "broken.png", "missing.jpg", "notes.txt")
    assert done.code == 3
    assert [line.split(":")[1].strip() for line in done.lines[:2]] == ["broken.png", "missing.jpg"]
    assert Path("notes.txt.omc").exists()


def test_exit_code_is_that_of_the_first_failure(cli: Cli, files: Any) -> None:
    Path("zero.omc").touch()
    before = files()
    assert cli("decompress", "zero.omc", "missing.omc").code == 4
    assert cli("decompress", "missing.omc", "zero.omc").code == 3
    assert files() == before


@pytest.mark.parametrize(
    "name", ["..", ".", "../x.txt", "/etc/x.txt", "a\\b.txt", ".bashrc", "a\nb.txt", "\x1b[2J", ""]
)
def test_a_bad_name_in_the_stream_is_not_used(cli: Cli, files: Any, name: str) -> None:
    Path("got.txt.omc").write_bytes(compress(Text("words"), "text/bytes", source_name=name))
    before = files()
    assert cli("decompress", "got.txt.omc").code == 0
    assert files() == {**before, "got.txt": b"words"}


def test_a_stream_without_a_name_gets_an_ending(cli: Cli) -> None:
    Path("stream").write_bytes(compress(Text("words"), "text/bytes"))
    assert cli("decompress", "stream").code == 0
    assert Path("stream.txt").read_bytes() == b"words"


@pytest.fixture
def chunked() -> bytes:
    """A text in 4 chunks of 100 bytes, the second of them damaged."""
    from omnicodec.codecs import load

    codec = load("text/bytes")
    text = b"".join(bytes([letter]) * 100 for letter in b"abcd")
    (tokens,) = codec.encode([Text(text)])
    stream = bytearray(write_tokens(tokens, codec, source_name="t.txt", chunk_positions=100))
    second = stream.find(b"\xc5K", stream.find(b"\xc5K") + 1)
    stream[second + 8] ^= 1
    return bytes(stream)


def test_damage_is_refused(cli: Cli, files: Any, chunked: bytes) -> None:
    Path("t.omc").write_bytes(chunked)
    before = files()
    done = cli("decompress", "t.omc")
    assert done.code == 4
    assert "damaged" in done.err
    assert files() == before


def test_partial_gives_back_the_rest_and_says_what_is_missing(cli: Cli, chunked: bytes) -> None:
    Path("t.omc").write_bytes(chunked)
    done = cli("decompress", "--partial", "t.omc")
    assert done.code == 0
    assert Path("t.txt").read_bytes() == b"a" * 100 + b"c" * 100 + b"d" * 100
    assert done.lines[0] == "omnicodec: t.omc is damaged, missing: 100 of 400 positions, 25 %"


def test_partial_counts_what_is_missing_at_the_end(cli: Cli, chunked: bytes) -> None:
    Path("t.omc").write_bytes(chunked[: chunked.rfind(b"\xc5K") + 3])
    done = cli("decompress", "--partial", "t.omc", "--json")
    (facts,) = json.loads(done.out)["files"]
    assert (facts["positions"], facts["missing"], facts["bytes"]) == (400, 200, 200)


def test_partial_says_nothing_when_all_is_there(cli: Cli) -> None:
    cli("compress", "notes.txt")
    done = cli("decompress", "--partial", "notes.txt.omc", "-o", "-")
    assert done.out == Path("notes.txt").read_bytes()
    assert "missing" not in done.err


def test_partial_picture_is_whole_in_size(cli: Cli) -> None:
    cli("compress", "photo.jpg")
    stream = Path("photo.jpg.omc").read_bytes()
    Path("cut.omc").write_bytes(stream[:-3])
    assert cli("decompress", "cut.omc", "-o", "x.png").code == 4
    assert not Path("x.png").exists()
    done = cli("decompress", "--partial", "cut.omc", "-o", "x.png")
    assert "100 %" in done.err
    assert Image.open("x.png").pixels.shape == (40, 50, 3)
