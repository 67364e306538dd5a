"""One measurement of one published codec, in a process of its own.

`python -m benches._hub_child TASK`, with a task in JSON, prints one line of JSON. So nothing that
ran before is in its memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import numpy as np
from benches._hub_items import amount, long_sound, mixed, one, told
from benches._hub_library import Coded, Library, differing
from benches._hub_models import PUBLISHED
from benches._pairs import alternate

from omnicodec.codecs import InvalidInput, OmnicodecError, Tokens, load
from omnicodec.codecs.registry import AnyCodec
from omnicodec.service.evaluate.environment import package_version
from omnicodec.service.evaluate.measure import timed

_SCRIPTS: Final = Path(__file__).resolve().parents[1]
_LAST_LINES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to measure, of which codec of `PUBLISHED`, whose weights lie in `folder`."""

    part: str
    name: str
    folder: str
    device: str = "cpu"
    rounds: int = 3
    count: int = 32
    minutes: float = 1


def in_child(task: Task) -> dict[str, Any]:
    """Return what a process of its own measures; raises `InvalidInput` when it fails."""
    paths = (str(_SCRIPTS), os.environ.get("PYTHONPATH", ""))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "benches._hub_child", json.dumps(asdict(task))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        why = " ".join(done.stderr.splitlines()[-_LAST_LINES:]) or f"exit code {done.returncode}"
        raise InvalidInput(f"{task.part} of {task.name}: {why}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def make(task: Task) -> dict[str, Any]:
    """Save the codec with random weights."""
    return {"parameters": PUBLISHED[task.name].make(Path(task.folder))}


def throughput(task: Task) -> dict[str, Any]:
    """Return how fast a batch of mixed items is beside the library, one by one, and its codes."""
    codec, library = _both(task)
    items = mixed(codec.spec.modality, task.count, library.rate, library.channels)
    tokens: list[Tokens] = []
    coded: list[Coded] = []
    pairs = alternate(
        {
            "adapter": lambda: _keep(tokens, codec.encode(items)),
            "library": lambda: _keep(coded, list(map(library.encode, items))),
        },
        work=amount(items),
        rounds=task.rounds,
    )
    return {
        "items": len(items),
        "from": told(min(items, key=lambda item: amount([item]))),
        "to": told(max(items, key=lambda item: amount([item]))),
        **pairs.to_dict(),
        **_compared(tokens, coded),
        "codes_in_use": _in_use(codec, tokens),
    }


def single(task: Task) -> dict[str, Any]:
    """Return what the adapter costs beyond the library on one item, as shares of its seconds."""
    codec, library = _both(task)
    item = one(codec.spec.modality, library.rate, library.channels)
    tokens, coded = codec.encode([item]), library.encode(item)
    steps: dict[str, dict[str, Callable[[], object]]] = {
        "encode": {
            "adapter": lambda: codec.encode([item]),
            "library": lambda: library.encode(item),
        },
        "decode": {
            "adapter": lambda: codec.decode(tokens),
            "library": lambda: library.decode(coded),
        },
    }
    if not library.decodes:
        del steps["decode"]
    return {"item": told(item)} | {
        way: _overhead(alternate(step, work=1, rounds=task.rounds).to_dict())
        for way, step in steps.items()
    }


def whole(task: Task) -> dict[str, Any]:
    """Return sizes, speed and memory of one larger item, and how far the library agrees."""
    codec = load(f"hf:{task.folder}", device=task.device)
    opened = peak_mb()
    published, modality = PUBLISHED[task.name], codec.spec.modality
    item = one(modality, *published.sound_in(Path(task.folder)), large=True)
    (tokens,), encoding = timed(lambda: codec.encode([item]))
    found: dict[str, Any] = {
        "item": told(item),
        "grid": tokens.grid,
        "ids": tokens.ids.shape,
        "real_values": None if tokens.soft is None else tokens.soft.shape,
        "weight_bytes": codec.spec.weight_bytes,
        "encode_seconds": encoding,
        "encode_per_second": amount([item]) / encoding,
    }
    back = None
    if published.called.decodes:
        (back,), decoding = timed(lambda: codec.decode([tokens]))
        found |= {"decode_seconds": decoding, "decode_per_second": amount([item]) / decoding}
    found |= {"opened_mb": opened, "peak_mb": peak_mb()}
    library = published.saved(Path(task.folder), task.device)  # not before: it has memory too
    coded, seconds = timed(lambda: library.encode(item))
    found |= {"library_encode_seconds": seconds, **_compared([tokens], [coded])}
    if back is not None:
        theirs, seconds = timed(lambda: library.decode(coded))
        ours = {"audio": "samples", "image": "pixels", "video": "frames"}[modality]
        difference = np.abs(getattr(back, ours).astype(np.float64) - theirs.astype(np.float64))
        found |= {"library_decode_seconds": seconds, "greatest_difference": difference.max()}
    return found


def growth(task: Task) -> dict[str, Any]:
    """Return the peak of memory for a clip of so many minutes, encoded and decoded."""
    codec = load(f"hf:{task.folder}", device=task.device)
    opened = peak_mb()
    clip = long_sound(60 * task.minutes, *PUBLISHED[task.name].sound_in(Path(task.folder)))
    (tokens,), encoding = timed(lambda: codec.encode([clip]))
    encoded = peak_mb()
    (back,), decoding = timed(lambda: codec.decode([tokens]))
    if back.samples.shape != clip.samples.shape:
        raise InvalidInput("what came back has another length")
    return {
        "minutes": task.minutes,
        "clip_mb": clip.samples.nbytes / 1e6,
        "opened_mb": opened,
        "encode_peak_mb": encoded,
        "peak_mb": peak_mb(),
        "encode_seconds": encoding,
        "decode_seconds": decoding,
    }


MEASURES: Final[Mapping[str, Callable[[Task], dict[str, Any]]]] = {
    "make": make,
    "throughput": throughput,
    "single": single,
    "whole": whole,
    "growth": growth,
}


def peak_mb() -> float:
    """Return the most memory that this process has had so far, in 10^6 bytes.

    Not from getrusage, which begins with the peak of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise InvalidInput("this system does not tell the peak of a process's memory")


def _both(task: Task) -> tuple[AnyCodec, Library]:
    codec = load(f"hf:{task.folder}", device=task.device)
    return codec, PUBLISHED[task.name].saved(Path(task.folder), task.device)


def _keep(found: list[Any], new: list[Any]) -> None:
    found[:] = new


def _compared(tokens: list[Tokens], coded: list[Coded]) -> dict[str, int]:
    counts = [differing(*pair) for pair in zip(tokens, coded, strict=True)]
    return {
        "differing_codes": sum(differ for differ, _ in counts),
        "codes": sum(of for _, of in counts),
    }


def _in_use(codec: AnyCodec, tokens: list[Tokens]) -> float | None:
    """Return how many of its entries a codebook uses, of those that it could use here."""
    sizes = codec.spec.codebook_sizes
    if not sizes:
        return None
    ids = np.concatenate([each.ids for each in tokens], 1)
    shares = [
        len(np.unique(row)) / min(size, row.size) for row, size in zip(ids, sizes, strict=True)
    ]
    return float(np.mean(shares))


def _overhead(figures: dict[str, Any]) -> dict[str, Any]:
    """Return what the first way takes beyond the second, of its seconds, round by round."""
    ours, theirs = figures["seconds"].values()
    shares = [a / b - 1 for a, b in zip(ours, theirs, strict=True)]
    low, _, high = quantiles(shares, n=4, method="inclusive")
    return {
        "overhead": {"quarter": low, "median": median(shares), "three_quarters": high},
        "median_seconds": {"adapter": median(ours), "library": median(theirs)},
        "pairs": len(shares),
    }


def main() -> None:
    task = Task(**json.loads(sys.argv[1]))
    try:
        found = MEASURES[task.part](task)
    except OmnicodecError as e:
        sys.exit(str(e))
    import torch

    versions = {name: package_version(name) for name in ("transformers", "diffusers", "torch")}
    print(json.dumps({**found, "versions": versions, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
