"""Fuzz a server: requests of every method, mutated from a corpus, for a while.

    python scripts/fuzz.py --seconds 600 -o findings/

A server runs as a process of its own, with small limits. Requests are seeds (the hostile corpus of
tests/service/hostile/, and honest requests of every method of every service) whose bytes are
changed: flipped, cut, doubled, spliced with another seed, with numbers at their limits; or whose
fields are, which stays a message. Single requests go to unary methods, several to those that
stream. A finding is a server that ends, an answer later than `--patience` allows, a status that
means a bug (INTERNAL, UNKNOWN), memory or threads that keep growing, or an honest request that is
not served in between. Each is written to the folder with the method and the bytes that made it, and
`--again FILE` sends it once more. `--seed` makes a run that can be repeated.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import grpc
from fuzzing.mutations import MOST_BYTES, Method, Mutator, Seed
from google.protobuf import descriptor_pool, message_factory

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parent / "tests" / "service" / "hostile" / "corpus.py"

BUGS: Final = ("INTERNAL", "UNKNOWN")
GROWTH_BYTES: Final = 1 << 30
GROWTH_THREADS: Final = 64

SETTINGS: Final = {
    "max_message_bytes": 8 << 20, "max_queue_bytes": 64 << 20, "max_pixels": 1 << 20,
    "max_seconds": 30.0, "max_tokens": 1 << 20, "max_cost": 1 << 30, "open_seconds": 5.0,
    "max_item_bytes": 4 << 20, "max_stored_jobs": 50, "stream_idle_seconds": 5.0,
}  # fmt: skip

SERVER: Final = """
import asyncio, json, sys
from pathlib import Path
from omnicodec.service.server import ServerOptions, serve
settings = json.loads(sys.argv[1])
options = ServerOptions(listen="127.0.0.1:0", device="cpu", jobs=Path(sys.argv[2]), **settings)
asyncio.run(serve(options))
"""


class Fuzzer:
    """Sends requests, and writes down what they find."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.statuses: Counter[str] = Counter()
        self.findings = 0
        self.lock = threading.Lock()

    def found(self, what: str, method: str, messages: list[bytes]) -> None:
        """Write a finding down."""
        with self.lock:
            self.findings += 1
            number = self.findings
        folder: Path = self.options.out
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"what": what, "method": method, "messages": [m.hex() for m in messages]}
        (folder / f"{number:04}.json").write_text(json.dumps(facts, indent=1))
        print(f"finding {number}: {what} ({method})", file=sys.stderr)

    def send(self, channel: grpc.Channel, path: str, streams: bool, messages: list[bytes]) -> str:
        """Send a request and return its status."""
        began = time.monotonic()
        patience = self.options.patience
        try:
            if streams:
                for _ in channel.stream_stream(f"/{path}")(iter(messages), timeout=patience):
                    pass
            else:
                channel.unary_unary(f"/{path}")(messages[0], timeout=patience)
            status = "OK"
        except grpc.RpcError as e:
            status = e.code().name
            if status in BUGS and "exceeds" not in (e.details() or ""):
                self.found(f"{status}: {e.details()}", path, messages)
        if time.monotonic() - began > patience + 5:
            self.found("no end", path, messages)
        elif status == "DEADLINE_EXCEEDED":
            self.found("slow", path, messages)
        with self.lock:
            self.statuses[status] += 1
        return status

    def run(self) -> None:
        """Fuzz until the time is over."""
        pick = random.Random(self.options.seed)
        seeds = make_seeds()
        ends = time.monotonic() + self.options.seconds
        while time.monotonic() < ends:
            with server(self.options) as (process, address):
                self._run_one(process, address, Mutator(seeds, pick), ends)
        total = sum(self.statuses.values())
        print(f"{total} requests, {self.findings} findings")
        for status, count in self.statuses.most_common():
            print(f"  {status:20} {count}")

    def _run_one(
        self, process: subprocess.Popen[str], address: str, mutator: Mutator, ends: float
    ) -> None:
        """Fuzz one server until it ends or the time is over."""
        before = usage(process.pid)
        options = [("grpc.max_receive_message_length", -1)]
        with (
            grpc.insecure_channel(address, options=options) as channel,
            ThreadPoolExecutor(self.options.threads) as threads,
        ):
            rounds = 0
            while time.monotonic() < ends:
                rounds += 1
                requests = [mutator.request() for _ in range(16)]
                futures = [
                    threads.submit(self.send, channel, method.path, method.streams, messages)
                    for method, messages in requests
                ]
                for future in futures:
                    future.result()
                if process.poll() is not None:
                    for method, messages in requests:
                        self.found(f"the server ended: {process.returncode}", method.path, messages)
                    return
                if not self._served(channel):
                    for method, messages in requests:
                        self.found("then nothing was served", method.path, messages)
                    return
                if rounds % 50 == 0:
                    memory, count = (a - b for a, b in zip(usage(process.pid), before, strict=True))
                    if memory > GROWTH_BYTES or count > GROWTH_THREADS:
                        self.found(f"grown by {memory:,} bytes, {count} threads", "", [])
                        return

    def _served(self, channel: grpc.Channel) -> bool:
        """Return whether an honest request is served."""
        honest = b"\x0a\x0atext/bytes\x12\x042\x02ab"  # EncodeRequest of one text
        for _ in range(100):
            try:
                channel.unary_unary("/omnicodec.v1.CodecService/Encode")(honest, timeout=30)
            except grpc.RpcError as e:
                # Busy, or gRPC itself refused a stream, as it does where many were cancelled.
                if e.code().name not in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
                    print(f"an honest request got {e.code()}: {e.details()}", file=sys.stderr)
                    return False
                time.sleep(0.1)
            else:
                return True
        return False


