"""What the load generator does in each mode; each returns figures by the name of a run."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any, Final

from loads import figures, servers, traffic
from loads.traffic import OK, REFUSED, Plan, Sample

from omnicodec.codecs import OmnicodecError

_WARM_SECONDS: Final = 3.0
_WARM_SHARE: Final = 0.2
"""Of a soak: what its beginning makes warm is not a leak, which goes on to the end."""

_FULL: Final = 0.9
"""Of what a server does at most: at exactly that, a queue grows by chance alone."""

Runs = dict[str, dict[str, Any]]


def at_rate(plan: Plan, processes: int) -> tuple[Runs, list[Sample]]:
    """Send at a rate, whatever comes back."""
    samples, begun = traffic.run(plan, processes)
    return {"rate": _figures(samples, begun, plan.seconds)}, samples


def saturated(plan: Plan, processes: int) -> tuple[Runs, list[Sample]]:
    """Send as fast as answers come, to as many clients as the plan has."""
    samples, begun = traffic.run(replace(plan, rate=None), processes)
    return {"saturated": _figures(samples, begun, plan.seconds)}, samples


def overloaded(plan: Plan, processes: int, times: float) -> tuple[Runs, list[Sample]]:
    """Find out what the server does at most, then send most of it, then `times` all of it."""
    warm = replace(plan, rate=None, seconds=_WARM_SECONDS)
    traffic.run(warm, processes)
    runs, _ = saturated(plan, processes)
    most = runs["saturated"]["all"]["per_second"]
    if not most:
        raise OmnicodecError("the server answered nothing")
    # Who is refused does not come back here: that is what is counted.
    once = {**plan.connect, "retries": 0}
    last: list[Sample] = []
    for name, rate in ((f"{_FULL:g} x", _FULL * most), (f"{times:g} x", times * most)):
        last, begun = traffic.run(replace(plan, rate=rate, connect=once), processes)
        runs[name] = _figures(last, begun, plan.seconds)
    full, over = (list(runs.values())[i]["all"]["latency_ms"] for i in (1, 2))
    if full and over:
        runs[f"{times:g} x"]["p99_of_full"] = over["p99"] / full["p99"]
    return runs, last


def killed(
    plan: Plan, processes: int, server: servers.ServerProcess, kills: int
) -> tuple[Runs, list[Sample]]:
    """Have many clients send a number of requests, and kill the server on the way."""
    assert plan.requests is not None
    marks = [plan.requests * (i + 1) // (kills + 1) for i in range(kills)]
    restarting: list[threading.Thread] = []

    def restart() -> None:
        server.kill()
        server.start()

    def watch(ended: int) -> None:
        busy = restarting and restarting[-1].is_alive()
        if len(restarting) < kills and ended >= marks[len(restarting)] and not busy:
            restarting.append(threading.Thread(target=restart))
            restarting[-1].start()

    samples, begun = traffic.run(plan, processes, watch)
    for thread in restarting:
        thread.join()
    run = _figures(samples, begun, None)
    run["kills"] = len(restarting)
    return {f"{plan.clients} clients": run}, samples


def soaked(
    plan: Plan, processes: int, server: servers.ServerProcess
) -> tuple[Runs, list[Sample], str]:
    """Send a day's traffic in less time; return also a plot of what the server used meanwhile."""
    assert plan.day is not None
    traffic.run(replace(plan, day=None, seconds=_WARM_SECONDS), processes)
    with servers.Watcher(server.pid, plan.seconds / 900) as watcher:
        samples, begun = traffic.run(plan, processes)
    seen = watcher.samples
    times = [u.at - seen[0].at for u in seen]
    rates = [plan.rate_at(t) for t in times]
    used = {
        "memory_MB": [u.memory / 1e6 for u in seen],
        "files": [float(u.files) for u in seen],
        "threads": [float(u.threads) for u in seen],
    }
    run = _figures(samples, begun, plan.seconds)
    for name, values in used.items():
        skip = int(_WARM_SHARE * len(values))
        run[name] = {
            "first": values[0],
            "last": values[-1],
            "largest": max(values),
            "growth": servers.growth(times[skip:], values[skip:], rates[skip:]) * plan.seconds,
        }
    panels: list[tuple[str, list[float], figures.Series]] = [
        ("memory, MB", times, {"memory": used["memory_MB"]}),
        ("open files and threads", times, {k: used[k] for k in ("files", "threads")}),
    ]
    return {"soak": run}, samples, figures.svg(panels)


def verdict(runs: Runs) -> list[str]:
    """Return what is wrong with answers: wrong ones, and requests that never ended."""
    wrong = []
    for name, run in runs.items():
        if count := run["all"]["outcomes"].get(traffic.WRONG, 0):
            wrong.append(f"{name}: {count} wrong answers, such as {run['wrong'][0]}")
        if run["lost"]:
            wrong.append(f"{name}: {run['lost']} requests never ended")
    return wrong


def _figures(samples: list[Sample], begun: int, seconds: float | None) -> dict[str, Any]:
    run = figures.figures(samples, seconds)
    kinds = {k: v for k, v in run.items() if k not in ("seconds", "all")}
    others = [s.said for s in samples if s.outcome not in (OK, REFUSED, traffic.WRONG)]
    return {
        "seconds": run["seconds"],
        "all": run["all"],
        "kinds": kinds,
        "begun": begun,
        "lost": begun - len(samples),
        "wrong": [s.said for s in samples if s.outcome == traffic.WRONG][:5],
        "errors": sorted(set(others))[:10],
    }
