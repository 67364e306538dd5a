"""What names the exact prior of `image/rate`, known without opening it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from omnicodec.models import weights

FORMAT: Final = "omnicodec.prior.rate.v1"


def prior_fingerprint(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the fingerprint of the prior of these tensors."""
    return weights.fingerprint({"format": FORMAT}, tensors)