def usage(pid: int) -> tuple[int, int]:
    """Return the memory of a process in bytes, and its threads."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return int(fields["VmRSS"].split()[0]) << 10, int(fields["Threads"])


def make_seeds() -> list[Seed]:
    """Return the corpus, and for methods that it does not have an empty request."""
    corpus = _corpus()
    methods = {method.path: method for method in all_methods()}
    seeds = []
    for case in corpus.cases():
        path = f"omnicodec.v1.CodecService/{case.method}"
        seeds.append(Seed(methods[path], case.request.SerializeToString()[:MOST_BYTES]))
    seeds += [Seed(methods[path], data) for path, data in corpus.honest()]
    covered = {seed.method.path for seed in seeds}
    seeds += [Seed(m, m.kind().SerializeToString()) for p, m in methods.items() if p not in covered]
    return seeds


def all_methods() -> Iterator[Method]:
    """Yield every method of the services that a server has."""
    from google.longrunning import operations_pb2
    from grpc_health.v1 import health_pb2

    from omnicodec.v1 import codec_service_pb2

    files = [operations_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR, codec_service_pb2.DESCRIPTOR]
    try:
        from omnicodec.inference import inference_pb2
    except ImportError:
        pass
    else:
        files.append(inference_pb2.DESCRIPTOR)
    pool = descriptor_pool.Default()
    for file in files:
        for service in file.services_by_name.values():
            for method in service.methods:
                if method.full_name == "grpc.health.v1.Health.Watch":
                    continue  # which never ends
                kind = message_factory.GetMessageClass(
                    pool.FindMessageTypeByName(method.input_type.full_name)
                )
                yield Method(
                    f"{service.full_name}/{method.name}",
                    kind,
                    method.client_streaming,
                    method.server_streaming,
                )


@contextmanager
def server(options: argparse.Namespace) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server; yield it and its address."""
    options.out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", SERVER, json.dumps(SETTINGS), str(options.out / "jobs")]
    log = (options.out / "server.log").open("a+")
    with (
        log,
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as run,
    ):
        try:
            said = ""
            for line in run.stderr or ():
                said += line
                if found := re.search(r"127\.0\.0\.1:\d+", line):
                    break
            else:
                sys.exit(f"the server did not start: {said}")
            threading.Thread(target=_copy, args=(run.stderr, log.write), daemon=True).start()
            yield run, found[0]
        finally:
            run.terminate()
            try:
                run.wait(timeout=60)
            except subprocess.TimeoutExpired:
                run.kill()


def _copy(lines: Any, write: Callable[[str], object]) -> None:
    for line in lines:
        try:
            write(line)
        except ValueError:  # closed
            return


def _corpus() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hostile_corpus", CORPUS)
    if spec is None or spec.loader is None:
        sys.exit(f"{CORPUS} is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules["hostile_corpus"] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=None, help="of the random numbers")
    parser.add_argument("--threads", type=int, default=4, help="default: %(default)s")
    parser.add_argument(
        "--patience", type=float, default=60.0, help="seconds; default: %(default)s"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("fuzz-findings"), help="folder")
    parser.add_argument("--again", type=Path, help="a finding to send once more")
    options = parser.parse_args()
    fuzzer = Fuzzer(options)
    if options.again is None:
        fuzzer.run()
    else:
        facts = json.loads(options.again.read_text())
        streams = {m.path: m.streams for m in all_methods()}
        with server(options) as (_, address), grpc.insecure_channel(address) as channel:
            messages = [bytes.fromhex(m) for m in facts["messages"]]
            path = facts["method"]
            print(fuzzer.send(channel, path, streams.get(path, False), messages))
    sys.exit(1 if fuzzer.findings else 0)


if __name__ == "__main__":
    main()
