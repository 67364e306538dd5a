"""What is known of `video/inr` without its networks: its ids, and its prior's fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from omnicodec.models import weights
from omnicodec.models.inr.pyramid import LARGEST

FORMAT: Final = "omnicodec.prior.video_inr.v1"

IDS: Final = 2 * LARGEST + 1


def prior_fingerprint(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the fingerprint of the prior of these tensors."""
    return weights.fingerprint({"format": FORMAT}, tensors)
