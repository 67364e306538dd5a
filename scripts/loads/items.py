"""What requests carry, and what their answers have to be: made here, the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from omnicodec.codecs import (
    Audio,
    Codec,
    Image,
    InvalidInput,
    Media,
    Text,
    Tokens,
    compress,
    load,
)
from omnicodec.service.client import AsyncClient

VARIETY: Final = 8
"""Different items of each kind; texts are all different."""

SIDE: Final = 128
"""Pixels of a picture's side."""

SECONDS: Final = 1.0
"""Of a sound."""

_RATE: Final = 24_000

CODECS: Final = {
    "text": "text/bytes",
    "compress": "text/bytes",
    "image": "image/vq",
    "decode": "image/vq",
    "audio": "audio/rvq",
}
"""Kinds of requests and the codec of each: Encode, but for `compress` and `decode`."""


class WrongAnswer(Exception):
    """An answer that is not the one to its request."""


@dataclass(frozen=True)
class Expected:
    """Digests of the right answers in the order of the items, and what `decode` sends."""

    digests: tuple[str, ...]
    tokens: tuple[Tokens, ...] = ()


def items(kind: str) -> list[Media]:
    """Return the items of a kind, always the same."""
    rng = np.random.default_rng(sum(map(ord, CODECS[kind])))
    made: list[Media] = []
    for _ in range(VARIETY):
        match CODECS[kind].partition("/")[0]:
            case "image":
                slopes = rng.uniform(-1, 1, (2, 3))
                rows, columns = np.mgrid[0:SIDE, 0:SIDE][..., None]
                noise = rng.normal(0, 8, (SIDE, SIDE, 3))
                pixels = 128 + rows * slopes[0] + columns * slopes[1] + noise
                made.append(Image(pixels.clip(0, 255).astype(np.uint8)))
            case "audio":
                times = np.arange(round(SECONDS * _RATE)) / _RATE
                tones = rng.uniform(80, 4000, (5, 1))
                waves = np.sin(2 * np.pi * tones * times).sum(0) / 10
                noise = rng.normal(0, 0.01, waves.shape)
                made.append(Audio((waves + noise)[None].astype(np.float32), _RATE))
            case _:
                made.append(Text(rng.integers(32, 127, 2048, np.uint8).tobytes()))
    return made


def expected(kind: str, device: str) -> Expected:
    """Return what this process makes of the items of a kind."""
    if kind == "text":
        return Expected(())  # the tokens of a text are its bytes
    own = items(kind)
    if kind == "compress":
        return Expected(tuple(_digest(compress(item, CODECS[kind], device=device)) for item in own))
    codec: Codec[Media] = load(CODECS[kind], device=device)
    tokens = codec.encode(own)
    if kind == "decode":
        media = codec.decode(tokens)
        return Expected(tuple(_media_digest(item) for item in media), tuple(tokens))
    return Expected(tuple(_tokens_digest(item) for item in tokens))


def save(expected: dict[str, Expected], folder: Path) -> None:
    """Write what is expected for other processes to `restore`."""
    for kind, found in expected.items():
        (folder / f"{kind}.txt").write_text("\n".join(found.digests))
        for i, tokens in enumerate(found.tokens):
            tokens.save(folder / f"{kind}-{i}.npz")


def restore(kind: str, folder: Path) -> Expected:
    """Return what `save` wrote."""
    digests = tuple((folder / f"{kind}.txt").read_text().split())
    tokens = tuple(Tokens.load(path) for path in sorted(folder.glob(f"{kind}-*.npz")))
    return Expected(digests, tokens)


def requester(kind: str, folder: Path) -> Callable[[AsyncClient, int], Awaitable[None]]:
    """Return a function that makes the request of a number, and raises `WrongAnswer`.

    Requests of neighbouring numbers carry different items.
    """
    name = CODECS[kind]
    right = restore(kind, folder)
    own = items(kind)

    async def text(client: AsyncClient, number: int) -> None:
        data = b"request %d. " % number * 20
        (found,) = await client.encode([Text(data)], name)
        if found.ids[0].astype(np.uint8).tobytes() != data:
            raise WrongAnswer(f"request {number}: the tokens of another text")

    async def encode(client: AsyncClient, number: int) -> None:
        at = number % VARIETY
        (found,) = await client.encode([own[at]], name)
        _check(number, right.digests, at, _tokens_digest(found))

    async def stream(client: AsyncClient, number: int) -> None:
        at = number % VARIETY
        (found,) = await client.compress([own[at]], name)
        _check(number, right.digests, at, _digest(found))

    async def decode(client: AsyncClient, number: int) -> None:
        at = number % VARIETY
        (found,) = await client.decode([right.tokens[at]])
        _check(number, right.digests, at, _media_digest(found))

    return {"text": text, "compress": stream, "decode": decode}.get(kind, encode)


def parse_mix(text: str) -> dict[str, float]:
    """Return the share of each kind in a mix such as "text=6,image=3,audio=1".

    Raises `InvalidInput`.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        kind, _, weight = part.strip().partition("=")
        try:
            shares[kind] = float(weight or "1")
        except ValueError:
            shares[kind] = -1.0
        if kind not in CODECS or not shares[kind] > 0:
            raise InvalidInput(f"a mix is like text=6,image=1, of {', '.join(CODECS)}")
    total = sum(shares.values())
    return {kind: share / total for kind, share in shares.items()}


def _check(number: int, digests: Sequence[str], at: int, found: str) -> None:
    if found == digests[at]:
        return
    other = f"that of item {digests.index(found)}" if found in digests else "that of no item"
    raise WrongAnswer(f"request {number}: the answer is {other}, and not that of item {at}")


def _tokens_digest(tokens: Tokens) -> str:
    facts = f"{tokens.codec} {tokens.fingerprint} {tokens.grid} {sorted(tokens.extent.items())}"
    return _digest(facts.encode() + tokens.ids.astype("<i4").tobytes())


def _media_digest(media: Media) -> str:
    if not isinstance(media, Image):
        raise InvalidInput("only pictures are decoded here")
    return _digest(str(media.pixels.shape).encode() + media.pixels.tobytes())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]
