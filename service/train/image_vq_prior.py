"""The prior of `image/vq` and `image/vq8`: reduced codebooks, and a mixer for each codebook."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.image._reduced import ReducedCodebook, split_digits
from omnicodec.codecs.image._vq import VQCodec
from omnicodec.codecs.image._vq_prior import WHOLE, digit_schema
from omnicodec.codecs.registry import load
from omnicodec.models import weights
from omnicodec.service.train.files import write_prior
from omnicodec.service.train.image_codebooks import decoder_metric, reduce_codebook
from omnicodec.service.train.image_codes import Grid, code_pictures
from omnicodec.service.train.mixer import MAPS, MixerSettings, fit_mixer
from omnicodec.service.train.mixer.items import Item, grid_item
from omnicodec.service.train.pictures import read_pictures

Tensors = dict[str, NDArray[Any]]
Log = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class ImagePriorSettings:
    """Settings of a fit.

    `codebooks` has the size of the codebook of each quality but the best, which has all
    entries. `views` are the ways in which each picture is seen, `tokens` how many tokens are
    enough, and `reduced_tokens` for a reduced codebook. `held_out` is the share of pictures
    that only maps and mixers learn on. `mixer` and `reduced_mixer` have the sizes of the
    static tables.
    """

    codebooks: Mapping[int, int] = field(default_factory=lambda: {25: 256, 50: 1024, 75: 4096})
    views: int = 2
    tokens: int = 1_500_000
    reduced_tokens: int = 500_000
    held_out: float = 0.1
    seed: int = 0
    mixer: MixerSettings = field(
        default_factory=lambda: MixerSettings(counted=17, shipped=16, recount=False)
    )
    reduced_mixer: MixerSettings = field(
        default_factory=lambda: MixerSettings(counted=16, shipped=14, recount=False)
    )


def fit_image_prior(
    pictures: Sequence[Sequence[Grid]],
    levels: Sequence[int],
    matrix: NDArray[Any],
    chunk: int,
    settings: ImagePriorSettings,
    log: Log,
) -> Tensors:
    """Return the tensors of `DigitPrior`, to be written as `prior.safetensors.zst`.

    `pictures` has the tokens of each in one or more views, `(h, w)`; `matrix` is that of the
    decoder's first layer, `(channels, D)`; `chunk` is how many positions a chunk has. `log`
    is told of the stages by keywords. Some minutes on one core. Raises `InvalidInput` without
    tokens.
    """
    pictures = [views for views in pictures if any(grid.size for grid in views)]
    if not pictures:
        raise InvalidInput("a prior cannot be fitted without tokens")
    flat = np.concatenate([grid.reshape(-1) for views in pictures for grid in views])
    counts = np.bincount(flat, minlength=math.prod(levels))
    metric = decoder_metric(matrix, levels)
    log(stage=0, pictures=float(len(pictures)), tokens=float(flat.size))
    fit = _Fit(pictures, levels, chunk, settings, log)
    tensors: Tensors = {"metric": metric}
    codebooks: dict[int, ReducedCodebook | None] = {WHOLE: None}
    for quality, size in settings.codebooks.items():
        if size < np.count_nonzero(counts):
            entries = reduce_codebook(counts, size, levels, metric, settings.seed)
            tensors[f"{quality}/entries"] = entries
            codebooks[quality] = ReducedCodebook(entries, levels, metric)
    whole: Tensors | None = None
    for quality, codebook in codebooks.items():
        log(quality=quality)
        found = fit.mixer(codebook, whole)
        # What a reduced codebook's mixer shares with that of the whole one is stored once.
        own = {k: v for k, v in found.items() if whole is None or k not in MAPS}
        tensors |= {f"{quality}/{name}": tensor for name, tensor in own.items()}
        whole = whole or found
    return tensors


class _Fit:
    """The items of all mixers: the same pictures are held out of each."""

    def __init__(
        self,
        pictures: Sequence[Sequence[Grid]],
        levels: Sequence[int],
        chunk: int,
        settings: ImagePriorSettings,
        log: Log,
    ) -> None:
        self._levels, self._settings, self._log = levels, settings, log
        rng = np.random.default_rng(settings.seed)
        drawn = [pictures[k] for k in rng.permutation(len(pictures))]
        held = max(1, round(settings.held_out * len(drawn)))
        most = max((len(views) for views in drawn), default=0)
        # The first view of every picture, then the second: what is cut off are views.
        seen = [views[k] for k in range(most) for views in drawn[held:] if k < len(views)]
        self._seen = [part for grid in seen for part in _chunks(grid, chunk)]
        self._held_out = [part for views in drawn[:held] for part in _chunks(views[0], chunk)]

    def mixer(self, codebook: ReducedCodebook | None, maps: Tensors | None) -> Tensors:
        """Return the mixer of the tokens, or of what a reduced codebook makes of them.

        `maps` are tensors of a mixer whose maps are used, if any.
        """
        s = self._settings
        sizes, most = (
            (s.mixer, s.tokens) if codebook is None else (s.reduced_mixer, s.reduced_tokens)
        )
        rng = np.random.default_rng(s.seed)
        held_out = self._items(self._held_out, codebook, most)
        seen = self._items(self._seen, codebook, most) or held_out
        seen, held_out = ([of[k] for k in rng.permutation(len(of))] for of in (seen, held_out))
        schema = digit_schema(self._levels)
        return fit_mixer(schema, seen, held_out, sizes, self._log, maps=maps)

    def _items(
        self, parts: Sequence[Grid], codebook: ReducedCodebook | None, most: int
    ) -> list[Item]:
        items, tokens = [], 0
        for part in parts:
            if tokens >= most:
                break
            ids = part if codebook is None else codebook.nearest(part)
            digits = split_digits(ids.reshape(-1), self._levels)
            items.append(grid_item(digits, part.shape))
            tokens += part.size
        return items


def _chunks(grid: Grid, chunk: int) -> list[Grid]:
    """Return a picture's tokens in pieces of whole rows, about as large as a stream's chunks."""
    rows = max(1, chunk // max(1, grid.shape[1]))
    parts = [grid[start : start + rows] for start in range(0, grid.shape[0], rows)]
    return [part for part in parts if part.size]


def refit_prior(folder: Path, data: Path, settings: ImagePriorSettings, log: Log) -> None:
    """Fit the prior of the weights in `folder` anew on the pictures below `data`, and write it."""
    codec = load(folder)
    if not isinstance(codec, VQCodec):
        raise InvalidInput(f"{str(folder)!r} has weights of {codec.spec.name}, not of image/vq")
    shipped = weights.read_folder(folder)
    patch = int(codec.spec.covers["height"])
    pictures = read_pictures(data, {}, patch)
    codes = list(code_pictures(codec, pictures, settings.views, settings.seed))
    matrix = weights.dequantize(shipped.tensors)["from_code.weight"]
    levels = shipped.config["levels"]
    write_prior(
        folder, fit_image_prior(codes, levels, matrix, codec.chunk_positions, settings, log)
    )
