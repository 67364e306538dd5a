"""Parts of the benchmark of pictures: speed, priors, lost tokens, efforts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import Image, OmnicodecError, Tokens
from omnicodec.codecs.prior import Span
from omnicodec.codecs.registry import AnyCodec
from omnicodec.service.evaluate.curves import Measured, bd_rates
from omnicodec.service.evaluate.measure import measure_codec, timed
from omnicodec.service.evaluate.metrics import psnr
from omnicodec.service.evaluate.modality import MODALITIES

LOST: Final = 0.2
"""Share of tokens that are taken away."""

Pictures = Mapping[str, Image]


def speed(
    codec: AnyCodec, pictures: Pictures, quality: int | None, rounds: int
) -> dict[str, float]:
    """Return million pixels a second: medians over pictures of the best round of each.

    "compress" and "decompress" are whole ways between pixels and .omc bytes, "encode" and
    "decode" the networks' parts of them.
    """
    kind = MODALITIES["image"]
    found: dict[str, list[float]] = {}
    for name, image in pictures.items():
        measure_codec(codec, kind, name, image, quality)  # warm up
        results = [measure_codec(codec, kind, name, image, quality) for _ in range(rounds)]
        taken = [asdict(result.item.seconds) for result in results]
        for way in taken[0]:
            best = min(seconds[way] for seconds in taken)
            found.setdefault(way, []).append(image.height * image.width / best / 1e6)
    return {way: median(values) for way, values in found.items()}


def prior(codec: AnyCodec, pictures: Pictures, quality: int | None) -> dict[str, float]:
    """Return bits per pixel of tokens as they are and of chunks, and the prior's speed.

    Tokens must come back. Speeds are positions a second.
    """
    tokens = codec.encode(list(pictures.values()), quality=quality)
    pixels = sum(image.height * image.width for image in pictures.values())
    chunks = [chunk for item in tokens for chunk in _chunks(codec, item)]
    codec.prior.decode(codec.prior.encode(*chunks[0]), chunks[0][1])  # warm up
    payloads, encoding = timed(lambda: [codec.prior.encode(ids, span) for ids, span in chunks])
    pairs = list(zip(payloads, chunks, strict=True))
    decoded, decoding = timed(lambda: [codec.prior.decode(p, span) for p, (_, span) in pairs])
    if not all(np.array_equal(a, ids) for a, (ids, _) in zip(decoded, chunks, strict=True)):
        raise OmnicodecError("tokens do not come back from the prior")
    raw = sum(codec.token_bits(item) for item in tokens)
    coded = 8 * sum(map(len, payloads))
    positions = sum(map(len, tokens))
    return {
        "raw_bpp": raw / pixels,
        "coded_bpp": coded / pixels,
        "saved_percent": 100 * (1 - coded / raw),
        "encode_positions_s": positions / encoding,
        "decode_positions_s": positions / decoding,
    }


def _chunks(codec: AnyCodec, item: Tokens) -> list[tuple[NDArray[np.int32], Span]]:
    size = codec.chunk_positions
    spans = [Span(item.grid, s, min(len(item), s + size)) for s in range(0, len(item), size)]
    return [(item.ids[:, span.start : span.stop], span) for span in spans]


def losses(codec: AnyCodec, pictures: Pictures, quality: int | None) -> dict[str, Any]:
    """Return mean PSNR of all tokens, and with `LOST` of them filled in by the codec.

    "random" are single tokens anywhere, "band" is one run of them in the order of a stream,
    which is what a damaged chunk takes from a large picture.
    """
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {"all": [], "random": [], "band": []}
    for image in pictures.values():
        tokens = codec.encode([image], quality=quality)
        count = len(tokens[0])
        lost = round(LOST * count)
        masks: dict[str, NDArray[np.bool_] | None] = {"all": None}
        masks["random"] = np.zeros(count, np.bool_)
        masks["random"][rng.choice(count, lost, replace=False)] = True
        masks["band"] = np.zeros(count, np.bool_)
        start = int(rng.integers(0, count - lost + 1))
        masks["band"][start : start + lost] = True
        for way, mask in masks.items():
            (decoded,) = codec.decode(tokens, missing=[mask])
            found[way].append(psnr(image.pixels, decoded.pixels))
    means = {way: fmean(values) for way, values in found.items()}
    return {
        "share": LOST,
        "psnr": means,
        "lost_db": {way: means["all"] - value for way, value in means.items() if way != "all"},
    }


def efforts(
    codec: AnyCodec,
    pictures: Pictures,
    qualities: Sequence[int],
    told: Callable[[str], None],
) -> dict[str, Any]:
    """Return for each effort its BD-rates to the first, and seconds and MP/s of compressing.

    The points are stated as well: rates and figures of quality by the codec's quality.
    """
    kind = MODALITIES["image"]
    measured: list[Measured] = []
    seconds: dict[str, float] = {}
    for effort in codec.spec.efforts:
        first = next(iter(pictures.values()))
        measure_codec(codec, kind, "", first, qualities[0], effort)  # warm up
        settings = {}
        for quality in qualities:
            settings[str(quality)] = [
                measure_codec(codec, kind, name, image, quality, effort).item
                for name, image in pictures.items()
            ]
        items = [item for row in settings.values() for item in row]
        seconds[effort] = fmean(item.seconds.compress for item in items)
        measured.append(Measured.of(effort, settings, anchor=False, pooled=False))
        told(f"effort {effort}: {seconds[effort]:.2f} s a picture")
    rates = bd_rates(measured, kind.metrics, None)
    reference = codec.spec.efforts[0]
    pixels = fmean(image.height * image.width for image in pictures.values())
    return {
        one.curve.title: {
            "seconds": seconds[one.curve.title],
            "mp_s": pixels / seconds[one.curve.title] / 1e6,
            "bd_rate": {
                pair.metric: pair.against(reference)
                for pair in rates
                if {pair.curve, pair.reference} == {one.curve.title, reference}
            },
            "points": [asdict(point) for point in one.curve.points],
        }
        for one in measured
    }


def searched(codec: AnyCodec, pictures: Pictures) -> dict[str, dict[str, float | None]]:
    """Return what each effort of a tokenizer gives, at as many tokens: means over pictures."""
    kind = MODALITIES["image"]
    found: dict[str, dict[str, float | None]] = {}
    for effort in codec.spec.efforts:
        items = [
            measure_codec(codec, kind, name, image, None, effort).item
            for name, image in pictures.items()
        ]
        found[effort] = {}
        for metric in kind.metrics:
            values = [v for item in items if (v := item.quality[metric.name]) is not None]
            found[effort][metric.name] = fmean(values) if values else None
        found[effort]["seconds"] = fmean(item.seconds.encode or 0.0 for item in items)
    return found
