"""What large data sets take, from what this repository has measured: docs/scale.md.

    python scripts/scale.py             print it
    python scripts/scale.py --write     write docs/scale.md

Reads docs/results/cost.json (scripts/bench.py cost) and batch.json (scripts/bench.py batch).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from omnicodec.codecs.files import atomic_write
from omnicodec.service.evaluate.table import markdown, number

ROOT: Final = Path(__file__).resolve().parents[1]
CORES: Final = (16, 128, 1024)
NODE_CORES: Final = 32
NODE_GIGABITS: Final = 10
DAY: Final = 86_400.0
TEXTS_A_SHARD: Final = 1 << 16


@dataclass(frozen=True)
class Plan:
    """A data set: so many units (pixels, seconds, bytes), in files of `bytes_per_unit`."""

    title: str
    codec: str
    form: str
    items: float
    units: float
    bytes_per_unit: float
    opening: str = ""
    shard_items: int = 1024


def plans(cost: Mapping[str, Any]) -> list[Plan]:
    """Return the data sets of the page; sizes of files are those of the files that were opened."""
    image, audio = (cost["opening"][kind]["bytes_per_unit"] for kind in ("image", "audio"))
    pixels = 512.0 * 512
    return [
        Plan("10^9 images of 512x512", "image/vq", "parquet", 1e9, 1e9 * pixels, image, "image"),
        Plan(
            "10^6 hours of sound, in pieces of 20 s", "audio/rvq", "megatron",
            1.8e8, 3.6e9, audio, "audio",
        ),
        Plan(
            "10 TB of text, documents of 2 KB", "text/bpe", "megatron", 1e13 / 2048, 1e13, 1.0,
            shard_items=TEXTS_A_SHARD,
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Need:
    """What a plan takes: seconds of a core by what they are spent on, and bytes in and out."""

    plan: Plan
    seconds: Mapping[str, float]
    read: float
    written: float
    tokens: float

    @property
    def core_seconds(self) -> float:
        return sum(self.seconds.values())

    def days(self, cores: int, share: float) -> float:
        """Return the days on so many cores, of which the engine makes this share of use."""
        return self.core_seconds / (cores * share) / DAY


def need(plan: Plan, cost: Mapping[str, Any]) -> Need:
    """Return what a plan takes, at the cost of each unit that was measured."""
    codec, storing = cost["codecs"][plan.codec], cost["storing"][f"{plan.codec} {plan.form}"]
    tokens = plan.units * codec["tokens_per_unit"]
    opening = cost["opening"][plan.opening]["core_seconds_per_unit"] if plan.opening else 0.0
    return Need(
        plan,
        {
            "opening files": plan.units * opening,
            "the codec": plan.units * codec["core_seconds_per_unit"],
            "reading, layout and writing": tokens * storing["core_seconds_per_token"],
        },
        plan.units * plan.bytes_per_unit,
        tokens * storing["bytes_per_token"],
        tokens,
    )


def share_of_cores(batch: Mapping[str, Any]) -> tuple[float, str]:
    """Return how much of its cores a Ray cluster uses, as measured on one machine, and how so."""
    figures = batch["pictures"]["image/vq"]
    ratios = figures["ratios"]
    ray = next(r["median"] for n, r in ratios.items() if n.startswith("Ray"))
    scaling = next(r["median"] for n, r in ratios.items() if n.endswith("/ local, 1 worker"))
    many = next(n for n in figures["per_second"] if n.startswith("Ray"))
    workers = int(many.split(", ")[1].split()[0])
    share = min(1.0, ray * scaling / workers)
    return share, (
        f"Ray on one machine: {number(ray)} of the local engine; {workers} workers: "
        f"{number(scaling)} times one"
    )


def page(cost: Mapping[str, Any], batch: Mapping[str, Any]) -> str:
    """Return the page, as Markdown."""
    share, how = share_of_cores(batch)
    per_second = batch["driver"]["told"]["shards_per_second"]
    needs = [need(plan, cost) for plan in plans(cost)]
    environment = cost["environment"]
    parts = [
        "# Past one machine",
        "Written by `scripts/scale.py --write` from docs/results/cost.json and batch.json. The "
        "costs are measured; what they come to on a cluster is computed from them, and no such "
        "cluster has been run.",
        "## What tokens cost",
        f"Seconds of one core of {environment['cpu']} (torch {environment['torch']}, no GPU), one "
        "thread, processor time:",
        _codecs(cost),
        "Tokens are those of all codebooks. Codecs that have efforts are at their default, which "
        "is named.",
        "## What data sets take",
        _times(needs, share),
        f"Of its cores a cluster is taken to use {number(share)}, as measured ({how}).",
        "## What bounds them",
        _bounds(needs, share, per_second),
        _conclusion(needs, share, per_second),
        "## What is assumed",
        _assumptions(cost),
    ]
    return "\n\n".join(parts) + "\n"


def _codecs(cost: Mapping[str, Any]) -> str:
    header = ["codec", "an item", "tokens", "core-seconds an item", "of 10^6 tokens",
              "of 10^6 units", "unit"]  # fmt: skip
    rows = [
        [f"`{name}` {c['effort']}".strip(), c["item"], number(c["tokens"]),
         number(c["core_seconds"]), number(c["core_seconds_per_million_tokens"]),
         number(1e6 * c["core_seconds_per_unit"]), c["unit"]]
        for name, c in cost["codecs"].items()
    ]  # fmt: skip
    return markdown(header, rows)


def _times(needs: list[Need], share: float) -> str:
    header = ["data set", "codec", "tokens", "core-years", *(f"{n:,} cores" for n in CORES),
              "read", "written"]  # fmt: skip
    rows = [
        [each.plan.title, f"`{each.plan.codec}`, {each.plan.form}", _count(each.tokens),
         number(each.core_seconds / DAY / 365.25),
         *(_days(each.days(cores, share)) for cores in CORES),
         _size(each.read), _size(each.written)]
        for each in needs
    ]  # fmt: skip
    return markdown(header, rows)


def _bounds(needs: list[Need], share: float, per_second: float) -> str:
    """Return a table of what a node reads, what the driver hands out, where the time goes."""
    most = max(CORES)
    header = ["data set", "the codec's share of the time", "opening", "the rest",
              f"a node of {NODE_CORES} cores reads", "of its network", "writes",
              f"shards/s of {most:,} cores", "of the driver's"]  # fmt: skip
    rows = []
    for each in needs:
        seconds = each.core_seconds / share
        node = each.read / seconds * NODE_CORES
        shards = each.plan.items / each.plan.shard_items / seconds * most
        opened, coded, rest = (
            each.seconds[what] / each.core_seconds
            for what in ("opening files", "the codec", "reading, layout and writing")
        )
        rows.append([
            each.plan.title, _percent(coded), _percent(opened), _percent(rest),
            f"{_size(node)}/s", _percent(8 * node / (NODE_GIGABITS * 1e9)),
            f"{_size(each.written / seconds * NODE_CORES)}/s",
            number(shards), _percent(shards / per_second),
        ])  # fmt: skip
    return markdown(header, rows)


def _conclusion(needs: list[Need], share: float, per_second: float) -> str:
    """Name the bottleneck of each data set: the largest share of what there is of anything."""
    lines = []
    for each in needs:
        seconds = each.core_seconds / share
        network = 8 * each.read / seconds * NODE_CORES / (NODE_GIGABITS * 1e9)
        driver = each.plan.items / each.plan.shard_items / seconds * max(CORES) / per_second
        most = max(each.seconds, key=lambda what: each.seconds[what])
        if max(network, driver) < 1:
            held = f"the processors, {_percent(each.seconds[most] / each.core_seconds)} of whose "
            held += f"time is {most}"
        elif network >= driver:
            held = "the nodes' network"
        else:
            held = "the driver, which larger shards relieve"
        total = each.read / seconds * max(CORES)
        lines.append(
            f"- **{each.plan.title}**: the bottleneck is {held}. {max(CORES):,} cores read "
            f"{_size(total)}/s together, which the storage has to give."
        )
    return "\n".join(lines)


def _assumptions(cost: Mapping[str, Any]) -> str:
    image, audio = (cost["opening"][kind]["bytes_per_unit"] for kind in ("image", "audio"))
    return "\n".join(
        (
            f"- Images are JPEGs of {number(8 * image)} bits a pixel (made by the benchmark, "
            "quality 90). Work grows with the pixels.",
            f"- Sound is mono FLAC of {number(audio / 1000)} KB a second. Compressed sound is read "
            "in less, and opened in about as long.",
            "- Text is UTF-8 in Parquet, taken as uncompressed when it is read.",
            f"- A core is one of those measured. Nodes have {NODE_CORES} of them and a network of "
            f"{NODE_GIGABITS} Gbit/s; the storage behind it gives each node all of that.",
            "- Cores do not slow each other down by sharing memory and caches; two did not, by "
            "more than the share above says. More than two have not been measured here.",
            f"- Shards have 1,024 items, the default, and {TEXTS_A_SHARD:,} texts "
            "(`--shard-items`). The driver's rate is that of shards which are no work, on one "
            "machine.",
            "- Start-up, some ten seconds, and the last shards, when not all workers have one, are "
            "left out.",
        )
    )


def _count(items: float) -> str:
    digits, _, power = f"{items:.2e}".partition("e")
    return f"{digits} · 10^{int(power)}"


def _days(days: float) -> str:
    return f"{number(days)} days" if days >= 1 else f"{number(24 * days)} hours"


def _size(nbytes: float) -> str:
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if nbytes >= factor:
            return f"{number(nbytes / factor)} {unit}"
    return f"{number(nbytes / 1000)} KB"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--write", action="store_true", help="write docs/scale.md")
    options = parser.parse_args()
    try:
        cost, batch = (
            json.loads((options.results / f"{name}.json").read_bytes())
            for name in ("cost", "batch")
        )
        text = page(cost, batch)
    except (OSError, ValueError, KeyError, StopIteration) as e:
        sys.exit(f"scale: cost.json or batch.json is not whole: {type(e).__name__}: {e}")
    if options.write:
        atomic_write(ROOT / "docs" / "scale.md", text.encode())
    else:
        print(text)


if __name__ == "__main__":
    main()
