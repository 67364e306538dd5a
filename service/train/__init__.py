"""Training: one recipe a codec, run by `omnicodec train` and scripts/train.py."""

from __future__ import annotations

from omnicodec.service.train.recipes import RECIPES, train

__all__ = ["RECIPES", "train"]
