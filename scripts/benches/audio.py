"""Quality of a sound codec beside Opus, MP3 and Vorbis; speed beside EnCodec; prior, delay."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from benches import _sounds
from benches._encodec import KBPS, encodec
from benches._pairs import alternate
from benches.audio_memory import memory

from omnicodec.codecs import Audio, InvalidInput, OmnicodecError, Tokens, load
from omnicodec.codecs.codec import StreamingCodec
from omnicodec.codecs.prior import Span
from omnicodec.models import weights
from omnicodec.service.evaluate import Report, evaluate
from omnicodec.service.evaluate.measure import timed
from omnicodec.service.evaluate.modality import MODALITIES
from omnicodec.service.evaluate.sound_metrics import RATE
from omnicodec.service.evaluate.table import markdown, number

LIVE_SECONDS: Final = 0.02
"""A piece of a live stream."""

HOUR: Final = 3600.0
"""Seconds of stereo that memory is measured on."""

Sound = StreamingCodec[Audio]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder with speech/ and music/, or any sound")
    parser.add_argument("--codec", default="audio/rvq", help="default: %(default)s")
    parser.add_argument("--quality", type=int, default=6, help="for speed; default: %(default)s")
    parser.add_argument("--against", default="opus,mp3,vorbis", help="default: %(default)s")
    parser.add_argument("--max-items", type=int, help="clips of each folder; default: all")
    parser.add_argument("--seconds", type=float, default=10, help="for speed; default: 10")
    parser.add_argument("--rounds", type=int, default=7, help="for speed; default: %(default)s")
    parser.add_argument("--no-memory", action="store_true", help="leave an hour of sound out")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    codec = load(options.codec, device="cpu")
    if not isinstance(codec, StreamingCodec) or codec.media_type is not Audio:
        raise InvalidInput(f"{options.codec} is not a streaming codec of sound")
    found = {
        name: _sounds.clips(folder, options.max_items)
        for name, folder in _sounds.groups(options.data).items()
    }
    reports = {name: _quality(name, clips, codec, options) for name, clips in found.items()}
    speech = next(iter(found.values()))
    recording = _sounds.joined(speech, options.seconds)
    figures = {
        "codec": options.codec,
        "quality": {name: report.to_dict() for name, report in reports.items()},
        "speed": _speed(codec, recording, options),
        "prior": {name: _prior(codec, clips, options.quality) for name, clips in found.items()},
        "live": _live(codec, recording, options.quality),
        "memory": None if options.no_memory else memory(options.codec, HOUR),
        "weights": _weights(options.codec),
    }
    notes = dict.fromkeys(note for report in reports.values() for note in report.notes())
    return "\n\n".join([to_markdown(figures), *notes]), figures


def _quality(
    name: str, clips: dict[str, Audio], codec: Sound, options: argparse.Namespace
) -> Report:
    """Return the evaluation of clips at each quality, beside the formats."""
    others = [quality for quality in codec.spec.qualities if quality != options.quality]
    with tempfile.TemporaryDirectory() as folder:
        _sounds.save(clips, Path(folder, name))
        return evaluate(
            options.codec,
            Path(folder, name),
            against=[form for form in options.against.split(",") if form],
            qualities=[options.quality, *others],
            device="cpu",
            report=lambda line: print(line, file=sys.stderr),
        )


def _speed(codec: Sound, audio: Audio, options: argparse.Namespace) -> dict[str, Any]:
    """Return seconds of sound a second, in turn with EnCodec, on one thread."""
    encode, decode, version = encodec(audio)
    tokens = codec.encode([audio], quality=options.quality)
    name, work, rounds = options.codec, audio.duration, options.rounds
    encoding = {name: lambda: codec.encode([audio], quality=options.quality), "EnCodec": encode}
    decoding = {name: lambda: codec.decode(tokens), "EnCodec": decode}
    return {
        "seconds": audio.duration,
        "kbps": {name: options.quality, "EnCodec": KBPS},
        "encodec": version,
        "encode": alternate(encoding, work=work, rounds=rounds).to_dict(),
        "decode": alternate(decoding, work=work, rounds=rounds).to_dict(),
    }


def _prior(codec: Sound, clips: dict[str, Audio], quality: int) -> dict[str, Any]:
    """Return what the prior makes of clips one by one, and of all of them as one recording."""
    items = codec.encode([_sounds.joined({name: a}) for name, a in clips.items()], quality=quality)
    whole = codec.encode([_sounds.joined(clips)], quality=quality)
    return {"clips": _coded(codec, items), "recording": _coded(codec, whole)}


def _coded(codec: Sound, items: list[Tokens]) -> dict[str, float]:
    """Return bits of chunks beside raw codes, and the prior's speed; codes must come back."""
    raw = sum(codec.token_bits(tokens) for tokens in items)
    chunks = [
        (tokens.ids[:, start : start + len(span)], span)
        for tokens in items
        for start in range(0, len(tokens), codec.chunk_positions)
        for span in [Span(tokens.grid, start, min(len(tokens), start + codec.chunk_positions))]
    ]
    codec.prior.decode(codec.prior.encode(*chunks[0]), chunks[0][1])  # warm up
    payloads, encoding = timed(lambda: [codec.prior.encode(ids, span) for ids, span in chunks])
    pairs = list(zip(payloads, chunks, strict=True))
    decoded, decoding = timed(lambda: [codec.prior.decode(p, span) for p, (_, span) in pairs])
    if not all(np.array_equal(a, ids) for a, (ids, _) in zip(decoded, chunks, strict=True)):
        raise OmnicodecError("codes do not come back from the prior")
    seconds = sum(item.extent["samples"] / item.extent["rate"] for item in items)
    coded = 8 * sum(map(len, payloads))
    return {
        "seconds": seconds,
        "chunks": len(chunks),
        "raw_kbps": raw / seconds / 1000,
        "coded_kbps": coded / seconds / 1000,
        "saved_percent": 100 * (1 - coded / raw),
        "encode_x_real_time": seconds / encoding,
        "decode_x_real_time": seconds / decoding,
    }


