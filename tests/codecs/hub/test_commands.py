"""The command line with a published codec, from the list to the file that comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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
