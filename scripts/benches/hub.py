"""Published codecs: adapters beside the libraries that they stand on, at full size."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benches._hub_child import Task, in_child
from benches._hub_models import PUBLISHED, Published
from benches.audio_memory import memory

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.files import atomic_write
from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.table import markdown, number

PARTS: Final = ("throughput", "single", "whole", "growth", "hour")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default=",".join(PUBLISHED), help="default: %(default)s")
    parser.add_argument("--parts", default=",".join(PARTS), help="default: %(default)s")
    parser.add_argument("--clips", type=int, default=32, help="a batch; default: %(default)s")
    parser.add_argument("--pictures", type=int, default=8, help="a batch; default: %(default)s")
    parser.add_argument("--videos", type=int, default=4, help="a batch; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="of a batch; default: %(default)s")
    parser.add_argument("--pairs", type=int, default=20, help="of one item; default: %(default)s")
    parser.add_argument(
        "--minutes", default="1,2,4", help="of clips whose memory is measured; default: %(default)s"
    )
    parser.add_argument(
        "--seconds", type=float, default=3600, help="of the long file; default: %(default)s"
    )
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where weights lie; default: a temporary one")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    names = _known("codecs", options.only, PUBLISHED)
    parts = _known("parts", options.parts, PARTS)
    results, failed = _before(options.out), []
    for name in names:
        published = PUBLISHED[name]
        own = results["codecs"].setdefault(name, {"title": published.title})
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            folder = str(Path(place) / name)
            own |= in_child(Task(part="make", name=name, folder=folder))
            for part in parts:
                print(f"{published.title}: {part}", file=sys.stderr, flush=True)
                try:
                    if found := _measure(part, name, published, folder, options):
                        own[part] = found
                        here = Environment.here(options.device)
                        said = {"command": here.command, "date": here.date}
                        own.setdefault("measured", {})[part] = said
                except InvalidInput as e:
                    failed.append(str(e))
                _keep(options.out, results)
    if failed:
        raise InvalidInput("; ".join(failed))
    return "\n\n".join(
        (*_tables(results["codecs"]), str(Environment.here(options.device)))
    ) + "\n", results


def _known(what: str, wanted: str, known: Any) -> list[str]:
    found = wanted.split(",")
    if unknown := set(found) - set(known):
        raise InvalidInput(f"unknown {what} {sorted(unknown)}; known: {', '.join(known)}")
    return found


def _measure(
    part: str, name: str, published: Published, folder: str, options: argparse.Namespace
) -> Any:
    """Return the figures of one part; nothing where a codec has no such part."""
    count = {"audio": options.clips, "image": options.pictures, "video": options.videos}
    rounds = options.pairs if part == "single" else options.rounds
    task = Task(
        part=part, name=name, folder=folder, device=options.device, rounds=rounds,
        count=count[published.modality],
    )  # fmt: skip
    if part == "hour":
        if not published.streams:
            return None
        return memory(f"hf:{folder}", options.seconds, *published.sound_in(Path(folder))) | {
            "codec": name
        }
    if part != "growth":
        return in_child(task)
    if published.modality != "audio":
        return None
    minutes = map(float, options.minutes.split(","))
    return [in_child(Task(**{**vars(task), "minutes": each})) for each in minutes]


def _before(path: Path) -> dict[str, Any]:
    """Return what the file has already: a run of some parts leaves the others as they are."""
    try:
        return {"codecs": dict(json.loads(path.read_bytes())["codecs"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"codecs": {}}


def _keep(path: Path, results: Mapping[str, Any]) -> None:
    """Write what there is so far: all parts take hours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(results, indent=1).encode() + b"\n")


def _tables(codecs: Mapping[str, Any]) -> Iterator[str]:
    for part, (header, rows_of) in _TABLES.items():
        rows = [
            [f["title"], *cells] for f in codecs.values() if part in f for cells in rows_of(f[part])
        ]
        if rows:
            yield markdown(["codec", *header], rows)


def _throughput_rows(found: Any) -> list[list[str]]:
    speed, ratio = found["per_second"]["adapter"], found["ratio"]
    return [
        [
            number(found["items"], 0), number(speed), *map(number, ratio.values()),
            f"{found['differing_codes']:,} of {found['codes']:,}", _share(found["codes_in_use"]),
        ]
    ]  # fmt: skip


def _single_rows(found: Any) -> list[list[str]]:
    return [
        [f"{way} {found['item']}", number(found[way]["median_seconds"]["library"]),
         *map(_share, found[way]["overhead"].values())]
        for way in ("encode", "decode")
        if way in found
    ]  # fmt: skip


def _whole_rows(found: Any) -> list[list[str]]:
    shape = found["real_values"] or found["ids"]
    return [
        [
            found["item"], "x".join(map(str, found["grid"])), "x".join(map(str, shape)),
            *(number(found.get(key)) for key in ("encode_per_second", "decode_per_second")),
            number(found["peak_mb"], 0), f"{found['differing_codes']:,} of {found['codes']:,}",
            number(found.get("greatest_difference")),
        ]
    ]  # fmt: skip


def _growth_rows(found: Any) -> list[list[str]]:
    keys = ("opened_mb", "clip_mb", "encode_peak_mb", "peak_mb")
    return [[f"{each['minutes']:g}", *(number(each[key], 0) for key in keys)] for each in found]


def _hour_rows(found: Any) -> list[list[str]]:
    return [
        [way, number(found["seconds"], 0), number(step["peak_mb"], 0), number(step["times"], 1)]
        for way, step in found["steps"].items()
    ]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


_TABLES: Final = {
    "throughput": (
        ["items", "a second", "times the library, least", "median", "most", "codes that differ",
         "codes in use"],
        _throughput_rows,
    ),
    "single": (
        ["one item", "library, seconds", "adapter's overhead, quarter", "median", "three quarters"],
        _single_rows,
    ),
    "whole": (
        ["one item", "grid", "tokens", "encoded a second", "decoded a second", "peak MB",
         "codes that differ", "greatest difference of what is decoded"],
        _whole_rows,
    ),
    "growth": (["minutes", "opened, MB", "clip", "peak, encoding", "peak, both"], _growth_rows),
    "hour": (["file to file", "seconds", "peak MB", "times real time"], _hour_rows),
}  # fmt: skip
