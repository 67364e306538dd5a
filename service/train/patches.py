"""Training patches: texts read once, cut by every method, drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.prior.mixer import ByteModel
from omnicodec.codecs.text._segmentation import METHODS, Segmentation, calibrate
from omnicodec.codecs.threads import in_order
from omnicodec.models.text.patch import END, Batch, PatchConfig
from omnicodec.service.train.files import read_files

PIECE: Final = 1 << 16
"""Bytes of a document: the byte model starts anew with each, and one in 40 is withheld."""

WITHHELD: Final = 40


Bits = NDArray[np.int32]


@dataclass(frozen=True)
class Piece:
    """A document of the corpus: one piece of a text of some group."""

    group: str
    data: bytes


@dataclass(frozen=True)
class Document:
    """A piece with what the byte model says of each byte, in 1/4096 bit."""

    group: str
    data: bytes
    entropy: Bits
    surprisal: Bits


def read_pieces(source: Path) -> tuple[list[Piece], list[Piece]]:
    """Return the texts below `source` as pieces to train on and pieces to withhold.

    Raises `InvalidInput` where there is no text.
    """
    pieces = [
        Piece(group, content[at : at + PIECE])
        for group, content in read_files(source)
        for at in range(0, len(content), PIECE)
    ]
    if not pieces:
        raise InvalidInput(f"no text in {str(source)!r}")
    withheld = pieces[WITHHELD - 1 :: WITHHELD]
    del pieces[WITHHELD - 1 :: WITHHELD]
    return pieces, withheld or pieces[:1]


def measure(pieces: Sequence[Piece], model: ByteModel, cache: Path | None = None) -> list[Document]:
    """Return the pieces as documents; the values are kept in the file `cache` if there is one.

    Raises `InvalidInput` where that file is of other pieces.
    """
    if cache is not None and cache.exists():
        values = load_file(cache)
    else:
        texts = [piece.data for piece in pieces]
        values = {
            "entropy": np.concatenate(list(in_order(model.nibble_entropy, texts))),
            "surprisal": np.concatenate(list(in_order(model.surprisal, texts))),
        }
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            save_file(values, cache)
    ends = np.cumsum([len(piece.data) for piece in pieces])
    if any(values[name].size != ends[-1] for name in ("entropy", "surprisal")):
        raise InvalidInput(f"{str(cache)!r} belongs to other texts; remove it")
    entropy, surprisal = (np.split(values[n], ends[:-1]) for n in ("entropy", "surprisal"))
    return [
        Document(piece.group, piece.data, e, s)
        for piece, e, s in zip(pieces, entropy, surprisal, strict=True)
    ]


def cut(document: Document, segmentation: Segmentation, method: str) -> NDArray[np.int32]:
    """Return the lengths of a document's patches."""
    return segmentation.lengths(
        document.data,
        method,
        entropy=lambda _: document.entropy,
        surprisal=lambda _: document.surprisal,
    )


def calibrated(
    documents: Sequence[Document], average: int, stride: int, longest: int
) -> Segmentation:
    """Return the thresholds that give patches of `average / 1000` bytes on these documents.

    They are found with thresholds that do not move.
    """
    size = sum(len(document.data) for document in documents)
    found: dict[str, int] = {}
    for method in ("entropy", "monotonic", "surprisal"):

        def count(threshold: int, method: str = method) -> int:
            fixed = Segmentation(
                **{**dict.fromkeys(("entropy", "monotonic", "surprisal"), 0), method: threshold},
                stride=stride,
                longest=longest,
                average=average,
                rate=0,
            )
            return sum(cut(document, fixed, method).size for document in documents)

        found[method] = calibrate(count, size, average)
    return Segmentation(**found, stride=stride, longest=longest, average=average)


class Patches:
    """The patches of some documents, as one array of bytes and where each patch lies.

    `shares` says how often patches of a method are drawn, `weights` how often those of a
    group, relative to their number; groups that are not named count 1. `short` is the weight
    of patches of up to half the length: they are learned soon, and are half of all.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        segmentation: Segmentation,
        config: PatchConfig,
        shares: Mapping[str, float],
        weights: Mapping[str, float],
        short: float = 1.0,
    ) -> None:
        self._config = config
        margin = max(config.before, config.longest)
        parts, starts = [], []
        lengths: dict[str, list[NDArray[np.int32]]] = {m: [] for m in METHODS if shares.get(m)}
        at = 0
        for document in documents:
            # Zeros stand before a text; here they also keep documents apart.
            parts += [np.zeros(margin, np.uint8), np.frombuffer(document.data, np.uint8)]
            starts.append(at + margin)
            at += margin + len(document.data)
            for method, found in lengths.items():
                found.append(cut(document, segmentation, method))
        self._bytes = np.concatenate([*parts, np.zeros(margin, np.uint8)])
        self._strata: list[tuple[float, NDArray[np.int64], NDArray[np.int32]]] = []
        groups = sorted({document.group for document in documents})
        for method, found in lengths.items():
            for group in groups:
                own = [i for i, document in enumerate(documents) if document.group == group]
                sizes = np.concatenate([found[i] for i in own])
                firsts = np.concatenate(
                    [starts[i] + np.cumsum(found[i]) - found[i] for i in own]
                ).astype(np.int64)
                share = shares[method] * weights.get(group, 1.0)
                is_short = 2 * sizes <= config.longest
                for chosen, factor in ((is_short, short), (~is_short, 1.0)):
                    if chosen.any():
                        part = (share * factor * chosen.sum(), firsts[chosen], sizes[chosen])
                        self._strata.append(part)
        self.count = sum(sizes.size for _, _, sizes in self._strata)

    def draw(self, number: int, seed: Sequence[int]) -> Batch:
        """Return `number` patches; a function of the seed."""
        rng = np.random.default_rng(seed)
        shares = np.array([share for share, _, _ in self._strata])
        starts, lengths = [], []
        counts = rng.multinomial(number, shares / shares.sum())
        for count, (_, firsts, sizes) in zip(counts, self._strata, strict=True):
            drawn = rng.integers(0, firsts.size, count)
            starts.append(firsts[drawn])
            lengths.append(sizes[drawn])
        return self._batch(np.concatenate(starts), np.concatenate(lengths))

    def _batch(self, starts: NDArray[np.int64], lengths: NDArray[np.int32]) -> Batch:
        longest, before = self._config.longest, self._config.before
        patch = self._bytes[starts[:, None] + np.arange(longest)].astype(np.int64)
        patch[np.arange(longest) >= lengths[:, None]] = END
        rows = np.minimum(lengths + 1, longest).astype(np.int64)
        owner = np.repeat(np.arange(starts.size), rows)
        place = np.arange(owner.size) - np.repeat(np.cumsum(rows) - rows, rows)
        back = 1 + np.arange(before)
        window = self._bytes[(starts[owner] + place)[:, None] - back].astype(np.int64)
        arrays = (
            patch,
            self._bytes[starts[:, None] - back].astype(np.int64),
            owner,
            place,
            window,
            patch[owner, place],
        )
        return Batch(*map(torch.from_numpy, arrays))
