"""A load generator: mixed requests to a server, each answer checked, at rates it does not choose.

    python scripts/load.py --rate 50 --seconds 30          by chance, 50 requests a second
    python scripts/load.py --saturate                      as many as are answered
    python scripts/load.py --overload 2                    twice what is answered at most
    python scripts/load.py --clients 1000 --requests 100000 --kill-server 2
    python scripts/load.py --soak 15m --rate 30            a day of traffic in 15 minutes

Without --server one is started, with the arguments behind `--`: `-- --max-batch 8`. Requests come
from several processes and connections, in the proportions of --mix; the codecs run in this
process first, and every answer is compared with theirs. Prints a table, writes figures to
docs/results/load-MODE.json and a plot beside them, and fails when an answer is wrong or lost.

loads/items.py has what requests carry, traffic.py how they are sent, servers.py what is done to
the server, modes.py what each mode does, figures.py tables and plots.

Nothing else should run on the machine meanwhile; clients on the machine of the server take
their part of it.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from loads import figures, items, modes, servers
from loads.traffic import Plan

from omnicodec.codecs import InvalidInput, OmnicodecError
from omnicodec.codecs.files import atomic_write
from omnicodec.service.evaluate import Environment

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"


def main() -> None:
    options, behind = _options(sys.argv[1:])
    try:
        failures = run(options, behind)
    except OmnicodecError as e:
        sys.exit(f"load: {e}")
    if failures:
        sys.exit("\n".join(f"load: {failure}" for failure in failures))


def run(options: argparse.Namespace, behind: list[str]) -> list[str]:
    """Do what is asked for and write it down; return what is wrong with the answers."""
    mode = _mode(options)
    mix = items.parse_mix(options.mix)
    if options.server and (options.kill_server or mode == "soak"):
        raise InvalidInput("only a server that is started here is killed, or watched for a soak")
    with tempfile.TemporaryDirectory() as name, _server(options, behind, mix) as server:
        folder = Path(name)
        items.save({kind: items.expected(kind, options.device) for kind in mix}, folder)
        connect = {"timeout": options.timeout, "token": options.token}
        connect |= {k: getattr(options, k) for k in ("ca", "certificate", "key")}
        plan = Plan(
            target=server.address if server else options.server,
            mix=mix,
            folder=folder,
            seconds=options.seconds,
            rate=options.rate,
            clients=options.clients or options.concurrency,
            connections=options.connections,
            connect=connect,
        )
        before = servers.batches(options.metrics)
        runs, samples, plots = _do(mode, plan, options, server)
        sizes = _batch_sizes(before, servers.batches(options.metrics))
    environment = Environment.here(options.device)
    told = figures.table({n: _flat(r) for n, r in runs.items()})
    result: dict[str, Any] = {
        "load": mode,
        "environment": asdict(environment),
        "mix": mix,
        "processes": options.processes,
        "server": behind,
        "batch_sizes": sizes,
        "runs": runs,
    }
    out = options.out or RESULTS / f"load-{mode}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(out, json.dumps(result, indent=1).encode() + b"\n")
    if samples:
        plots = {"": figures.over_time(samples), **plots}
    for what, plot in plots.items():
        atomic_write(out.with_name(f"{out.stem}{what}.svg"), plot.encode())
    print(told)
    for codec, size in sizes.items():
        print(f"{codec}: {size:.2f} items a batch")
    for run_name, found in runs.items():
        for key in ("p99_of_full", "kills", "memory_MB", "files", "threads"):
            if key in found:
                print(f"{run_name}: {key} {json.dumps(found[key])}")
        for error in found["errors"]:
            print(f"{run_name}: error: {error}")
    print(f"\n{environment}")
    return modes.verdict(runs)


def _do(
    mode: str, plan: Plan, options: argparse.Namespace, server: servers.ServerProcess | None
) -> tuple[modes.Runs, list[Any], dict[str, str]]:
    processes = options.processes
    if mode == "rate":
        return *modes.at_rate(plan, processes), {}
    if mode == "saturate":
        return *modes.saturated(plan, processes), {}
    if mode == "overload":
        return *modes.overloaded(plan, processes, options.overload), {}
    if mode == "soak":
        assert server is not None
        day = replace(plan, seconds=options.soak, day=options.soak, rate=options.rate or 20.0)
        runs, samples, plot = modes.soaked(day, processes, server)
        return runs, samples, {"-server": plot}
    # Clients outlive a server that is killed: they ask until the next one has loaded its codecs.
    patient = {**plan.connect, "retries": options.retries}
    many = replace(plan, rate=None, seconds=math.inf, requests=options.requests, connect=patient)
    if server is None:
        return *modes.saturated(many, processes), {}
    return *modes.killed(many, processes, server, options.kill_server), {}


@contextmanager
def _server(
    options: argparse.Namespace, behind: list[str], mix: dict[str, float]
) -> Iterator[servers.ServerProcess | None]:
    if options.server:
        yield None
        return
    arguments = ["--device", options.device, *behind]
    for codec in sorted({items.CODECS[kind] for kind in mix}):
        arguments += ["--preload", codec]
    if options.metrics is None and "--metrics-listen" not in behind and _has_metrics():
        with socket.create_server(("127.0.0.1", 0)) as free:
            options.metrics = f"127.0.0.1:{free.getsockname()[1]}"
        arguments += ["--metrics-listen", options.metrics]
    with servers.ServerProcess(arguments) as server:
        yield server


def _has_metrics() -> bool:
    from importlib.util import find_spec

    return find_spec("prometheus_client") is not None


def _batch_sizes(
    before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]
) -> dict[str, float]:
    sizes = {}
    for codec, (count, total) in after.items():
        first = before.get(codec, (0.0, 0.0))
        # A server that was started again counts from 0.
        if count < first[0]:
            first = (0.0, 0.0)
        if count > first[0]:
            sizes[codec] = (total - first[1]) / (count - first[0])
    return sizes


def _flat(run: dict[str, Any]) -> dict[str, Any]:
    return {"seconds": run["seconds"], "all": run["all"], **run["kinds"]}


def _mode(options: argparse.Namespace) -> str:
    if options.soak:
        return "soak"
    if options.overload:
        return "overload"
    if options.clients:
        return "clients"
    if options.rate and not options.saturate:
        return "rate"
    return "saturate"


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90, 90s, 15m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _options(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    modes_of = parser.add_argument_group("modes")
    modes_of.add_argument("--rate", type=float, help="requests a second, by chance")
    modes_of.add_argument("--saturate", action="store_true", help="as many as are answered")
    modes_of.add_argument("--overload", type=float, metavar="TIMES", help="that, and TIMES as many")
    modes_of.add_argument("--clients", type=int, default=0, help="each with its own connection")
    modes_of.add_argument("--soak", type=_seconds, metavar="TIME", help="a day's traffic in TIME")
    add("--requests", type=int, default=10_000, help="of all --clients; default: %(default)s")
    add("--kill-server", type=int, default=0, metavar="N", help="times, with --clients")
    add("--retries", type=int, default=16, help="of each of --clients; default: %(default)s")
    add("--seconds", type=_seconds, default=20.0, help="of a run; default: %(default)s")
    add("--mix", default="text=6,compress=1,image=2,decode=1,audio=1", help="default: %(default)s")
    add("--processes", type=int, default=2, help="that send; default: %(default)s")
    add("--connections", type=int, default=4, help="of each process; default: %(default)s")
    add("--concurrency", type=int, default=32, help="of --saturate; default: %(default)s")
    add("--timeout", type=float, default=60.0, help="of a request; default: %(default)s")
    add("--device", default="auto", help="of a server started here; default: %(default)s")
    add("--server", metavar="HOST:PORT", help="default: one is started")
    add("--token", help="default: OMNICODEC_TOKEN")
    for name in ("ca", "certificate", "key"):
        add(f"--tls-{name}", dest=name, metavar="FILE", help="PEM")
    add("--metrics", metavar="HOST:PORT", help="of the server, for batch sizes")
    add("-o", "--out", type=Path, help="default: docs/results/load-MODE.json")
    return parser.parse_args(arguments[:split]), arguments[split + 1 :]


if __name__ == "__main__":
    main()
