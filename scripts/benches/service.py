"""The server under load: throughput beside encoding in process, latency, overload."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import grpc
import numpy as np
from benches._pairs import alternate
from benches._pictures import pictures

from omnicodec.codecs import Audio, Media, OmnicodecError, Text, Unavailable, load
from omnicodec.service.convert import media_to_proto
from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.table import markdown, number
from omnicodec.v1 import codec_service_pb2 as pb
from omnicodec.v1.codec_service_pb2_grpc import CodecServiceStub

TRAINED: Final = ("image/vq", "image/vq8", "image/rate", "image/inr", "audio/rvq", "text/bpe",
                  "text/patch")  # fmt: skip
SLOW: Final = {"image/inr": 8}
"""Codecs that get as many items less."""
WORDS: Final = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had
an they which one you were all her she there would their we him been has when who will more no if
out so said what up its about into than them can only other new some could time these two may then
do first any my now such like our over man me even most made after also did many before must through
years where much your way well down should because each just those people how too little state good
very make world still own see men work long get here between both life being under never day same
another know while last might us great old year off come since against go came right used take three
""".split()  # noqa: SIM905  # as a list it has 120 lines
SECONDS: Final = 2.0
ANY_SIZE: Final = [("grpc.max_receive_message_length", -1)]
"""Of answers; of its own gRPC takes 4 MiB."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--codecs", default=",".join(TRAINED), help="default: %(default)s")
    parser.add_argument("--items", type=int, default=128, help="a round; default: %(default)s")
    parser.add_argument("--per-call", type=int, default=16, help="items; default: %(default)s")
    parser.add_argument("--clients", type=int, default=8, help="at once; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--calls", type=int, default=200, help="at idle; default: %(default)s")
    parser.add_argument("--overload-seconds", type=float, default=20, help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="default: %(default)s")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    names = options.codecs.split(",")
    results: dict[str, Any] = {}
    header = [f"{options.items} items, {options.clients} clients", "items/s", "ratio min",
              "median", "max", "batches of 1: ratio", "added ms p50", "p95"]  # fmt: skip
    rows = []
    for name in names:
        figures = _codec(options, name)
        results[name] = figures
        share, batched, added = (figures[k] for k in ("in_process", "batches", "added_ms"))
        rows.append([
            name, number(share["per_second"]["server"]),
            *(number(share["ratio"][k]) for k in ("min", "median", "max")),
            number(batched["ratio"]["median"]), number(added["p50"]), number(added["p95"]),
        ])  # fmt: skip
    table = markdown(header, rows)
    overload = _overload(options, names[0])
    results["overload"] = overload
    title = f"{names[0]}, one item a call"
    columns = [title, "accepted/s", "p50 ms", "p99 ms", "refused", "refusal p99 ms", "MB"]
    lines = [
        [row, *(number(overload[row][key]) for key in
                ("per_second", "p50", "p99", "refused", "refusal_p99", "megabytes"))]
        for row in ("full load", "twice that")
    ]  # fmt: skip
    environment = Environment.here(options.device)
    return f"{table}\n\n{markdown(columns, lines)}\n\n{environment}\n", results


def _codec(options: argparse.Namespace, name: str) -> dict[str, Any]:
    codec = load(name, device=options.device)
    items = media_for(name, options.items // SLOW.get(name, 1))
    each = max(1, min(options.per_call, len(items) // options.clients))
    parts = [items[i : i + each] for i in range(0, len(items), each)]
    requests = [_request(name, part) for part in parts]
    with (
        server(options, name) as (_, address),
        server(options, name, OMNICODEC_MAX_BATCH="1") as (_, alone),
        grpc.insecure_channel(address, options=ANY_SIZE) as channel,
        grpc.insecure_channel(alone, options=ANY_SIZE) as channel_alone,
        ThreadPoolExecutor(options.clients) as threads,
    ):
        ways = {
            where: CodecServiceStub(c).Encode
            for where, c in (("server", channel), ("batches of 1", channel_alone))
        }

        def over(where: str) -> Callable[[], list[Any]]:
            return lambda: list(threads.map(ways[where], requests))

        answers = [tokens.ids for answer in over("server")() for tokens in answer.tokens]
        if answers != [t.ids.astype("<i4").tobytes() for t in codec.encode(items)]:
            raise OmnicodecError(f"the server's tokens of {name} differ from those in process")
        in_process = alternate(
            {"server": over("server"), "in process": lambda: codec.encode(items)},
            work=len(items), rounds=options.rounds,
        )  # fmt: skip
        batches = alternate(
            {"server": over("server"), "batches of 1": over("batches of 1")},
            work=len(items), rounds=options.rounds,
        )  # fmt: skip
        one = _request(name, items[:1])
        added = _added(options.calls, lambda: ways["server"](one), lambda: codec.encode(items[:1]))
    return {
        "in_process": in_process.to_dict(),
        "batches": batches.to_dict(),
        "added_ms": added,
    }


def _added(calls: int, over: Callable[[], Any], here: Callable[[], Any]) -> dict[str, float]:
    """Return what a call takes longer than the same work in process, in ms, taken in turn."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(calls):
        for way, work in ((True, over), (False, here)):
            began = time.perf_counter()
            work()
            seconds[way].append(time.perf_counter() - began)
    base = median(seconds[False])
    added = [1e3 * (each - base) for each in seconds[True]]
    return {"p50": median(added), "p95": quantiles(added, n=20)[-1], "in_process_ms": 1e3 * base}


