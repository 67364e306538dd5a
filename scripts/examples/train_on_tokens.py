"""From pictures with captions to a language model over both: tokenize, open, train.

    python scripts/examples/train_on_tokens.py --work example
    python scripts/examples/train_on_tokens.py --work example --pictures my/folder

A folder holds pictures, and beside each a .txt of the same name. Without one, `shapes` draws
pictures of one shape, which their captions name.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from omnicodec.codecs import Image
from omnicodec.service import batch
from omnicodec.service.batch.dataset import mask

COLOURS = {
    "red": (214, 40, 40), "green": (42, 157, 84), "blue": (39, 93, 173), "yellow": (247, 201, 72),
    "white": (240, 240, 240), "black": (20, 20, 20),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle")


def draw(shape: str, colour: str, ground: str, radius: float, side: int) -> NDArray[np.uint8]:
    """Return a picture of one shape in its middle, uint8 `(side, side, 3)`."""
    y, x = (np.mgrid[:side, :side] - side / 2) / (radius * side)
    inside = {
        "circle": x**2 + y**2 < 1,
        "square": np.maximum(abs(x), abs(y)) < 0.85,
        "triangle": (y < 0.8) & (2 * abs(x) - y < 0.9),
    }[shape]
    return np.where(inside[..., None], COLOURS[colour], COLOURS[ground]).astype(np.uint8)


def shapes(folder: Path, count: int, *, side: int = 64, seed: int = 0) -> None:
    """Draw pictures into a folder, each with its caption beside it."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        shape = str(random.choice(SHAPES))
        colour, ground = map(str, random.choice(list(COLOURS), 2, replace=False))
        picture = draw(shape, colour, ground, random.uniform(0.2, 0.45), side)
        Image(picture).save(folder / f"{number:05}.png")
        caption = f"a {colour} {shape} on a {ground} ground"
        (folder / f"{number:05}.txt").write_text(caption)


def tokenize(pictures: Path, out: Path, length: int) -> None:
    """Run `omnicodec tokenize`: captions before pictures, packed into sequences of `length`."""
    command = [sys.executable, "-m", "omnicodec.service.cli", "tokenize", str(pictures)]
    for column in ("txt=text", "png=image", "jpg=image"):
        command += ["--column", column]
    command += ["-c", "text/bpe", "-c", "image/vq", "--pack", str(length), "-o", str(out)]
    subprocess.run(command, check=True)


class Block(nn.Module):
    """Attention and a feed-forward network, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.to_qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return `(B, L, width)`; `seen` is bool `(B, 1, L, L)`."""
        q, k, v = self.to_qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.feed(self.norms[1](x))


class Transformer(nn.Module):
    """A decoder-only transformer whose embeddings are its output weights too."""

    def __init__(self, size: int, length: int, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(size, width), nn.Embedding(length, width)
        nn.init.normal_(self.tokens.weight, std=0.05)
        self.blocks = nn.ModuleList([Block(width, heads=4) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, positions: Tensor, seen: Tensor) -> Tensor:
        """Return the logits `(B, L, size)` of the ids that follow `ids`, `(B, L)`."""
        x = self.tokens(ids) + self.places(positions)
        for block in self.blocks:
            x = block(x, seen[:, None])
        return F.linear(self.norm(x), self.tokens.weight)


def train(folder: Path, steps: int, batch_size: int, seed: int = 0) -> list[float]:
    """Train a model on a packed data set for some steps; return the loss of each, in nats."""
    torch.manual_seed(seed)
    dataset = batch.open(folder)
    loader = DataLoader(dataset, batch_size, sampler=dataset.order(seed=seed))
    length, size = dataset.manifest.facts["length"], dataset.vocabulary.size
    model = Transformer(size, length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses: list[float] = []
    while len(losses) < steps:
        for sequences in loader:
            ids, documents = sequences["ids"], sequences["documents"]
            positions = sequences["positions"].clamp(max=length - 1)
            logits = model(ids, positions, mask(documents))[:, :-1]
            # The first token of a document does not follow from the one before it.
            follows = (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] >= 0)
            loss = F.cross_entropy(logits[follows], ids[:, 1:][follows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            print(f"step {len(losses)}: loss {losses[-1]:.3f}", flush=True)
            if len(losses) == steps:
                break
    return losses


def main(arguments: list[str] | None = None) -> list[float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="a folder for all that is made")
    parser.add_argument("--pictures", type=Path, help="a folder to tokenize, not drawn shapes")
    parser.add_argument("--count", type=int, default=256, help="pictures that are drawn")
    parser.add_argument("--length", type=int, default=128, help="length of packed sequences")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=4)
    given = parser.parse_args(arguments)
    pictures = given.pictures or given.work / "shapes"
    if given.pictures is None:
        shapes(pictures, given.count)
    tokenize(pictures, given.work / "tokens", given.length)
    return train(given.work / "tokens", given.steps, given.batch)


if __name__ == "__main__":
    main()
