"""The recipe of `text/bytes`: a histogram of the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import save_file

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.prior import StaticPrior
from omnicodec.service.train.files import read_files
from omnicodec.service.train.run import Run


@dataclass(frozen=True, kw_only=True)
class TextBytesRecipe:
    """Nothing to set: one pass over the data."""

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        if settings:
            raise InvalidInput(f"the recipe of text/bytes has no setting {next(iter(settings))!r}")
        return cls()

    def train(self, data: Path, run: Run) -> Path:
        """Count the bytes of every file below `data`; return the folder of the prior."""
        counts = np.zeros(256, np.int64)
        for _, content in read_files(data):
            counts += np.bincount(np.frombuffer(content, np.uint8), minlength=256)
            run.step += 1
        if not counts.sum():
            raise InvalidInput(f"no text in {str(data)!r}")
        prior = StaticPrior.train([[counts]])
        run.log(bytes=float(counts.sum()), bits_per_byte=prior.bits_per_position)
        folder = run.folder / "export"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(prior.tables(), folder / "prior.safetensors")
        return folder
