"""Where and how a result was measured, for every table and file that states one."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Versions, hardware, date (UTC) and command line.

    `cores` are those this process may run on, `threads` those that torch uses.
    """

    command: str
    date: str
    omnicodec: str
    python: str
    torch: str
    numpy: str
    pillow: str
    system: str
    cpu: str
    cores: int
    threads: int
    device: str

    @classmethod
    def here(cls, device: str) -> Environment:
        """Return this process's environment; `device` is the one that codecs ran on."""
        import torch

        on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
        return cls(
            command=command_line(sys.argv),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            omnicodec=package_version("omnicodec"),
            python=platform.python_version(),
            torch=str(torch.__version__),
            numpy=package_version("numpy"),
            pillow=package_version("pillow"),
            system=f"{platform.system()} {platform.machine()}",
            cpu=_cpu(),
            cores=_cores(),
            threads=torch.get_num_threads(),
            device=torch.cuda.get_device_name() if on_gpu else "cpu",
        )

    def __str__(self) -> str:
        """Return two lines of text."""
        return (
            f"{self.cpu}, {self.cores} cores, {self.threads} threads, device {self.device}, "
            f"{self.system}; omnicodec {self.omnicodec}, Python {self.python}, torch "
            f"{self.torch}, numpy {self.numpy}, Pillow {self.pillow}\n"
            f"{self.date}: {self.command}"
        )


def package_version(name: str) -> str:
    """Return the version of an installed distribution, or "not installed"."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def command_line(arguments: Sequence[str]) -> str:
    """Return the command as one could type it, absolute paths cut to their last part.

    Results are published; where somebody's folders lie is not for publishing.
    """
    program, *rest = arguments or [""]
    path = Path(program)
    if path.name == "__main__.py":
        program = "omnicodec"
    elif path.suffix == ".py":
        inside = path.is_relative_to(Path.cwd()) if path.is_absolute() else True
        program = f"python {os.path.relpath(path) if inside else path.name}"
    else:
        program = path.name
    words = []
    for word in rest:
        option, equals, value = word.rpartition("=")
        short = Path(value).name if Path(value).is_absolute() else value
        words.append(shlex.quote(f"{option}{equals}{short}"))
    return " ".join([program, *words])


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu() -> str:
    """Return the processor's model, which Python itself does not know on Linux."""
    try:
        if sys.platform == "linux":
            for line in Path("/proc/cpuinfo").read_text().splitlines():
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
        elif sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
