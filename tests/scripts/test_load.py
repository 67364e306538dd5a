"""The load generator: its arrivals, its checks of answers, its figures, and a short run."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from omnicodec.codecs import InvalidInput, load
from omnicodec.service.server import running_server

Loads = Callable[[str], Any]

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """Return a function that imports a file of scripts/loads."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return lambda name: importlib.import_module(f"loads.{name}")


@pytest.fixture
def program(loads: Loads) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("load_under_test", SCRIPTS / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    assert loads("figures") is module.figures


def plan(loads: Loads, **how: Any) -> Any:
    return loads("traffic").Plan("host:1", {"text": 1.0}, Path(), **how)


def arrivals(loads: Loads, made: Any) -> list[float]:
    loads("items").save({"text": loads("items").expected("text", "cpu")}, made.folder)
    return list(loads("traffic")._Traffic(made, None)._arrivals())


def test_arrivals_are_a_poisson_process(loads: Loads, tmp_path: Path) -> None:
    made = plan(loads, rate=50.0, seconds=400.0)
    made = loads("traffic").replace(made, folder=tmp_path)
    times = arrivals(loads, made)
    gaps = np.diff(times)
    assert times == sorted(times)
    assert times[-1] < 400
    assert abs(len(times) - 20_000) < 5 * 20_000**0.5
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05
    assert arrivals(loads, made) == times  # the same seed


def test_a_day_has_a_night(loads: Loads, tmp_path: Path) -> None:
    made = plan(loads, rate=50.0, seconds=240.0, day=240.0)
    times = np.array(arrivals(loads, loads("traffic").replace(made, folder=tmp_path)))
    noon = ((times > 110) & (times < 130)).sum()
    night = (times < 20).sum()
    assert noon > 5 * night > 0
    assert made.rate_at(0) == pytest.approx(2.5)
    assert made.rate_at(120) == pytest.approx(50)


def test_work_is_shared_out(loads: Loads) -> None:
    parts = [plan(loads, rate=9.0, clients=10, requests=101).share(i, 3) for i in range(3)]
    assert [part.clients for part in parts] == [4, 3, 3]
    assert sum(part.requests for part in parts) == 101
    assert sum(part.rate for part in parts) == pytest.approx(9)
    assert len({part.seed for part in parts}) == 3


def test_mixes(loads: Loads) -> None:
    parse = loads("items").parse_mix
    assert parse("text=6,image=2") == {"text": 0.75, "image": 0.25}
    assert parse("text") == {"text": 1}
    for wrong in ("", "smell=1", "text=0", "text=x", "text=-1", "text=nan"):
        with pytest.raises(InvalidInput):
            parse(wrong)


class MixedUp:
    """A client of a server that answers with what belongs to another request."""

    def __init__(self, shift: int) -> None:
        self._shift = shift
        self._last: list[Any] = []

    async def encode(self, items: list[Any], codec: str) -> list[Any]:
        self._last += load(codec).encode(items)
        return [self._last[max(0, len(self._last) - 1 - self._shift)]]


@pytest.mark.parametrize("kind", ["text", "image"])
def test_answers_that_are_mixed_up_are_seen(loads: Loads, tmp_path: Path, kind: str) -> None:
    items = loads("items")
    items.save({kind: items.expected(kind, "cpu")}, tmp_path)
    request = items.requester(kind, tmp_path)
    right = MixedUp(0)
    for number in range(3):
        asyncio.run(request(right, number))
    wrong = MixedUp(1)
    asyncio.run(request(wrong, 0))
    with pytest.raises(items.WrongAnswer, match="request 1: "):
        asyncio.run(request(wrong, 1))


def test_items_are_always_the_same(loads: Loads) -> None:
    items = loads("items")
    for kind in items.CODECS:
        assert items.items(kind) == items.items(kind)
        pairs = itertools.combinations(items.items(kind), 2)
        assert all(a != b for a, b in pairs)


def samples(loads: Loads, outcomes: list[str]) -> list[Any]:
    sample = loads("traffic").Sample
    return [sample("text", i, i + 0.1 * (i + 1), outcome) for i, outcome in enumerate(outcomes)]


def test_figures_and_plots(loads: Loads) -> None:
    figures = loads("figures")
    made = samples(loads, ["OK", "OK", "REFUSED", "UNAVAILABLE", "OK"])
    found = figures.figures(made, 10.0)
    assert found["all"]["per_second"] == 0.3
    assert found["all"]["offered_per_second"] == 0.5
    assert found["all"]["latency_ms"]["p50"] == pytest.approx(200)
    assert found["all"]["refused_latency_ms"]["p99"] == pytest.approx(300)
    assert found["text"]["outcomes"] == {"OK": 3, "REFUSED": 1, "UNAVAILABLE": 1}
    assert "| UNAVAILABLE 1 |" in figures.table({"run": found})
    plot = figures.over_time(made)
    assert plot.startswith("<svg ")
    assert "refused" in plot
    assert figures.figures([])["all"]["per_second"] is None


def test_what_was_lost_or_wrong_is_a_failure(loads: Loads) -> None:
    modes = loads("modes")
    whole = modes._figures(samples(loads, ["OK"] * 3), 3, 1.0)
    lost = modes._figures(samples(loads, ["OK"] * 3), 5, 1.0)
    wrong = modes._figures(samples(loads, ["OK", "WRONG"]), 2, 1.0)
    assert modes.verdict({"a": whole}) == []
    (first, second) = modes.verdict({"b": lost, "c": wrong})
    assert "b: 2 requests never ended" in first
    assert "c: 1 wrong answers" in second


def test_growth_is_what_traffic_does_not_explain(loads: Loads) -> None:
    times = np.linspace(0, 100, 200)
    rates = 20 - 19 * np.cos(2 * np.pi * times / 100)
    growth = loads("servers").growth
    flat = growth(list(times), list(200 + 3 * rates), list(rates))
    leak = growth(list(times), list(200 + 3 * rates + 0.5 * times), list(rates))
    assert flat == pytest.approx(0, abs=1e-9)
    assert leak == pytest.approx(0.5)


def test_usage_is_that_of_a_process(loads: Loads) -> None:
    import os

    found = loads("servers").usage(os.getpid())
    assert found.memory > 1 << 20
    assert found.threads >= 1
    assert found.files >= 3
    with pytest.raises(OSError):  # noqa: PT011
        loads("servers").usage(2**22 + 1)


def test_a_short_run(
    program: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "results" / "load-rate.json"
    with running_server() as server:
        arguments = ["--server", server.address, "--rate", "40", "--seconds", "1", "--mix", "text"]
        arguments += ["--processes", "1", "--connections", "2", "-o", str(out)]
        monkeypatch.setattr(sys, "argv", ["scripts/load.py", *arguments])
        program.main()
    result = json.loads(out.read_text())
    run = result["runs"]["rate"]
    assert run["all"]["outcomes"] == {"OK": run["begun"]}
    assert (run["lost"], run["wrong"], run["errors"]) == (0, [], [])
    assert result["environment"]["command"].startswith("python scripts/load.py --server ")
    assert out.with_suffix(".svg").read_text().startswith("<svg ")
    assert "| rate " in capsys.readouterr().out


def test_what_makes_no_sense(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, says in (
        (["--server", "x:1", "--soak", "1m"], "started here"),
        (["--rate", "1", "--mix", "smell"], "a mix is like"),
    ):
        monkeypatch.setattr(sys, "argv", ["load.py", *arguments])
        with pytest.raises(SystemExit, match=says):
            program.main()
    assert program._seconds("15m") == 900
    assert program._options(["--rate", "1", "--", "--max-batch", "8"])[1] == ["--max-batch", "8"]
