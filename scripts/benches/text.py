"""Rate of a text codec beside zstd, xz and gzip, by document and by file, and its speed."""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from benches import _texts
from benches._pairs import alternate

from omnicodec.codecs import (
    OmnicodecError,
    Text,
    Unavailable,
    compress_many,
    decompress_many,
)
from omnicodec.codecs.stream import frames
from omnicodec.models import weights
from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.table import markdown, number

ZSTD: Final = "zstd -19"
ALONE: Final = 1 << 16
MANY: Final = 1 << 14
"""Bytes of the document that is timed alone, and of each of the many."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder, file or .tar shard")
    parser.add_argument("--codec", default="text/bytes", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="for speed; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="for speed; default: %(default)s")
    parser.add_argument("--max-items", type=int, help="files; default: all")


@dataclass(frozen=True)
class Format:
    """A compressor that the codec is compared with."""

    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Sizes:
    """Bytes of texts, and of each of them in each format, of which the first is the codec's.

    The codec's are those of the entropy-coded chunks; `streams` has the whole .omc streams.
    """

    texts: tuple[int, ...]
    coded: Mapping[str, tuple[int, ...]]
    streams: tuple[int, ...]

    def rates(self) -> dict[str, float]:
        """Return bits per byte, all texts together."""
        total = sum(self.texts) or 1
        rates = {name: 8 * sum(sizes) / total for name, sizes in self.coded.items()}
        return {**rates, ".omc": 8 * sum(self.streams) / total}

    def losses(self, names: Iterable[str]) -> list[str]:
        """Return the names of texts that the codec makes larger than zstd does."""
        codec = next(iter(self.coded))
        sizes = zip(names, self.coded[codec], self.coded[ZSTD], strict=True)
        return [name for name, ours, theirs in sizes if ours > theirs]


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    formats = _formats()
    files = _texts.read(options.data, options.max_items)
    whole = _measure(list(files.values()), options.codec, formats)
    above, checked = whole.losses(files), len(files)
    tables, documents = [], {}
    for size in _texts.COUNTS:
        domains = {
            domain: _measure(texts, options.codec, formats)
            for domain, texts in _texts.documents(files, size).items()
        }
        for domain, sizes in domains.items():
            names = [f"{domain} {size} {i}" for i in range(len(sizes.texts))]
            above += sizes.losses(names)
            checked += len(names)
        if domains:
            documents[str(size)] = _by_domain(domains)
            tables.append(_domain_table(size, documents[str(size)], options.codec))
    speed_table, speed = _speed(list(files.values()), options, formats[ZSTD])
    stored, first = _weights(options.codec), _first_call(options.codec)
    figures = {
        "codec": options.codec,
        "versions": {"zstandard": import_module("zstandard").__version__},
        "documents": documents,
        "files": [
            {
                "name": name,
                "bytes": whole.texts[i],
                **{way: sizes[i] for way, sizes in whole.coded.items()},
                ".omc": whole.streams[i],
            }
            for i, name in enumerate(files)
        ],
        "all_files": whole.rates(),
        "above_zstd": {"checked": checked, "names": above},
        "speed": speed,
        "weights": stored,
        "first_call_seconds": first,
    }
    lines = [
        *tables,
        _file_table(files, whole),
        speed_table,
        f"Larger than with {ZSTD}: {len(above)} of {checked} texts{'; ' if above else '.'}"
        f"{', '.join(above[:5])}",
        f"Weights: {stored['bytes']:,} bytes, {stored['in_wheel']:,} in the wheel.",
        f"Start and first text of a new process: {first['cold']:.1f} s with nothing compiled, "
        f"{first['warm']:.1f} s afterwards.",
        str(Environment.here("cpu")),
    ]
    return "\n\n".join(lines) + "\n", figures


def _formats() -> dict[str, Format]:
    try:
        zstd = import_module("zstandard")
    except ImportError as e:
        raise Unavailable("this needs zstandard: pip install zstandard") from e
    formats = {
        ZSTD: Format(
            lambda text: zstd.ZstdCompressor(level=19).compress(text),
            lambda data: zstd.ZstdDecompressor().decompress(data),
        ),
        "xz -9e": Format(
            lambda text: lzma.compress(text, preset=9 | lzma.PRESET_EXTREME), lzma.decompress
        ),
        "gzip -9": Format(lambda text: gzip.compress(text, 9, mtime=0), gzip.decompress),
    }
    try:
        brotli = import_module("brotli")
    except ImportError:
        return formats
    return {**formats, "brotli -q 11": Format(brotli.compress, brotli.decompress)}


def _measure(texts: Sequence[bytes], codec: str, formats: Mapping[str, Format]) -> Sizes:
    """Return what each text takes by itself; raises `OmnicodecError` if one does not come back."""
    items = [Text(text) for text in texts]
    streams = list(compress_many(items, codec))
    if list(decompress_many(streams)) != items:
        raise OmnicodecError(f"a text does not come back from {codec}")
    coded = {codec: tuple(map(_payload, streams))}
    for name, form in formats.items():
        coded[name] = tuple(len(form.encode(text)) for text in texts)
    return Sizes(tuple(map(len, texts)), coded, tuple(map(len, streams)))


def _payload(stream: bytes) -> int:
    """Return the bytes of a stream's chunks without header, counts and checksums."""
    _, at = frames.read_header(stream)
    size = 0
    while at < len(stream):
        chunk, at = frames.read_chunk(stream, at)
        size += len(chunk.payload)
    return size


