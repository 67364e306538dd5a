"""The benchmarks of whole data sets, and what is computed from them: the parts that are quick."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from omnicodec.codecs import Image, InvalidInput
from omnicodec.service.batch.engines.base import Committed, Engine, Event, Progress

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
Benches = Callable[[str], ModuleType]


@pytest.fixture
def benches(monkeypatch: pytest.MonkeyPatch) -> Benches:
    monkeypatch.syspath_prepend(SCRIPTS)
    return lambda name: importlib.import_module(f"benches.{name}")


class Stand(Engine):
    """Commits a shard at each second of a clock that is its own."""

    def __init__(self) -> None:
        self.now = 0.0

    def run(self, folder: Path, shards: Sequence[int]) -> Iterator[Event]:
        for shard in shards:
            self.now += 1.0
            yield Progress(shard, 16, 0, 0, 0)
            yield Committed(shard)


def test_starts_and_ends_are_not_counted(
    benches: Benches, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rates, stand = benches("_batch_rates"), Stand()
    monkeypatch.setattr(rates.time, "perf_counter", lambda: stand.now)
    timed = rates.Timed(stand)
    assert sum(type(event) is Committed for event in timed.run(tmp_path, range(12))) == 12
    seconds, shards = timed.steady(2)
    # Two of each worker at first, and one of each at last; what is timed lies between two ends.
    assert shards == [4, 5, 6, 7, 8, 9, 10]
    assert seconds == len(shards)
    with pytest.raises(InvalidInput, match="too few"):
        timed.steady(5)


def test_ways_take_turns_and_ratios_are_of_rounds(benches: Benches) -> None:
    rounds, asked = benches("_batch_rates").Rounds(), []
    rates = {"a": iter((1.0, 2.0, 4.0)), "b": iter((2.0, 2.0, 2.0))}

    def way(name: str) -> Callable[[], float]:
        def ask() -> float:
            asked.append(name)
            return next(rates[name])

        return ask

    rounds.measure({name: way(name) for name in rates}, 3)
    assert "".join(asked) == "abbaab"
    figures = rounds.to_dict([("a", "b")])
    assert figures["ratios"] == {"a / b": {"min": 0.5, "median": 1.0, "max": 2.0}}
    (row,) = benches("_batch_rates").ratio_rows("x", json.loads(json.dumps(figures)))
    assert row[:2] == ["x", "a / b"]


def test_media_are_always_the_same(benches: Benches, tmp_path: Path) -> None:
    media = benches("_batch_media")
    for name in ("a", "b"):
        assert media.jpegs(tmp_path / name, 2, 40) > 1000
    first, again = (sorted((tmp_path / name).iterdir()) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert Image.open(first[0]).pixels.shape == (40, 40, 3)
    texts = media.texts(30)
    assert texts == media.texts(30)
    assert len(set(texts)) == 30
    assert {len(text) for text in texts} == {media.TEXT_BYTES}


def test_memory_is_that_of_a_process_and_all_below_it(benches: Benches) -> None:
    long = benches("_batch_long")
    script = "import subprocess, sys; subprocess.run(['sleep', '30'])"
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        try:
            while len(found := long._tree(process.pid)) < 2:
                assert process.poll() is None
            assert found[0] == process.pid
            assert long._resident(process.pid) > 1 << 20
        finally:
            for pid in reversed(long._tree(process.pid)):
                subprocess.run(["kill", str(pid)], check=False)
    assert long._resident(process.pid) == 0


@pytest.fixture
def scale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale_under_test", SCRIPTS / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale_under_test"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def figures(seconds: float = 1e-6) -> tuple[dict[str, Any], dict[str, Any]]:
    codec = {
        "item": "one", "effort": "", "tokens": 1.0, "core_seconds": seconds, "unit": "unit",
        "core_seconds_per_million_tokens": 1.0, "core_seconds_per_unit": seconds,
        "tokens_per_unit": 0.5,
    }  # fmt: skip
    storing = {"bytes_per_token": 4.0, "core_seconds_per_token": seconds / 10}
    opening = {"unit": "unit", "core_seconds_per_unit": seconds / 4, "bytes_per_unit": 0.25}
    names = ("image/vq", "audio/rvq", "text/bpe")
    forms = ("image/vq parquet", "audio/rvq megatron", "text/bpe megatron")
    cost = {
        "environment": {"cpu": "a core", "torch": "2"},
        "codecs": dict.fromkeys(names, codec),
        "storing": dict.fromkeys(forms, storing),
        "opening": {"image": opening, "audio": opening},
    }
    ratios = {
        "local, 2 workers / local, 1 worker": {"median": 1.6},
        "Ray, 2 workers / local, 2 workers": {"median": 0.9},
    }
    rates = {"Ray, 2 workers": 1.0}
    batch = {
        "pictures": {"image/vq": {"ratios": ratios, "per_second": rates}},
        "driver": {"told": {"shards_per_second": 1000.0}},
    }
    return cost, batch


def test_what_a_data_set_takes_is_the_sum_of_what_was_measured(scale: ModuleType) -> None:
    cost, batch = figures()
    share, how = scale.share_of_cores(batch)
    assert share == pytest.approx(0.9 * 1.6 / 2)
    assert "2 workers" in how
    image, _, text = (scale.need(plan, cost) for plan in scale.plans(cost))
    units = 1e9 * 512 * 512
    assert image.core_seconds == pytest.approx(units * (1e-6 + 0.25e-6 + 0.5 * 0.1e-6))
    assert (image.read, image.written) == pytest.approx((units / 4, units * 0.5 * 4))
    assert image.days(16, 0.5) == pytest.approx(image.core_seconds / 8 / 86_400)
    assert text.seconds["opening files"] == 0
    assert text.read == 1e13


def test_the_page_names_what_is_scarcest(scale: ModuleType) -> None:
    for seconds, words in ((1e-6, "the processors"), (1e-12, "the nodes' network")):
        cost, batch = figures(seconds)
        (line,) = [x for x in scale.page(cost, batch).splitlines() if x.startswith("- **10^9")]
        assert words in line
    batch["driver"]["told"]["shards_per_second"] = 1e-9
    assert "the driver" in scale.page(cost, batch)


def test_results_that_are_not_whole_are_one_line(
    scale: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["scale.py", "--results", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^scale: .*\.json is not whole"):
        scale.main()
    (tmp_path / "cost.json").write_text("{}")
    (tmp_path / "batch.json").write_text("{}")
    with pytest.raises(SystemExit, match="KeyError"):
        scale.main()
