"""The benchmark of published codecs: its comparison with the libraries, and what it keeps."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import InvalidInput, Tokens
from omnicodec.codecs.hub import opening

pytest.importorskip("transformers")
pytest.importorskip("diffusers")

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
Benches = Callable[[str], ModuleType]

SMALL = {
    "encodec48": {
        "num_filters": 4, "hidden_size": 16, "codebook_size": 64, "upsampling_ratios": [4, 2],
        "chunk_length_s": 0.1, "sampling_rate": 8000, "target_bandwidths": [12.0, 24.0],
        "num_lstm_layers": 1,
    },
    "kl": {"block_out_channels": (8, 16, 16, 16), "norm_num_groups": 4, "layers_per_block": 1},
    "movq": {
        "block_out_channels": (32, 32, 32, 64), "layers_per_block": 1, "num_vq_embeddings": 64,
    },
}  # fmt: skip


@pytest.fixture
def benches(monkeypatch: pytest.MonkeyPatch) -> Benches:
    monkeypatch.syspath_prepend(SCRIPTS)
    return lambda name: importlib.import_module(f"benches.{name}")


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep priors away from the user's cache, and what is opened away from other tests."""
    monkeypatch.setenv("OMNICODEC_CACHE", str(tmp_path / "cache"))
    for name in ("_found", "_opened", "_by_name"):
        monkeypatch.setattr(opening, name, {})


