"""A Ray cluster to run on, this machine's own or another, and how workers are laid out on it."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs import InvalidInput, Unavailable

_STORE: Final = 80 << 20
"""Bytes of Ray's object store for a cluster of our own: nothing but small messages go there."""

_SHARE: Final = 10_000
"""Ray counts CPUs and GPUs in ten-thousandths."""

_LONG_PATH: Final = 32
"""Ray puts sockets some 70 characters below its folder, and a socket's path has at most 107."""


def load_ray() -> Any:
    """Return the module `ray`; raises `Unavailable` without it."""
    try:
        return importlib.import_module("ray")
    except ImportError as e:
        raise Unavailable('the engine "ray" needs: pip install "omnicodec[ray]"') from e


@contextlib.contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[Any]:
    """Yield the module `ray`, connected: to a cluster, or to one of our own on this machine.

    A connection that the process already has is used and kept. `address` is what `ray.init`
    takes; without it the variable RAY_ADDRESS tells, and without that a cluster of our own is
    begun, for as many workers, and ended; Ray protects it by a password in ~/.ray. Raises
    `Unavailable` when there is none.
    """
    with contextlib.ExitStack() as stack:
        address = address or os.environ.get("RAY_ADDRESS") or None
        environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
        options: dict[str, Any] = {"address": address}
        if address in (None, "local"):
            folder = stack.enter_context(_temporary_folder())
            if "ray" not in sys.modules:  # its default since 2.60, about which it talks
                environment["RAY_AUTH_MODE"] = "token"
            options = {
                "address": "local",
                "num_cpus": max(workers or 1, _cores()),
                "include_dashboard": False,
                "object_store_memory": _STORE,
                "_temp_dir": str(folder),
            }
        stack.enter_context(_variables(environment))
        ray = load_ray()
        if not ray.is_initialized():
            stack.enter_context(_signals_kept())
            stack.callback(ray.shutdown)
            try:
                ray.init(**options, log_to_driver=False, configure_logging=False)
            except Exception as e:  # Ray raises just that when its processes do not come up
                where = f"the Ray cluster at {address!r} cannot be reached" if address else (
                    "Ray cannot be started here"
                )  # fmt: skip
                raise Unavailable(f"{where}: {first_line(e)}") from e
            # The raylet's news of dead workers go to standard output, whatever one asks for; they
            # are told as `Lost`.
            if hasattr(ray._private.worker, "_worker_logs_enabled"):
                ray._private.worker._worker_logs_enabled = False
        yield ray


@dataclass(frozen=True)
class Share:
    """What each of `workers` asks Ray for, and what it works with."""

    workers: int
    cpus: float
    gpus: float
    threads: int
    device: str


def share(
    nodes: Sequence[Mapping[str, float]],
    *,
    workers: int | None,
    gpus: float | None,
    threads: int | None,
    device: str,
) -> Share:
    """Return how workers are laid out on nodes with these resources.

    Unless told: one worker a GPU where there are any, with an equal share of its node's CPUs for
    opening files, and one worker a CPU where there are none. More workers than CPUs get fractions
    of them, so that all of them start: a pool that asks for more than there is waits for ever.
    Raises `InvalidInput` for GPUs that there are not.
    """
    with_gpu = [node for node in nodes if node.get("GPU", 0) > 0]
    if gpus is None:
        gpus = 1.0 if with_gpu and device.split(":")[0] in ("auto", "cuda") else 0.0
    if gpus > 0 and not any(node["GPU"] >= gpus for node in with_gpu):
        raise InvalidInput(f"no node of the cluster has {gpus:g} GPU")
    if gpus == 0 and device.startswith("cuda"):
        raise InvalidInput("no node of the cluster has a GPU")
    if gpus > 0:
        places = [math.floor(node["GPU"] / gpus) for node in with_gpu]
        most = sum(places)
        each = min(
            node.get("CPU", 0) / place
            for node, place in zip(with_gpu, places, strict=True)
            if place
        )
    else:
        most, each = math.floor(sum(node.get("CPU", 0) for node in nodes)), 1.0
    count = max(1, most if workers is None else workers)
    if count > most:
        each *= most / count
        gpus = _floor(gpus * most / count)
    return Share(
        workers=count,
        cpus=_floor(each),
        gpus=gpus,
        threads=threads or max(1, math.floor(each)),
        device=("cuda" if gpus > 0 else "cpu") if device == "auto" else device,
    )


def resources(ray: Any) -> list[Mapping[str, float]]:
    """Return what each living node of a cluster has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def first_line(error: BaseException) -> str:
    """Return the first line of an error that has many."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def last_line(error: BaseException) -> str:
    """Return the last line of an error that ends with what went wrong, after a traceback."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _floor(amount: float) -> float:
    """Round down to what Ray can count; a whole number stays one, as Ray wants it above 1."""
    return float(math.floor(amount)) if amount >= 1 else math.floor(_SHARE * amount) / _SHARE


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a folder for the files of a cluster of our own, which would pile up in /tmp/ray."""
    place = tempfile.gettempdir()
    place = place if len(place) <= _LONG_PATH else "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="omnicodec-ray-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while; those that the user has set are kept."""
    ours = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back the handler of SIGTERM, which `ray.init` replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