@dataclass
class Seen:
    """What happened to calls."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


def _overload(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Send single items at the rate that the server just bears, then at twice that."""
    request = _request(name, media_for(name, 1))
    with (
        server(options, name) as (pid, address),
        grpc.insecure_channel(address, options=ANY_SIZE) as channel,
    ):
        encode = CodecServiceStub(channel).Encode
        with ThreadPoolExecutor(8) as threads:  # so many are never turned away, and keep it busy
            count, ends = 0, time.monotonic() + SECONDS
            while time.monotonic() < ends:
                count += len(list(threads.map(lambda _: encode(request), range(32))))
        rate = count / (time.monotonic() - ends + SECONDS)
        found = {}
        for title, factor in (("full load", 1.0), ("twice that", 2.0)):
            seen = _at_rate(encode, request, factor * rate, options.overload_seconds)
            if seen.others:
                raise OmnicodecError(f"at {title}: {dict(seen.others)}")
            found[title] = {
                "offered_per_second": factor * rate,
                "per_second": len(seen.accepted) / options.overload_seconds,
                "p50": 1e3 * median(seen.accepted),
                "p99": 1e3 * quantiles(seen.accepted, n=100)[-1],
                "refused": len(seen.refused),
                "refusal_p99": 1e3 * quantiles([*seen.refused, 0.0, 0.0], n=100)[-1],
                "megabytes": _megabytes(pid),
            }
    return found


def _at_rate(encode: Any, request: Any, rate: float, seconds: float) -> Seen:
    """Send at a rate, whatever the answers: Poisson arrivals, as those of many clients are."""
    seen, pending = Seen(), threading.Semaphore(0)
    gaps = np.random.default_rng(1).exponential(1 / rate, max(1, int(rate * seconds)))
    at = time.monotonic()
    for gap in gaps:
        at += gap
        time.sleep(max(0.0, at - time.monotonic()))
        began = time.monotonic()
        future = encode.future(request, timeout=60)

        def done(future: Any, began: float = began) -> None:
            took = time.monotonic() - began
            with seen.lock:
                if future.code() == grpc.StatusCode.OK:
                    seen.accepted.append(took)
                elif future.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                    seen.refused.append(took)
                else:
                    seen.others[future.code().name] += 1
            pending.release()

        future.add_done_callback(done)
    for _ in gaps:
        pending.acquire()
    return seen


def _megabytes(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return float("nan")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else float("nan")


def media_for(codec: str, count: int) -> list[Media]:
    """Return items of a codec's modality: pictures, two seconds of sound, or 2 KB of text."""
    rng = np.random.default_rng(0)
    if codec.startswith("image/"):
        return list(pictures(None, count))
    if codec.startswith("audio/"):
        t = np.arange(48_000) / 24_000
        pitches = rng.uniform(80, 900, (count, 4, 1))
        waves = (np.sin(2 * np.pi * pitches * t) * rng.uniform(0.02, 0.2, pitches.shape)).sum(1)
        return [Audio(wave[None].astype(np.float32), 24_000) for wave in waves]
    # Words and not letters by chance, which `text/patch` would spell: several times the work.
    return [Text(" ".join(rng.choice(WORDS, 400))) for _ in range(count)]


def _request(codec: str, items: Sequence[Media]) -> pb.EncodeRequest:
    return pb.EncodeRequest(codec=codec, items=map(media_to_proto, items))


def _drop(lines: Iterator[str]) -> None:
    with suppress(ValueError):  # closed
        for _ in lines:
            pass


@contextmanager
def server(options: argparse.Namespace, codec: str, **more: str) -> Iterator[tuple[int, str]]:
    """Run a server in a process of its own, with as many threads; yield its id and address."""
    import torch

    command = [sys.executable, "-m", "omnicodec.service.cli", "serve", "--listen", "127.0.0.1:0"]
    command += ["--preload", codec, "--device", options.device]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), **more}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            for line in process.stderr or ():
                said += line
                if found := re.search(r"127\.0\.0\.1:\d+", line):
                    threading.Thread(target=_drop, args=(process.stderr,), daemon=True).start()
                    yield process.pid, found[0]
                    return
            raise Unavailable(f"the server did not start: {said.strip()}")
        finally:
            process.terminate()