def _live(codec: Sound, audio: Audio, quality: int) -> dict[str, float]:
    """Return delays in ms of sound, and how fast pieces of 20 ms are coded and decoded."""
    first, heard = _delays(codec, audio, quality)
    size = round(LIVE_SECONDS * audio.sample_rate)
    encoder, decoder = codec.open_encoder(quality=quality), codec.open_decoder()
    encoding, decoding = [], []
    for start in range(0, audio.samples.shape[1], size):
        piece = Audio(audio.samples[:, start : start + size], audio.sample_rate)
        tokens, seconds = timed(lambda piece=piece: encoder.push(piece))
        encoding.append(seconds)
        decoding.append(timed(lambda tokens=tokens: decoder.push(tokens))[1])
    both = [a + b for a, b in zip(encoding, decoding, strict=True)]
    return {
        "piece_ms": 1000 * LIVE_SECONDS,
        "first_token_ms": first,
        "first_sound_ms": heard,
        "encode_x_real_time": audio.duration / sum(encoding),
        "decode_x_real_time": audio.duration / sum(decoding),
        "piece_median_ms": 1000 * median(both),
        "piece_99_percent_ms": 1000 * float(np.quantile(both, 0.99)),
    }


def _delays(codec: Sound, audio: Audio, quality: int) -> tuple[float, float]:
    """Return after how many ms of sound, pushed one by one, tokens come, and decoded sound."""
    encoder, decoder = codec.open_encoder(quality=quality), codec.open_decoder()
    size, first = audio.sample_rate // 1000, 0.0
    for ms in range(1, 1001):
        tokens = encoder.push(Audio(audio.samples[:, (ms - 1) * size : ms * size], RATE))
        first = first or ms * float(len(tokens) > 0)
        if decoder.push(tokens).samples.size:
            return first, float(ms)
    raise OmnicodecError(f"{codec.spec.name} returns nothing for a second of sound")