@pytest.fixture
def task(benches: Benches, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that saves a small codec and returns a task about it."""
    models, items = benches("_hub_models"), benches("_hub_items")
    monkeypatch.setattr(models, "FILL_SECONDS", 1)
    monkeypatch.setattr(items, "LENGTHS", (0.1, 0.4))
    monkeypatch.setattr(items, "SIDES", (32, 64))
    monkeypatch.setattr(items, "ONE", {"seconds": (0.2, 0.4), "side": (32, 64)})

    def make(name: str, **options: Any) -> Any:
        published = models.PUBLISHED[name]
        small = replace(published, options={**published.options, **SMALL[name]})
        child = benches("_hub_child")
        monkeypatch.setattr(child, "PUBLISHED", {name: small})
        folder = tmp_path / f"small-{name}"
        assert small.make(folder) > 100
        return child.Task(part="", name=name, folder=str(folder), count=2, rounds=2, **options)

    return make


@pytest.mark.parametrize("name", SMALL)
def test_measured_codes_are_the_librarys(
    name: str, benches: Benches, task: Callable[..., Any]
) -> None:
    child, todo = benches("_hub_child"), task(name)
    batch = child.throughput(todo)
    assert (batch["items"], batch["differing_codes"]) == (2, 0)
    assert len(batch["seconds"]["adapter"]) == len(batch["seconds"]["library"]) == 2
    assert name == "kl" or batch["codes_in_use"] > 0.3
    found = child.whole(todo)
    assert found["differing_codes"] == 0
    assert found["codes"] <= np.prod(found["real_values"] or found["ids"])
    assert found["greatest_difference"] < 1e-5
    assert found["opened_mb"] <= found["peak_mb"] <= child.peak_mb()


def test_one_item_and_memory_of_sound(benches: Benches, task: Callable[..., Any]) -> None:
    child, todo = benches("_hub_child"), task("encodec48", minutes=0.05)
    figures = child.single(todo)
    for way in ("encode", "decode"):
        shares = figures[way]["overhead"]
        assert -1 < shares["quarter"] <= shares["median"] <= shares["three_quarters"]
    found = child.growth(todo)
    assert found["clip_mb"] == 0.05 * 60 * 8000 * 2 * 4 / 1e6
    assert found["opened_mb"] <= found["encode_peak_mb"] <= found["peak_mb"]


def test_every_code_that_differs_is_counted(benches: Benches) -> None:
    library = benches("_hub_library")
    pieces = (np.arange(8).reshape(2, 4), np.arange(6).reshape(2, 3))
    ids = np.concatenate([np.full((2, 2), 9), pieces[0], np.full((2, 2), 9), pieces[1]], 1)
    coded = library.Coded(pieces, None)
    assert library.differing(Tokens("a", "b", ids, (11,)), coded) == (0, 14)
    ids[0, 0] = ids[1, 7] = 8  # in front of segments, where the library has no codes
    assert library.differing(Tokens("a", "b", ids, (11,)), coded) == (0, 14)
    ids[1, 2] = ids[0, 10] = 60
    assert library.differing(Tokens("a", "b", ids, (11,)), coded) == (2, 14)
    with pytest.raises(InvalidInput, match="the library"):
        library.differing(Tokens("a", "b", ids[:1], (11,)), coded)


def test_a_process_of_its_own_measures(
    benches: Benches, task: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    child, todo = benches("_hub_child"), task("encodec48", minutes=0.02)
    found = child.in_child(replace(todo, part="growth"))
    assert found["minutes"] == 0.02
    assert found["versions"]["transformers"][0].isdigit()
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(InvalidInput, match="^growth of encodec48: exit code 1$"):
        child.in_child(replace(todo, part="growth"))


@pytest.fixture
def bench(
    benches: Benches, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the command with measurements that are quick, and its JSON."""
    hub, out = benches("hub"), tmp_path / "hub.json"
    ratio = {"min": 1.0, "median": 1.1, "max": 1.2}

    def measured(task: Any) -> dict[str, Any]:
        if task.part == "single":
            raise InvalidInput(f"single of {task.name}: not today")
        return {
            "make": {"parameters": 3},
            "growth": {
                "minutes": task.minutes, "clip_mb": 1.0, "opened_mb": 2.0, "encode_peak_mb": 3.0,
                "peak_mb": 4.0,
            },
            "throughput": {
                "items": task.count, "per_second": {"adapter": 5.0}, "ratio": ratio,
                "differing_codes": 0, "codes": 7, "codes_in_use": None,
            },
        }[task.part]  # fmt: skip

    def memory(codec: str, seconds: float, rate: int, channels: int) -> dict[str, Any]:
        step = {"peak_mb": 900.0, "seconds": seconds / 2, "times": 2.0}
        assert (rate, channels) == (24_000, 1)
        return {"codec": codec, "seconds": seconds, "steps": {"compress": step}}

    monkeypatch.setattr(hub, "in_child", measured)
    monkeypatch.setattr(hub, "memory", memory)
    monkeypatch.setattr(benches("_hub_models").Published, "sound_in", lambda *_: (24_000, 1))

    def run(*arguments: str) -> dict[str, Any]:
        spec = importlib.util.spec_from_file_location("bench_under_test", SCRIPTS / "bench.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        command = ["scripts/bench.py", "hub", "--out", str(out), *arguments]
        monkeypatch.setattr(sys, "argv", command)
        try:
            module.main()
        finally:
            found: dict[str, Any] = json.loads(out.read_text())
        return found

    return run


def test_parts_are_measured_one_by_one_and_kept(
    bench: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    bench("--only", "dac,janus", "--parts", "throughput,growth", "--minutes", "1,2")
    assert "| DAC, 44.1 kHz" in capsys.readouterr().out
    found = bench("--only", "mimi", "--parts", "hour", "--seconds", "60")
    codecs = found["codecs"]
    assert list(codecs) == ["dac", "janus", "mimi"]
    assert [each["minutes"] for each in codecs["dac"]["growth"]] == [1, 2]
    assert codecs["dac"]["throughput"]["items"] == 32
    assert "growth" not in codecs["janus"]  # it is not of sound
    assert codecs["mimi"]["hour"]["codec"] == "mimi"  # and no folder of this machine
    assert found["environment"]["command"].startswith("python scripts/bench.py hub")
    measured = {name: codecs[name]["measured"] for name in codecs}
    assert set(measured["dac"]) == {"throughput", "growth"}
    assert "--only dac,janus" in measured["dac"]["growth"]["command"]
    assert "--only mimi" in measured["mimi"]["hour"]["command"]
    assert "900" in capsys.readouterr().out


def test_what_fails_is_said_behind_the_rest(bench: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(SystemExit, match="bench: single of dac: not today"):
        bench("--only", "dac", "--parts", "single,growth")
    with pytest.raises(SystemExit, match=r"unknown codecs \['x'\]; known: encodec24"):
        bench("--only", "x")
    codecs = bench("--only", "mimi", "--parts", "throughput")["codecs"]
    assert [set(codecs[name]) & {"single", "growth"} for name in codecs] == [{"growth"}, set()]
