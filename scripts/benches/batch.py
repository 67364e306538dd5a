"""Whole data sets: engines beside codecs in process, workers, Ray, text, memory, resuming."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benches import _batch_long, _batch_pictures, _batch_text
from benches._batch_rates import HEADER, ratio_rows

from omnicodec.codecs import InvalidInput
from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.table import markdown

PARTS: Final = ("pictures", "ray", "text", "memory", "resume", "driver")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default=",".join(PARTS), help="default: %(default)s")
    parser.add_argument("--codecs", default="image/vq,image/vq8", help="default: %(default)s")
    parser.add_argument("--pictures", type=int, default=512, help="a run; default: %(default)s")
    parser.add_argument("--side", type=int, default=256, help="pixels; default: %(default)s")
    parser.add_argument("--texts", type=int, default=60_000, help="a run; default: %(default)s")
    parser.add_argument(
        "--items", type=int, default=100_000, help="of memory; default: %(default)s"
    )
    parser.add_argument(
        "--shards", type=int, default=10_000, help="to resume; default: %(default)s"
    )
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where data lie; default: a temporary one")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(PARTS):
        raise InvalidInput(f"unknown parts {sorted(unknown)}; known: {', '.join(PARTS)}")
    results = _before(options.out)
    lines: list[str] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if "pictures" in wanted or "ray" in wanted:
            engines = [part for part in ("pictures", "ray") if part in wanted]
            results["pictures"] = _batch_pictures.measure(options, folder, engines)
        if "text" in wanted:
            results["text"] = _batch_text.measure(options, folder)
        others: dict[str, Callable[..., Any]] = {
            "memory": _batch_long.memory,
            "resume": _batch_long.resume,
            "driver": _batch_long.driver,
        }
        for part, measure in others.items():
            if part in wanted:
                results[part] = measure(options, folder)
    rows = [
        row
        for title, figures in {
            **results.get("pictures", {}),
            "texts": results.get("text", {"ratios": {}}),
        }.items()
        for row in ratio_rows(title, figures)
    ]
    if rows:
        lines.append(markdown(HEADER, rows))
    lines += [f"{part}: {json.dumps(results[part]['told'])}" for part in others if part in results]
    lines.append(str(Environment.here("cpu")))
    return "\n\n".join(lines) + "\n", results


def _before(path: Path) -> dict[str, Any]:
    """Return the parts that the file has already: a run of some leaves the others as they are."""
    try:
        before = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {part: before[part] for part in ("pictures", "text", *PARTS) if part in before}
