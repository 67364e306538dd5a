"""The benchmark of sound, on a little sound and beside a stand-in for EnCodec."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import Audio, InvalidInput, Unavailable, load

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def benches(name: str) -> ModuleType:
    return importlib.import_module(f"benches.{name}")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)


def clip(seconds: float, rate: int = 24_000, channels: int = 1, seed: int = 0) -> Audio:
    noise = np.random.default_rng(seed).normal(0, 0.1, (channels, round(seconds * rate)))
    return Audio(noise.astype(np.float32), rate)


def test_clips_are_cut_and_mixed(tmp_path: Path) -> None:
    clip(0.9).save(tmp_path / "short.wav")
    clip(13, 8_000, 2).save(tmp_path / "long.wav")
    clip(1.5).save(tmp_path / "other.wav")
    found = benches("_sounds").clips(tmp_path, None)
    assert {name: audio.samples.shape for name, audio in found.items()} == {
        "long.wav": (1, 96_000),
        "other.wav": (1, 36_000),
    }
    both = Audio.open(tmp_path / "long.wav").samples[:, :96_000]
    assert found["long.wav"].samples[0] == pytest.approx(both.mean(0), abs=1e-6)
    assert list(benches("_sounds").clips(tmp_path, 1)) == ["long.wav"]
    benches("_sounds").save(found, tmp_path / "saved")
    saved = Audio.open(tmp_path / "saved" / "other.flac")
    assert saved.samples == pytest.approx(found["other.wav"].samples, abs=1e-4)
    assert benches("_sounds").joined(found, 20).duration == 20
    assert benches("_sounds").joined(found).duration == pytest.approx(13.5, abs=0.01)
    with pytest.raises(InvalidInput, match="no clips of 1 s or more"):
        benches("_sounds").clips(tmp_path / "short.wav", None)


def test_groups_are_the_folders_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "speech").mkdir()
    assert benches("_sounds").groups(tmp_path) == {"speech": tmp_path / "speech"}
    assert benches("_sounds").groups(tmp_path / "speech") == {"speech": tmp_path / "speech"}


def test_encodec_is_asked_for_6_kbps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Network:
        def __init__(self, config: object) -> None:
            self.train = asked.append

        def encode(self, samples: Any, bandwidth: float) -> SimpleNamespace:
            asked.append((tuple(samples.shape), bandwidth))
            return SimpleNamespace(audio_codes="codes", audio_scales=["scale"])

        def decode(self, codes: str, scales: list[str]) -> None:
            asked.append((codes, scales))

    config = SimpleNamespace(sampling_rate=24_000, audio_channels=1)
    fake = SimpleNamespace(EncodecConfig=lambda: config, EncodecModel=Network, __version__="1")
    monkeypatch.setitem(sys.modules, "transformers", fake)
    encode, decode, version = benches("_encodec").encodec(clip(1))
    encode()
    decode()
    one = ((1, 1, 24_000), 6.0)
    assert asked == [False, one, one, ("codes", ["scale"])]
    assert version == "transformers 1"
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(Unavailable, match="pip install transformers"):
        benches("_encodec").encodec(clip(1))


def test_benchmark_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for group, count in (("speech", 2), ("music", 1)):
        (tmp_path / group).mkdir()
        for seed in range(count):
            clip(1.2, seed=seed).save(tmp_path / group / f"{seed}.wav")
    steps: list[str] = []
    stand_in = (lambda: steps.append("encode"), lambda: steps.append("decode"), "stand-in 1")
    monkeypatch.setattr(benches("audio"), "encodec", lambda _: stand_in)
    hour = {"seconds": 3600.0, "steps": {"compress": {"peak_mb": 512.4}}}
    monkeypatch.setattr(benches("audio"), "memory", lambda *_: hour)
    out = tmp_path / "audio.json"
    words = ["audio", tmp_path, "--against", "", "--seconds", 1.5, "--rounds", 2]
    monkeypatch.setattr(sys, "argv", ["scripts/bench.py", *map(str, words), "--out", str(out)])
    importlib.import_module("bench").main()
    result = json.loads(out.read_text())
    spec = load("audio/rvq", device="cpu").spec
    assert result["environment"]["threads"] == 1
    assert steps == ["encode"] * 3 + ["decode"] * 3
    for group, count in (("speech", 2), ("music", 1)):
        report = result["quality"][group]
        measured = [report["quality"], *(other["quality"] for other in report["others"])]
        assert sorted(measured) == sorted(spec.qualities)
        assert len(report["items"]) == count
        for row in result["prior"][group].values():
            assert row["seconds"] == pytest.approx(1.2 * count)
            saved = 100 * (1 - row["coded_kbps"] / row["raw_kbps"])
            assert row["saved_percent"] == pytest.approx(saved)
    live = result["live"]
    hop = 1000 * spec.covers["seconds"]
    assert hop <= live["first_token_ms"] <= live["first_sound_ms"] < 1000
    assert result["memory"] == hour
    assert 0 < sum(result["weights"].values()) <= spec.weight_bytes  # priors are packed
    printed = capsys.readouterr().out
    own = [line for line in printed.splitlines() if line.startswith("| audio/rvq -q ")]
    assert len(own) == len(spec.qualities)
    assert {line.count("|") for line in own} == {2 + 2 * 5}
    for words in (
        "| x real time, one thread",
        "speech, as one recording",
        "first tokens after",
        "1 h of stereo: 512 MB to compress.",
    ):
        assert words in printed
