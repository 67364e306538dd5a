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
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parent / "tests" / "service" / "hostile" / "corpus.py"

BUGS: Final = ("INTERNAL", "UNKNOWN")
EDGES: Final = (0, 1, 127, 128, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
MOST_BYTES: Final = 1 << 20
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


@dataclass(frozen=True)
class Method:
    """A method by its path, the type of its request, and whether requests come as a stream."""

    path: str
    kind: Any
    streams: bool
    answers: bool


@dataclass(frozen=True)
class Seed:
    """An honest or hostile request."""

    method: Method
    data: bytes


class Mutator:
    """Makes requests of seeds."""

    def __init__(self, seeds: list[Seed], random_: random.Random) -> None:
        self._seeds, self._random = seeds, random_

    def request(self) -> tuple[Method, list[bytes]]:
        """Return a method and the messages to send."""
        pick = self._random
        seed = pick.choice(self._seeds)
        method = seed.method if pick.random() < 0.95 else pick.choice(self._seeds).method
        count = pick.choice((1, 1, 2, 3, 8)) if method.streams else 1
        others = [s.data for s in self._seeds if s.method is method]
        messages = [seed.data, *(pick.choice(others or [seed.data]) for _ in range(count - 1))]
        return method, [self._changed(method, data) for data in messages]

    def _changed(self, method: Method, data: bytes) -> bytes:
        pick = self._random
        if pick.random() < 0.1:
            return data
        if pick.random() < 0.5:
            try:
                message = method.kind.FromString(data)
                for _ in range(pick.choice((1, 1, 2, 5))):
                    self._change_field(message)
                return bytes(message.SerializeToString())[:MOST_BYTES]
            except Exception:  # of another method, or too large a number
                return self._changed_bytes(data)
        return self._changed_bytes(data)

    def _changed_bytes(self, data: bytes) -> bytes:
        pick, new = self._random, bytearray(data[:MOST_BYTES])
        for _ in range(pick.choice((1, 1, 2, 4, 16))):
            at = pick.randrange(len(new) + 1)
            match pick.randrange(7):
                case 0:
                    new[at:at] = pick.randbytes(pick.choice((1, 2, 8, 300)))
                case 1:
                    del new[at : at + pick.choice((1, 2, 8, 300))]
                case 2 if at < len(new):
                    new[at] ^= 1 << pick.randrange(8)
                case 3:
                    del new[at:]
                case 4:
                    size = pick.choice((1, 4, 8))
                    new[at : at + size] = pick.choice(EDGES).to_bytes(9, "little")[:size]
                case 5:
                    new[at:at] = new[at : at + pick.choice((2, 20, 2000))] * pick.choice((1, 3, 50))
                case _:
                    other = pick.choice(self._seeds).data
                    start = pick.randrange(len(other) + 1)
                    new[at:] = other[start:]
        return bytes(new[:MOST_BYTES])

    def _change_field(self, message: Any) -> None:
        pick = self._random
        field = pick.choice(message.DESCRIPTOR.fields)
        set_fields = message.ListFields()
        if set_fields and pick.random() < 0.7:
            field = pick.choice(set_fields)[0]
        name = field.name
        if pick.random() < 0.1:
            message.ClearField(name)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._change_map(getattr(message, name), field)
        elif field.is_repeated:
            values = getattr(message, name)
            if field.message_type is not None:
                if values and pick.random() < 0.5:
                    self._change_field(pick.choice(values))
                elif values:
                    values.add().CopyFrom(pick.choice(values))
                else:
                    values.add()
            else:
                values.extend([self._value(field, None)] * pick.choice((1, 1, 5, 100)))
        elif field.message_type is not None:
            self._change_field(getattr(message, name))
        else:
            setattr(message, name, self._value(field, getattr(message, name)))

    def _change_map(self, values: Any, field: Any) -> None:
        key, value = (field.message_type.fields_by_name[n] for n in ("key", "value"))
        known = list(values)
        name = self._random.choice(known) if known else self._value(key, None)
        values[name] = self._value(value, None)

    def _value(self, field: Any, old: Any) -> Any:
        pick = self._random
        match field.type:
            case FieldDescriptor.TYPE_BYTES:
                return self._changed_bytes(old or pick.randbytes(20))
            case FieldDescriptor.TYPE_STRING:
                return pick.choice(
                    ("", "\0", "x" * 5000, "text/bytes", "image/vq", "../..", "\u202e")
                )
            case FieldDescriptor.TYPE_BOOL:
                return not old
            case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
                return pick.choice((0.0, -1.0, 1e300, float("nan"), float("inf"), 1e-300))
            case FieldDescriptor.TYPE_ENUM:
                return pick.randrange(100)
            case FieldDescriptor.TYPE_UINT32 | FieldDescriptor.TYPE_FIXED32:
                return pick.choice(EDGES) % 2**32
            case FieldDescriptor.TYPE_INT32 | FieldDescriptor.TYPE_SINT32:
                return pick.choice((-1, -(2**31), 0, 1, 2**31 - 1))
            case FieldDescriptor.TYPE_INT64 | FieldDescriptor.TYPE_SINT64:
                return pick.choice((-1, -(2**63), 0, 1, 2**63 - 1))
            case _:
                return pick.choice(EDGES)


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
                if service.full_name == "grpc.health.v1.Health":
                    continue  # which is gRPC's own, down to how it parses; Watch never ends
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
