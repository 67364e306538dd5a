"""Which recipe trains which codec."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from omnicodec.codecs import InvalidInput, UnknownCodec
from omnicodec.service.train.audio_rvq import AudioRVQRecipe
from omnicodec.service.train.image_inr import ImageInrRecipe
from omnicodec.service.train.image_masked import ImageMaskedRecipe
from omnicodec.service.train.image_rate import ImageRateRecipe
from omnicodec.service.train.image_vq import ImageVQ8Recipe, ImageVQRecipe
from omnicodec.service.train.run import Report, Run, RunOptions
from omnicodec.service.train.text_bpe import TextBPERecipe
from omnicodec.service.train.text_bytes import TextBytesRecipe
from omnicodec.service.train.text_patch import TextPatchRecipe
from omnicodec.service.train.video_inr import VideoInrRecipe


class Recipe(Protocol):
    """Trains one codec."""

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Recipe: ...

    def train(self, data: Path, run: Run) -> Path:
        """Train on `data`; return the folder of the exported weights."""
        ...


RECIPES: dict[str, type[Recipe]] = {
    "audio/rvq": AudioRVQRecipe,
    "image/inr": ImageInrRecipe,
    "image/masked": ImageMaskedRecipe,
    "image/rate": ImageRateRecipe,
    "image/vq": ImageVQRecipe,
    "image/vq8": ImageVQ8Recipe,
    "text/bpe": TextBPERecipe,
    "text/bytes": TextBytesRecipe,
    "text/patch": TextPatchRecipe,
    "video/inr": VideoInrRecipe,
}


def train(codec: str, data: Path, out: Path, options: RunOptions, report: Report = print) -> Path:
    """Train a codec on `data` in the folder `out`, or go on with the run there.

    Returns the folder of the exported weights, laid out as in `omnicodec.models.weights`.
    Raises `UnknownCodec` for a codec without a recipe and `InvalidInput` for a setting or
    data that cannot be used.
    """
    if codec not in RECIPES:
        raise UnknownCodec(f"no recipe trains {codec!r}; known: {', '.join(sorted(RECIPES))}")
    try:
        recipe = RECIPES[codec].from_settings(options.settings or {})
    except (TypeError, ValueError) as e:
        raise InvalidInput(f"a setting cannot be used: {e}") from e
    return recipe.train(data, Run(out, options, report))
