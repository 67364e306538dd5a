"""Rate and quality of pictures' codecs beside file formats; speed, memory, priors, losses."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benches import _image_parts as parts
from benches import image_memory
from benches._pictures import SIDE, pictures
from benches._vq16 import beside_vq16

from omnicodec.codecs import Image, InvalidInput, OmnicodecError, describe, load
from omnicodec.codecs.files import atomic_write
from omnicodec.models import weights
from omnicodec.service.evaluate import Report, evaluate
from omnicodec.service.evaluate.chart import rate_chart
from omnicodec.service.evaluate.data import Source
from omnicodec.service.evaluate.table import markdown, number

RATES: Final = (0.1, 1.0)
"""Bits per pixel between which BD-rates are taken."""

EFFORT_QUALITIES: Final = (20, 45, 70)

Say = Callable[[str], None]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder, file or .tar shard")
    parser.add_argument(
        "--codecs",
        default="image/rate,image/vq,image/vq8",
        help="the first is measured at --qualities, the others at all of theirs; those that are "
        "not there are left out; default: %(default)s",
    )
    parser.add_argument(
        "--qualities",
        default="40,0,10,20,30,50,60,75,90",
        help="of the first codec, the main one first; default: %(default)s",
    )
    parser.add_argument("--against", default="jpeg,webp,avif,jxl", help="default: %(default)s")
    parser.add_argument("--max-items", type=int, help="default: all")
    parser.add_argument("--speed-pictures", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--effort-pictures", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--pictures", type=int, default=8, help="beside VQ-16; default: 8")
    parser.add_argument("--rounds", type=int, default=7, help="beside VQ-16; default: 7")
    parser.add_argument("--device", default="auto", help="default: %(default)s")
    parser.add_argument("--no-memory", action="store_true", help="leave the large picture out")
    parser.add_argument("--no-vq16", action="store_true", help="leave VQ-16 out")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    names = _known(options.codecs.split(","), say)
    codecs = {name: load(name, device=options.device) for name in names}
    main = _qualities(names[0], options.qualities)
    # Of each codec, what it does when nobody asks for anything else; of the first, its main one.
    chosen: dict[str, int | None] = dict.fromkeys(names) | {names[0]: main[0] if main else None}
    items = dict(islice(_items(options.data, say), options.max_items))
    few = dict(islice(items.items(), options.speed_pictures))
    say("rate and quality")
    report = evaluate(
        names[0],
        options.data,
        beside=names[1:],
        qualities=main,
        against=[name for name in options.against.split(",") if name],
        rates=RATES,
        device=options.device,
        max_items=options.max_items,
        previews=False,
        report=say,
    )
    figures: dict[str, Any] = {"evaluation": report.to_dict()}
    say("speed")
    figures["speed"] = {n: parts.speed(c, few, chosen[n], 3) for n, c in codecs.items()}
    say("priors")
    figures["prior"] = {n: parts.prior(c, items, chosen[n]) for n, c in codecs.items()}
    say("lost tokens")
    figures["missing"] = {n: parts.losses(c, items, chosen[n]) for n, c in codecs.items()}
    figures["efforts"] = None
    if len(codecs[names[0]].spec.efforts) > 1:
        say("efforts")
        middles = pictures(options.data, options.effort_pictures)
        cut = {str(n): image for n, image in enumerate(middles)}
        figures["efforts"] = parts.efforts(codecs[names[0]], cut, EFFORT_QUALITIES, say)
    figures["searched"] = {}
    for name in names[1:]:
        if len(codecs[name].spec.efforts) > 1:
            say(f"efforts of {name}")
            figures["searched"][name] = parts.searched(codecs[name], items)
    figures["memory"] = None
    if not options.no_memory:
        say("memory")
        figures["memory"] = image_memory.memory(names[0], chosen[names[0]], 6000, 4000)
    figures["vq16"] = _vq16(options, names, say)
    figures["weights"] = {name: _weights(name) for name in names}
    draw(report, options.out.parent)
    return to_markdown(figures, report), figures


def _known(names: Sequence[str], say: Say) -> list[str]:
    """Return the codecs that are there; a line is said for each that is not."""
    found = []
    for name in names:
        try:
            describe(name)
        except (OmnicodecError, OSError, KeyError, ValueError) as e:  # without weights
            say(f"left out {name}, which cannot be opened: {e!r}")
        else:
            found.append(name)
    if not found:
        raise InvalidInput(f"none of {', '.join(names)} is there")
    return found


def _qualities(name: str, words: str) -> list[int]:
    """Return the qualities to measure a codec at: those of `words` that it has, or all."""
    known = describe(name).qualities
    found = [q for q in map(int, filter(None, words.split(","))) if q in known]
    return found or sorted(known, reverse=True)


def _items(data: Path, say: Say) -> Iterator[tuple[str, Image]]:
    for name, image in Source(data, Image, say):
        assert isinstance(image, Image)
        yield name, image


def _vq16(options: argparse.Namespace, names: Sequence[str], say: Say) -> dict[str, Any] | None:
    """Return the speed of the tokenizer among the codecs that has VQ-16's patches, beside it."""
    if options.no_vq16 or "image/vq" not in names:
        return None
    say("beside VQ-16")
    encoding, decoding, batch = beside_vq16(
        "image/vq",
        options.data,
        count=options.pictures,
        rounds=options.rounds,
        device=options.device,
    )
    return {"encode": encoding.to_dict(), "decode": decoding.to_dict(), "batch": batch}


