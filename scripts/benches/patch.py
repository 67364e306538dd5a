"""Byte patches: averages by method beside the target, codes and escapes, speed of cutting."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from benches import _texts
from benches._pairs import alternate

from omnicodec.codecs import OmnicodecError, Text, load
from omnicodec.codecs.text.patch import PatchCodec
from omnicodec.codecs.threads import in_order
from omnicodec.service.evaluate.measure import timed
from omnicodec.service.evaluate.table import markdown, number

PIECE: Final = 1 << 16
"""Bytes of the documents that speed is measured on."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder, file or .tar shard")
    parser.add_argument("--codec", default="text/patch", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="for speed; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="for speed; default: %(default)s")
    parser.add_argument("--codes", type=int, default=1 << 20, help="bytes of a file that are coded")
    parser.add_argument("--max-items", type=int, help="files; default: all")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    codec = load(options.codec)
    if not isinstance(codec, PatchCodec):
        raise OmnicodecError(f"{options.codec} does not cut texts into patches")
    files = {
        name: text for name, text in _texts.read(options.data, options.max_items).items() if text
    }
    target = codec.spec.covers["bytes"]
    averages = {name: _averages(codec, text) for name, text in files.items()}
    codes = {name: _codes(codec, text[: options.codes]) for name, text in files.items()}
    joined = b"".join(files.values())[: 1 << 20]
    pieces = [joined[at : at + PIECE] for at in range(0, len(joined), PIECE)]
    lines, figures = [], {}
    for method in codec.spec.methods:
        steps = {
            method: lambda method=method: _cut(codec, pieces, method, options.threads),
            "zlib -6": lambda: [zlib.compress(piece, 6) for piece in pieces],
        }
        pairs = alternate(steps, work=len(joined) / 1024, rounds=options.rounds)
        figures[method] = {"threads": options.threads, **pairs.to_dict()}
        lines.append(pairs.row(f"{method}, {options.threads} threads"))
    report = [
        f"target: {target} bytes",
        _average_table(averages, codec.spec.methods),
        _code_table(codes),
        markdown(["cutting, KB/s", options.codec, "zlib -6", "ratio min", "median", "max"], lines),
    ]
    return "\n\n".join(report), {
        "codec": options.codec,
        "target": target,
        "averages": averages,
        "codes": codes,
        "speed": figures,
    }


def _averages(codec: PatchCodec, text: bytes) -> dict[str, float]:
    """Return the bytes of an average patch of each method."""
    return {m: len(text) / codec.patches(text, m).size for m in codec.spec.methods}


def _codes(codec: PatchCodec, text: bytes) -> dict[str, float]:
    """Return what the default method's codes cover, and how fast; the text must come back."""
    (tokens,), encoding = timed(lambda: codec.encode([Text(text)]))
    decoded, decoding = timed(lambda: codec.decode([tokens]))
    if decoded != [Text(text)]:
        raise OmnicodecError("a text does not come back")
    learned = codec.spec.codebook_sizes[0] - 256
    patches = codec.patches(text).size
    codes = int((tokens.ids[0] < learned).sum())
    return {
        "bytes": len(text),
        "bytes_per_position": len(text) / len(tokens),
        "escaped": (patches - codes) / patches,
        "encode_kb_per_second": len(text) / 1024 / encoding,
        "decode_kb_per_second": len(text) / 1024 / decoding,
    }


def _cut(
    codec: PatchCodec, pieces: Sequence[bytes], method: str, threads: int
) -> list[np.ndarray[Any, np.dtype[np.int32]]]:
    return list(in_order(lambda piece: codec.patches(piece, method), pieces, threads=threads))


def _average_table(averages: dict[str, dict[str, float]], methods: Sequence[str]) -> str:
    rows = [[name, *(number(row[m], 3) for m in methods)] for name, row in averages.items()]
    return markdown(["bytes a patch", *methods], rows)


def _code_table(codes: dict[str, dict[str, float]]) -> str:
    header = ["codes", "bytes", "bytes a position", "escaped %", "encode KB/s", "decode KB/s"]
    rows = [
        [
            name,
            f"{int(row['bytes']):,}",
            number(row["bytes_per_position"], 3),
            number(100 * row["escaped"], 3),
            number(row["encode_kb_per_second"], 3),
            number(row["decode_kb_per_second"], 3),
        ]
        for name, row in codes.items()
    ]
    return markdown(header, rows)
