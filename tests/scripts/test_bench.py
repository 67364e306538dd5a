"""The parts of the benchmarks that can be tested without waiting."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from omnicodec.codecs import Image, InvalidInput

Benches = Callable[[str], ModuleType]

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    spec = importlib.util.spec_from_file_location("bench_under_test", SCRIPTS / "bench.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def benches(monkeypatch: pytest.MonkeyPatch) -> Benches:
    """Return a function that imports a file of scripts/benches."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return lambda name: importlib.import_module(f"benches.{name}")


def test_ratios_are_of_rounds_and_not_of_medians(benches: Benches) -> None:
    pairs = benches("_pairs").Pairs(8, ("a", "b"), (1.0, 2.0, 4.0), (2.0, 2.0, 2.0))
    figures = pairs.to_dict()
    assert figures["ratio"] == {"min": 0.5, "median": 1.0, "max": 2.0}
    assert figures["per_second"] == {"a": 4, "b": 4}
    assert json.loads(json.dumps(figures))["seconds"]["a"] == [1.0, 2.0, 4.0]


def test_both_take_turns_at_being_first(benches: Benches) -> None:
    calls: list[str] = []
    steps = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    pairs = benches("_pairs").alternate(steps, work=1, rounds=3)
    assert "".join(calls) == "ab" + "abbaab"
    assert pairs.names == ("a", "b")
    assert len(pairs.first) == len(pairs.second) == 3


def test_generated_pictures_are_always_the_same(benches: Benches) -> None:
    pictures = benches("_pictures").pictures(None, 3)
    assert pictures == benches("_pictures").pictures(None, 3)
    assert {p.pixels.shape for p in pictures} == {(256, 256, 3)}
    assert pictures[0] != pictures[1]


def test_pictures_of_a_folder_are_cut_and_repeated(benches: Benches, tmp_path: Path) -> None:
    middles = benches("_pictures").pictures
    pixels = np.zeros((260, 300, 3), np.uint8)
    pixels[2:258, 22:278] = 200
    Image(pixels).save(tmp_path / "a.png")
    Image(pixels[:100]).save(tmp_path / "small.png")
    found = middles(tmp_path, 3)
    assert len(found) == 3
    assert all((p.pixels == 200).all() for p in found)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InvalidInput, match="256x256 pixels or more"):
        middles(tmp_path, 1)


def test_text_benchmark_writes_its_figures(
    bench: ModuleType,
    benches: Benches,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = b"".join(b"word %d. " % i for i in range(1000))
    for name, size in (("book_a", 5000), ("book_b", 1100), ("code_c", 1024), ("other", 10)):
        (tmp_path / f"{name}.txt").write_bytes(words[:size])
    monkeypatch.setattr(benches("_texts"), "COUNTS", {1024: 4, 4096: 2})
    monkeypatch.setattr(benches("text"), "_first_call", lambda _: {"cold": 2.0, "warm": 1.0})
    out = tmp_path / "results" / "text.json"
    arguments = ["text", str(tmp_path), "--rounds", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["scripts/bench.py", *arguments])
    bench.main()
    result = json.loads(out.read_text())
    assert result["benchmark"] == "text"
    assert result["environment"]["command"].startswith("python scripts/bench.py text ")
    small, large = result["documents"]["1024"], result["documents"]["4096"]
    assert small["documents"] == {"en_book": 4, "code": 4}
    assert large["documents"] == {"en_book": 2}
    rates = small["bits_per_byte"]
    for way in ("text/bytes", "zstd -19", ".omc"):
        assert rates["mean"][way] == (rates["en_book"][way] + rates["code"][way]) / 2
    ratio = rates["mean"]["text/bytes"] / rates["mean"]["zstd -19"]
    assert small["ratio"]["zstd -19"] == ratio
    by_name = {file["name"]: file for file in result["files"]}
    assert by_name["book_a.txt"]["bytes"] == 5000
    above = result["above_zstd"]
    assert above["checked"] == 4 + 8 + 2
    assert {n for n in by_name if by_name[n]["text/bytes"] > by_name[n]["zstd -19"]} == {
        name for name in above["names"] if name in by_name
    }
    speed = result["speed"]["many_decompress"]
    assert (speed["threads"], speed["work"]) == (2, (5000 + 1100 + 1024 + 10) / 1024)
    assert "| documents of 4 KB, bits per byte" in capsys.readouterr().out


def test_documents_begin_with_whole_characters(benches: Benches) -> None:
    text = "\u00e4" * 5000
    for size in benches("_texts").COUNTS:
        for cuts in benches("_texts").documents({"bible_x.txt": text.encode()}, size).values():
            assert len(cuts) == benches("_texts").COUNTS[size]
            assert {len(cut) for cut in cuts} == {size}
            assert all(cut.decode() for cut in cuts)


def test_a_first_call_is_timed_in_new_processes(
    benches: Benches, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[str] = []

    def run(command: list[str], env: dict[str, str], **_: object) -> SimpleNamespace:
        assert command[1] == "-c"
        folders.append(env["NUMBA_CACHE_DIR"])
        return SimpleNamespace(stdout=f"{3 - len(folders)}\n")

    monkeypatch.setattr(benches("text").subprocess, "run", run)
    assert benches("text")._first_call("text/bytes") == {"cold": 2, "warm": 1}
    assert folders[0] == folders[1]
    assert not Path(folders[0]).exists()


def test_errors_are_one_line(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.py", "text", str(tmp_path / "no"), "--out", "x.json"])
    with pytest.raises(SystemExit, match="bench: .* is not a file, a folder"):
        bench.main()


def test_codec_and_vq16_do_the_same_pictures(
    benches: Benches, monkeypatch: pytest.MonkeyPatch
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
    encoding, decoding, best = benches("_vq16").beside_vq16(
        "image/vq", None, count=2, rounds=1, device="cpu"
    )
    assert encoding.names == decoding.names == ("image/vq", "VQ-16")
    assert encoding.work == decoding.work == 2
    assert best in (1, 8)
    assert set(batches) == {1, 2}
