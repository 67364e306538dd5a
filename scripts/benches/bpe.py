"""Bytes a token by method, and speed beside calling `tokenizers` directly."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benches import _texts
from benches._pairs import Pairs, alternate

from omnicodec.codecs import InvalidInput, Text, load
from omnicodec.service.evaluate import Environment
from omnicodec.service.evaluate.table import markdown, number

DOCUMENT: Final = 1 << 12
MEGABYTE: Final = 1_000_000


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder, file or .tar shard")
    parser.add_argument(
        "--codec", default="text/bpe", help="or a tokenizer.json; default: %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    parser.add_argument("--max-items", type=int, help="files; default: all")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    from tokenizers import Tokenizer
    from tokenizers import __version__ as version

    path = Path(options.codec)
    codec = load(path if path.exists() else options.codec)
    engine = Tokenizer.from_str(codec.to_json().decode())
    files = _texts.read(options.data, options.max_items)
    methods: tuple[str | None, ...] = codec.spec.methods or (None,)
    # Speeds first: both engines have then seen the same words, and keep the same ones.
    strings = _strings(list(files.values()))
    speeds = _speeds(codec, engine, strings, options.rounds)
    hard = _hard(codec, strings, options.rounds)
    rates = {
        name: {method or "": _rate(codec, text, method) for method in methods}
        for name, text in files.items()
        if text
    }
    title = f"{codec.spec.name} {codec.spec.fingerprint}, bytes a token"
    rate_rows = [[name, *(number(r, 2) for r in rate.values())] for name, rate in rates.items()]
    header = ["speed, MB/s", "codec", "directly", "ratio min", "median", "max"]
    lines = [
        markdown([title, *(method or "tokens" for method in methods)], rate_rows),
        markdown(header, [pairs.row(name) for name, pairs in speeds.items()]),
        markdown(["1 MB", "MB/s", "plain text", *header[3:]], [h.row(n) for n, h in hard.items()]),
        "The codec starts from bytes and ends with tokens or bytes; tokenizers starts from str "
        f"and ends with lists or str. Documents have {DOCUMENT:,} characters, and "
        "a ratio is how many times as fast the first is as the second.",
        f"{Environment.here('cpu')}, tokenizers {version}",
    ]
    figures = {
        "codec": codec.spec.name,
        "fingerprint": codec.spec.fingerprint,
        "versions": {"tokenizers": version},
        "bytes_per_token": rates,
        "speed": {name: pairs.to_dict() for name, pairs in speeds.items()},
        "hard": {name: pairs.to_dict() for name, pairs in hard.items()},
    }
    return "\n\n".join(lines) + "\n", figures


def _rate(codec: Any, text: bytes, method: str | None) -> float:
    (tokens,) = codec.encode([Text(text)], method=method)
    return len(text) / max(1, len(tokens))


def _strings(texts: list[bytes]) -> list[str]:
    """Return about a megabyte of the texts, evenly, as strings of `DOCUMENT` characters."""
    strings = [
        text[at : at + DOCUMENT]
        for text in (each.decode("utf-8", "ignore") for each in texts)
        for at in range(0, len(text), DOCUMENT)
    ]
    return strings[:: max(1, sum(map(len, strings)) // MEGABYTE)]


def _speeds(codec: Any, engine: Any, strings: list[str], rounds: int) -> dict[str, Pairs]:
    """Return the same work done by the codec and by its engine alone, in MB a second."""
    items = [Text(string) for string in strings]
    tokens = codec.encode(items)
    lists = [each.ids[0].tolist() for each in tokens]
    if lists != [each.ids for each in engine.encode_batch_fast(strings, add_special_tokens=False)]:
        raise InvalidInput("the codec's ids are not those of its tokenizer")
    whole = "".join(strings)
    one = [Text(whole)]

    def directly_each() -> None:
        for string in strings:
            _ = engine.encode(string, add_special_tokens=False).ids

    def each_as_batch() -> None:
        for string in strings:
            _ = engine.encode_batch_fast([string], add_special_tokens=False)[0].ids

    def each() -> None:
        for item in items:
            codec.encode([item])

    def batch() -> list[list[int]]:
        return [e.ids for e in engine.encode_batch(strings, add_special_tokens=False)]

    def fast_batch() -> list[list[int]]:
        return [e.ids for e in engine.encode_batch_fast(strings, add_special_tokens=False)]

    ways: dict[str, tuple[Any, Any]] = {
        "one by one, encode": (each, directly_each),
        "one by one, encode_batch_fast": (each, each_as_batch),
        "batch, encode_batch": (lambda: codec.encode(items), batch),
        "batch, encode_batch_fast": (lambda: codec.encode(items), fast_batch),
        "1 MB, encode": (
            lambda: codec.encode(one),
            lambda: engine.encode(whole, add_special_tokens=False).ids,
        ),
        "decode, decode_batch": (
            lambda: codec.decode(tokens),
            lambda: engine.decode_batch(lists, skip_special_tokens=False),
        ),
    }
    megabytes = len(whole.encode()) / 1e6
    return {
        name: alternate({"codec": ours, "directly": theirs}, work=megabytes, rounds=rounds)
        for name, (ours, theirs) in ways.items()
    }


def _hard(codec: Any, strings: list[str], rounds: int) -> dict[str, Pairs]:
    """Return megabytes that are hard for many tokenizers beside one of plain text."""
    plain = [Text("".join(strings).encode()[:MEGABYTE])]
    hard = {
        "one letter": b"a" * MEGABYTE,
        "spaces": b" " * MEGABYTE,
        "zeros": bytes(MEGABYTE),
        "not UTF-8": b"\xff" * MEGABYTE,
    }

    def step(items: list[Text]) -> Callable[[], object]:
        return lambda: codec.encode(items)

    return {
        name: alternate({"it": step([Text(data)]), "plain": step(plain)}, work=1.0, rounds=rounds)
        for name, data in hard.items()
    }