def _weights(codec: str) -> dict[str, int]:
    """Return the sizes of files of weights, in bytes."""
    files = sorted(weights.folder(codec).glob("*.safetensors*"))
    return {file.name: file.stat().st_size for file in files}


def _quality_table(figures: Mapping[str, Any]) -> str:
    """Return kbps of whole files and quality: a row for each setting, columns by group."""
    rows: dict[str, list[str]] = {}
    for report in figures["quality"].values():
        own = [report, *report["others"]]
        measured = [
            (f"{report['codec']} -q {one['quality']}", one["summary"])
            for one in sorted(own, key=lambda one: one["quality"])
        ]
        measured += [
            (f"{anchor['title']} {point['setting']}", point["summary"])
            for anchor in report["anchors"]
            for point in anchor["points"]
        ]
        metrics = MODALITIES[report["modality"]].metrics
        for title, summary in measured:
            quality = [number(summary["quality"][m.name], m.digits) for m in metrics]
            rows.setdefault(title, []).extend([number(summary["rate"], 2), *quality])
    headings = [
        f"{group}: {what}" if what == "kbps" else what
        for group in figures["quality"]
        for what in ("kbps", *(m.title for m in MODALITIES["audio"].metrics))
    ]
    return markdown(["", *headings], [[title, *cells] for title, cells in rows.items()])


def to_markdown(figures: Mapping[str, Any]) -> str:
    """Return the tables of all figures, as docs/audio.md has them."""
    speed, live = figures["speed"], figures["live"]
    name = figures["codec"]
    parts = [
        _quality_table(figures),
        markdown(
            ["x real time, one thread", name, "EnCodec", "ratio min", "median", "max"],
            [
                [
                    way,
                    *(number(speed[way]["per_second"][n]) for n in (name, "EnCodec")),
                    *(number(speed[way]["ratio"][k]) for k in ("min", "median", "max")),
                ]
                for way in ("encode", "decode")
            ],
        ),
        f"EnCodec: {speed['encodec']}, default configuration, random weights, "
        f"{number(speed['kbps']['EnCodec'])} kbps; {speed['seconds']:g} s of speech.",
        markdown(
            ["prior", "raw kbps", "coded kbps", "saved %", "encode x real time", "decode"],
            [
                [
                    f"{group}, {what}",
                    *(number(row[k], 2) for k in ("raw_kbps", "coded_kbps", "saved_percent")),
                    *(number(row[f"{way}_x_real_time"]) for way in ("encode", "decode")),
                ]
                for group, rows in figures["prior"].items()
                for what, row in (
                    ("clip by clip", rows["clips"]),
                    ("as one recording", rows["recording"]),
                )
            ],
        ),
        f"Live, pieces of {live['piece_ms']:g} ms: first tokens after {live['first_token_ms']:g} "
        f"ms of sound, first sound decoded after {live['first_sound_ms']:g} ms; encoding "
        f"{number(live['encode_x_real_time'])} and decoding {number(live['decode_x_real_time'])} "
        f"times real time; a piece takes {number(live['piece_median_ms'])} ms both ways, 99 % "
        f"within {number(live['piece_99_percent_ms'])} ms.",
        f"Weights: {number(math.fsum(figures['weights'].values()) / 1e6, 1)} MB.",
    ]
    if figures["memory"] is not None:
        peaks = [
            f"{number(step['peak_mb'], 0)} MB to {way}"
            for way, step in figures["memory"]["steps"].items()
        ]
        hours = figures["memory"]["seconds"] / HOUR
        parts.append(f"Peak memory, {hours:g} h of stereo: {', '.join(peaks)}.")
    return "\n\n".join(parts)
