"""Rate and quality beside file formats; speed beside VQ-16."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from benches._pairs import Pairs, alternate
from benches._pictures import SIDE, pictures

from omnicodec.codecs import Unavailable, load
from omnicodec.service.evaluate import evaluate
from omnicodec.service.evaluate.measure import timed
from omnicodec.service.evaluate.table import markdown


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="folder, file or .tar shard")
    parser.add_argument("--codec", default="image/vq", help="default: %(default)s")
    parser.add_argument("--against", default="jpeg,webp,avif,jxl", help="default: %(default)s")
    parser.add_argument("--max-items", type=int, help="default: all")
    parser.add_argument("--pictures", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="default: %(default)s")


def run(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    report = evaluate(
        options.codec,
        options.data,
        against=options.against.split(","),
        device=options.device,
        max_items=options.max_items,
        report=lambda line: print(line, file=sys.stderr),
    )
    encoding, decoding, batch = _beside_vq16(options)
    table = markdown(
        ["256x256 pictures", *encoding.names, "ratio min", "median", "max"],
        [encoding.row("encode pictures/s"), decoding.row("decode pictures/s")],
    )
    text = (
        f"{report.to_table()}\n{table}\n\n"
        "VQ-16 is the tokenizer of LlamaGen and Janus, transformers.JanusVQVAE, with random "
        f"weights in float32, in batches of {batch}, the better of 1 and 8; only its network "
        f"is timed, while {options.codec} starts from 8-bit pictures and ends with them.\n"
    )
    figures = {
        "evaluation": report.to_dict(),
        "vq16": {"encode": encoding.to_dict(), "decode": decoding.to_dict(), "batch": batch},
    }
    return text, figures


def _beside_vq16(options: argparse.Namespace) -> tuple[Pairs, Pairs, int]:
    """Return the codec beside VQ-16 on the same pictures, and VQ-16's better batch size.

    Its architecture for 256x256 pictures does not depend on its weights, nor does its
    speed, so that nothing has to be downloaded.
    """
    import torch

    try:
        from transformers import JanusVQVAE, JanusVQVAEConfig
    except ImportError as e:
        raise Unavailable("VQ-16 needs transformers: pip install transformers") from e
    codec = load(options.codec, device=options.device)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # `num_patches` only says how many tokens decode() is to lay out as a square.
    network = JanusVQVAE(JanusVQVAEConfig(num_patches=SIDE // 16)).to(device)
    network.train(False)
    images = pictures(options.data, options.pictures)
    stacked = np.stack([image.pixels for image in images])
    pixels = torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div(127.5).sub(1).to(device)

    @torch.inference_mode()
    def encode(batch: int) -> torch.Tensor:
        parts = [network.encode(part).image_tokens for part in pixels.split(batch)]
        return torch.cat(parts).view(len(images), -1).cpu()

    best = min((1, 8), key=lambda batch: min(timed(lambda: encode(batch))[1] for _ in range(3)))
    indices = encode(best).to(device)
    tokens = codec.encode(images)

    @torch.inference_mode()
    def decode() -> torch.Tensor:
        return torch.cat([network.decode(part) for part in indices.split(best)]).cpu()

    encoding = {options.codec: lambda: codec.encode(images), "VQ-16": lambda: encode(best)}
    decoding = {options.codec: lambda: codec.decode(tokens), "VQ-16": decode}
    work, rounds = len(images), options.rounds
    return (
        alternate(encoding, work=work, rounds=rounds),
        alternate(decoding, work=work, rounds=rounds),
        best,
    )
