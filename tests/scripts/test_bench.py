"""The parts of the benchmark script that can be tested without waiting."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def bench() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("bench_under_test", SCRIPTS / "bench.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_ratios_are_of_rounds_and_not_of_medians(bench: ModuleType) -> None:
    pairs = bench.Pairs(8, ("a", "b"), (1.0, 2.0, 4.0), (2.0, 2.0, 2.0))
    figures = pairs.to_dict()
    assert figures["ratio"] == {"min": 0.5, "median": 1.0, "max": 2.0}
    assert figures["per_second"] == {"a": 4, "b": 4}
    assert json.loads(json.dumps(figures))["seconds"]["a"] == [1.0, 2.0, 4.0]


def test_both_take_turns_at_being_first(bench: ModuleType) -> None:
    calls: list[str] = []
    steps = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    pairs = bench.alternate(steps, work=1, rounds=3)
    assert "".join(calls) == "ab" + "abbaab"
    assert pairs.names == ("a", "b")
    assert len(pairs.first) == len(pairs.second) == 3


def test_generated_pictures_are_always_the_same(bench: ModuleType) -> None:
    pictures = bench.pictures(None, 3)
    assert pictures == bench.pictures(None, 3)
    assert {p.pixels.shape for p in pictures} == {(256, 256, 3)}
    assert pictures[0] != pictures[1]


def test_pictures_of_a_folder_are_cut_and_repeated(bench: ModuleType, tmp_path: Path) -> None:
    pixels = np.zeros((260, 300, 3), np.uint8)
    pixels[2:258, 22:278] = 200
    Image(pixels).save(tmp_path / "a.png")
    Image(pixels[:100]).save(tmp_path / "small.png")
    found = bench.pictures(tmp_path, 3)
    assert len(found) == 3
    assert all((p.pixels == 200).all() for p in found)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InvalidInput, match="256x256 pixels or more"):
        bench.pictures(tmp_path, 1)


def test_text_benchmark_writes_its_figures(
    bench: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.txt").write_text("words " * 100)
    out = tmp_path / "results" / "text.json"
    arguments = ["text", str(tmp_path), "--against", "gzip,xz", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["scripts/bench.py", *arguments])
    bench.main()
    result = json.loads(out.read_text())
    assert result["benchmark"] == "text"
    assert result["environment"]["command"].startswith("python scripts/bench.py text ")
    assert len(result["evaluation"]["anchors"]) == 2
    assert "gzip level 9" in capsys.readouterr().out


def test_errors_are_one_line(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.py", "text", str(tmp_path / "no"), "--out", "x.json"])
    with pytest.raises(SystemExit, match="bench: .* is not a file, a folder"):
        bench.main()


def test_codec_and_vq16_do_the_same_pictures(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    batches: list[int] = []

    class Network(torch.nn.Module):
        """Stands in for the real one, which takes seconds a picture."""

        def encode(self, pixels: torch.Tensor) -> SimpleNamespace:
            assert pixels.shape[1:] == (3, 256, 256)
            assert -1 <= pixels.min() < pixels.max() <= 1
            batches.append(len(pixels))
            return SimpleNamespace(image_tokens=torch.zeros(256 * len(pixels), dtype=torch.int64))

        def decode(self, indices: torch.Tensor) -> torch.Tensor:
            assert indices.shape[1:] == (256,)
            return torch.zeros(len(indices), 3, 256, 256)

    fake = SimpleNamespace(JanusVQVAE=lambda _: Network(), JanusVQVAEConfig=dict)
    monkeypatch.setitem(sys.modules, "transformers", fake)
    options = SimpleNamespace(codec="image/vq", device="cpu", data=None, pictures=2, rounds=1)
    encoding, decoding, best = bench._beside_vq16(options)
    assert encoding.names == decoding.names == ("image/vq", "VQ-16")
    assert encoding.work == decoding.work == 2
    assert best in (1, 8)
    assert set(batches) == {1, 2}