def _weights(codec: str) -> dict[str, int]:
    """Return the sizes of files of weights, in bytes."""
    files = sorted(weights.folder(codec).glob("*.safetensors*"))
    return {file.name: file.stat().st_size for file in files}


def draw(report: Report, folder: Path) -> None:
    """Write the curves as image-psnr.svg, image-ms_ssim.svg and so on."""
    for metric in report.kind.metrics:
        chart = rate_chart(report.curves, metric, report.kind.rate, standalone=True)
        if chart:
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(folder / f"image-{metric.name}.svg", chart.encode())


def to_markdown(figures: Mapping[str, Any], report: Report) -> str:
    """Return the tables of all figures."""
    pieces = [report.to_table(), *_tables(figures)]
    if vq16 := figures["vq16"]:
        pieces.append(
            "VQ-16 is the tokenizer of LlamaGen and Janus, transformers.JanusVQVAE, with random "
            f"weights in float32, in batches of {vq16['batch']}, the better of 1 and 8; only its "
            "network is timed, while image/vq starts from 8-bit pictures and ends with them."
        )
    sizes = {name: sum(files.values()) / 1e6 for name, files in figures["weights"].items()}
    pieces.append("Weights: " + ", ".join(f"{n} {mb:.1f} MB" for n, mb in sizes.items()) + ".")
    return "\n\n".join(pieces)


def _tables(figures: Mapping[str, Any]) -> Iterator[str]:
    ways = ("compress", "decompress", "encode", "decode")
    yield markdown(
        ["million pixels a second", *ways],
        [[name, *(number(row[way]) for way in ways)] for name, row in figures["speed"].items()],
    )
    keys = ("raw_bpp", "coded_bpp", "saved_percent", "encode_positions_s", "decode_positions_s")
    yield markdown(
        ["prior", "raw bpp", "coded bpp", "saved %", "encode positions/s", "decode"],
        [
            [name, *(number(row[k], 4) for k in keys[:2]), *(number(row[k]) for k in keys[2:])]
            for name, row in figures["prior"].items()
        ],
    )
    yield markdown(
        [f"{100 * parts.LOST:g} % of tokens lost", "PSNR of all", "random", "dB", "band", "dB"],
        [
            [
                name,
                number(row["psnr"]["all"], 2),
                *(
                    number(row[k][way], 2)
                    for way in ("random", "band")
                    for k in ("psnr", "lost_db")
                ),
            ]
            for name, row in figures["missing"].items()
        ],
    )
    if found := figures["efforts"]:
        metrics = list(dict.fromkeys(m for row in found.values() for m in row["bd_rate"]))
        yield markdown(
            [f"effort, {SIDE}x{SIDE}", "seconds", "MP/s", *(f"BD-rate {m}, %" for m in metrics)],
            [
                [
                    effort,
                    *(number(row[k]) for k in ("seconds", "mp_s")),
                    *(number(row["bd_rate"].get(m), 1) for m in metrics),
                ]
                for effort, row in found.items()
            ],
        )
    if found := figures["searched"]:
        efforts = [(name, effort, row) for name, of in found.items() for effort, row in of.items()]
        names = list(efforts[0][2])
        yield markdown(
            ["codec", "effort", *names],
            [[name, effort, *(number(row[n]) for n in names)] for name, effort, row in efforts],
        )
    if found := figures["memory"]:
        what = f"{found['codec']}, {found['width']}x{found['height']}"
        yield markdown([what, *image_memory.HEADER], image_memory.rows(found))
    if found := figures["vq16"]:
        yield markdown(
            ["256x256 pictures", "image/vq", "VQ-16", "ratio min", "median", "max"],
            [
                [
                    f"{way} pictures/s",
                    *(number(found[way]["per_second"][n]) for n in ("image/vq", "VQ-16")),
                    *(number(found[way]["ratio"][k]) for k in ("min", "median", "max")),
                ]
                for way in ("encode", "decode")
            ],
        )
