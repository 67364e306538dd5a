"""Speed beside VQ-16, the tokenizer of LlamaGen and Janus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benches._pairs import Pairs, alternate
from benches._pictures import SIDE, pictures

from omnicodec.codecs import Unavailable, load
from omnicodec.service.evaluate.measure import timed


def beside_vq16(
    name: str, folder: Path | None, *, count: int, rounds: int, device: str
) -> tuple[Pairs, Pairs, int]:
    """Return the codec beside VQ-16 on `count` pictures, and VQ-16's better batch size.

    Its architecture for 256x256 pictures does not depend on its weights, nor does its
    speed, so that nothing has to be downloaded.
    """
    import torch

    try:
        from transformers import JanusVQVAE, JanusVQVAEConfig
    except ImportError as e:
        raise Unavailable("VQ-16 needs transformers: pip install transformers") from e
    codec = load(name, device=device)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # `num_patches` only says how many tokens decode() is to lay out as a square.
    network = JanusVQVAE(JanusVQVAEConfig(num_patches=SIDE // 16)).to(device)
    network.train(False)
    images = pictures(folder, count)
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

    encoding = {name: lambda: codec.encode(images), "VQ-16": lambda: encode(best)}
    decoding = {name: lambda: codec.decode(tokens), "VQ-16": decode}
    work = len(images)
    return (
        alternate(encoding, work=work, rounds=rounds),
        alternate(decoding, work=work, rounds=rounds),
        best,
    )
