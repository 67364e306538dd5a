"""The command line with a published codec, from the list to the file that comes back."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnicodec.codecs import Audio, load
from omnicodec.service.cli import main

pytest.importorskip("transformers")


def run(*words: object) -> int:
    """Return the exit code of a command in this process."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture
def clip(tmp_path: Path, sound: Callable[..., Audio]) -> Path:
    sound(3000, 8000).save(tmp_path / "clip.wav")
    return tmp_path / "clip.wav"


def test_a_file_goes_through_every_command(
    mono_encodec: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"hf:{mono_encodec}"
    assert run("codecs", "--json", name) == 0
    (shown,) = json.loads(capsys.readouterr().out)["codecs"]
    assert (shown["name"], shown["licence"]) == ("hf:small-encodec", "mit")

    codec = load(name, device="cpu")
    there = Audio.open(clip)
    (expected,) = codec.decode(codec.encode([there], quality=2))
    tokens, stream = clip.with_suffix(".npz"), clip.with_suffix(".omc")
    assert run("encode", clip, "-c", name, "-q", 2, "-o", tokens) == 0
    assert run("decode", tokens, "-c", name, "-o", clip.with_name("a.wav")) == 0
    assert run("compress", clip, "-c", name, "-q", 2, "-o", stream) == 0
    assert run("decompress", stream, "-c", name, "-o", clip.with_name("b.wav")) == 0
    for back in ("a.wav", "b.wav"):
        assert clip.with_name(back).read_bytes() == expected.to_bytes(".wav")


def test_what_a_file_names_is_not_opened_on_its_word(mono_encodec: Path, clip: Path) -> None:
    name, stream = f"hf:{mono_encodec}", clip.with_suffix(".omc")
    assert run("compress", clip, "-c", name, "-o", stream) == 0
    command = [sys.executable, "-m", "omnicodec.service.cli", "decompress", str(stream)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 2
    assert "hf:small-encodec is a published codec that is not open here" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_streams_are_looked_at(
    mono_encodec: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, stream = ("-c", f"hf:{mono_encodec}"), clip.with_suffix(".omc")
    assert run("compress", clip, *name, "-o", stream) == 0
    capsys.readouterr()
    for found in looked_at(stream, *name), looked_at(stream):
        assert found["codec"] == "hf:small-encodec"
    assert looked_at(stream, *name)["decodable"] is True
    assert looked_at(stream, *name)["extent"]["rate"] == 8000
    assert run("verify", stream, *name) == 0
    assert "positions of hf:small-encodec" in capsys.readouterr().out
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "omnicodec.service.cli", "info", "--json", str(stream)]
    ended = subprocess.run(command, capture_output=True, check=True, env=environment)
    alone = json.loads(ended.stdout)
    assert (alone["decodable"], alone["damage"]) == (False, None)
    assert "is not open here: name it with -c" in alone["obstacle"]

    data = bytearray(stream.read_bytes())
    data[-20] ^= 1
    stream.write_bytes(data)
    assert run("verify", stream, *name) == 4


def test_a_prior_is_measured_and_old_streams_stay_readable(
    make_encodec: Callable[..., Path], clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"hf:{make_encodec(codebook_size=32)}"
    before, after = clip.with_name("before.omc"), clip.with_name("after.omc")
    assert run("compress", clip, "-c", name, "-o", before) == 0
    assert run("train", name, clip.parent, "--prior", "--json") == 0
    captured = capsys.readouterr()
    prior = Path(json.loads(captured.out)["prior"])
    assert prior.parent.name == load(name, device="cpu").spec.fingerprint
    assert prior.stem == load(name, device="cpu").spec.prior
    assert "1 items, 375 positions: " in captured.err
    assert run("compress", clip, "-c", name, "-o", after) == 0
    assert after.stat().st_size < before.stat().st_size
    capsys.readouterr()
    for stream in before, after:
        assert looked_at(stream, "-c", name)["decodable"] is True
        assert run("verify", stream, "-c", name) == 0
        assert run("decompress", stream, "-c", name, "-o", stream.with_suffix(".wav")) == 0
    assert before.with_suffix(".wav").read_bytes() == after.with_suffix(".wav").read_bytes()

    capsys.readouterr()
    for words, says in (
        ((name, clip.parent), "--prior"),
        ((name, clip.parent, "--prior", "-o", "run"), "no run"),
        (("audio/rvq", clip.parent, "--prior"), "is no published codec"),
        ((name, before, "--prior"), ""),
    ):
        assert run("train", *words) in (2, 3)
        assert says in capsys.readouterr().err


def test_it_is_evaluated(
    mono_encodec: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "-c", f"hf:{mono_encodec}", clip.parent, "-q", "all", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["codec"] == "hf:small-encodec"
    assert [item["name"] for item in figures["items"]] == ["clip.wav"]
    assert [point["quality"] for point in figures["others"]] == [2]


def looked_at(stream: Path, *words: str) -> dict[str, Any]:
    """Return what `info` says."""
    arguments = ["info", "--json", str(stream), *words]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run(*arguments) == 0
    found: dict[str, Any] = json.loads(out.getvalue())
    return found