def _by_domain(domains: Mapping[str, Sizes]) -> dict[str, Any]:
    rates = {domain: sizes.rates() for domain, sizes in domains.items()}
    mean = {
        name: sum(rate[name] for rate in rates.values()) / len(rates)
        for name in next(iter(rates.values()))
    }
    codec = next(iter(mean))
    return {
        "documents": {domain: len(sizes.texts) for domain, sizes in domains.items()},
        "bits_per_byte": {**rates, "mean": mean},
        "ratio": {name: mean[codec] / mean[name] for name in mean if name not in (codec, ".omc")},
    }


def _domain_table(size: int, figures: Mapping[str, Any], codec: str) -> str:
    rates = figures["bits_per_byte"]
    title = f"documents of {size // 1024} KB, bits per byte"
    rows = [[name, *(number(rate, 3) for rate in rates[name].values())] for name in rates]
    ratios = [number(figures["ratio"].get(name), 3) for name in rates["mean"]]
    rows.append([f"{codec}, mean, to this", *ratios])
    return markdown([title, *rates["mean"]], rows)


def _file_table(files: Mapping[str, bytes], whole: Sizes) -> str:
    names = [*whole.coded, ".omc"]
    columns = [*whole.coded.values(), whole.streams]
    rows = [
        [name, f"{size:,}", *(number(8 * column[i] / size, 3) for column in columns)]
        for i, (name, size) in enumerate(zip(files, whole.texts, strict=True))
        if size
    ]
    rates = whole.rates()
    rows.append(["all", f"{sum(whole.texts):,}", *(number(rates[name], 3) for name in names)])
    return markdown(["files, bits per byte", "bytes", *names], rows)


def _speed(
    texts: Sequence[bytes], options: argparse.Namespace, other: Format
) -> tuple[str, dict[str, Any]]:
    """Return speeds in KB (1,024 bytes) a second, beside zstd in one thread."""
    joined = b"".join(texts)
    alone = joined[:ALONE]
    many = [joined[at : at + MANY] for at in range(0, min(len(joined), 1 << 20), MANY)]
    rows, figures = [], {}
    for name, title, documents, threads in (
        ("alone", f"one text of {len(alone) // 1024} KB", [alone], 1),
        ("many", f"{len(many)} texts of {MANY // 1024} KB", many, options.threads),
    ):
        pairs = _both_ways(documents, threads, options, other)
        kilobytes = sum(map(len, documents)) / 1024
        for way, steps in pairs.items():
            timed = alternate(steps, work=kilobytes, rounds=options.rounds)
            count = "1 thread" if threads == 1 else f"{threads} threads"
            rows.append(timed.row(f"{title}, {count}, {way} KB/s"))
            figures[f"{name}_{way}"] = {"threads": threads, **timed.to_dict()}
    header = ["speed", options.codec, ZSTD, "ratio min", "median", "max"]
    return markdown(header, rows), figures


def _both_ways(
    documents: Sequence[bytes], threads: int, options: argparse.Namespace, other: Format
) -> dict[str, Any]:
    codec = options.codec
    items = [Text(document) for document in documents]
    streams = list(compress_many(items, codec))
    coded = [other.encode(document) for document in documents]
    return {
        "compress": {
            codec: lambda: list(compress_many(items, codec, threads=threads)),
            ZSTD: lambda: [other.encode(document) for document in documents],
        },
        "decompress": {
            codec: lambda: list(decompress_many(streams, threads=threads)),
            ZSTD: lambda: [other.decode(data) for data in coded],
        },
    }


def _weights(codec: str) -> dict[str, int]:
    """Return the size of a codec's weights as they lie on disk, and as a wheel holds them."""
    files = [path.read_bytes() for path in weights.folder(codec).glob("*.safetensors*")]
    return {
        "bytes": sum(map(len, files)),
        "in_wheel": sum(len(zlib.compress(data, 6)) for data in files),
    }


def _first_call(codec: str) -> dict[str, float]:
    """Return what a new process takes for a text, before and after loops are compiled."""
    code = (
        "import time; start = time.perf_counter(); "
        "from omnicodec.codecs import Text, compress, decompress; "
        f"decompress(compress(Text('a text'), {codec!r})); print(time.perf_counter() - start)"
    )
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in ("cold", "warm"):
            done = subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "NUMBA_CACHE_DIR": folder},
                capture_output=True,
                check=True,
            )
            seconds.append(json.loads(done.stdout))
    return dict(zip(("cold", "warm"), seconds, strict=True))
